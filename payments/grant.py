"""What a session macaroon allows: its caveats, each of which only narrows what stands before it.

A caveat is exactly `key=value`. One that is not known, or not well formed, makes all of it invalid.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from payments.macaroon import Invalid
from pricing.money import Msat, sats_to_msat

ENDPOINTS: Final = (
    "request", "topup", "status", "close", "refund", "revoke", "ask", "gemini", "batches",
)  # fmt: skip
# What ends a session, or takes its money out, is for those who may spend all of it.
OWNERS_ONLY: Final = frozenset({"close", "refund", "revoke"})

_NUMBER = re.compile(r"0|[1-9][0-9]{0,12}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Budget:
    """What a credential and all its descendants may spend together."""

    link: str
    limit_msat: Msat


@dataclass(frozen=True, slots=True)
class Grant:
    """What the caveats of a credential leave of its session. None: they say nothing of it.

    `links[i]` names the credential as it was after `i` caveats: all its descendants share it.
    """

    expires_at: int | None  # unix seconds; from then on it is over
    max_msat: Msat | None  # of one request
    budgets: tuple[Budget, ...]
    tools: frozenset[str] | None
    endpoints: frozenset[str] | None
    links: tuple[str, ...]

    @property
    def is_bounded(self) -> bool:
        """Say whether it may spend less than all that the session has."""
        return self.max_msat is not None or bool(self.budgets)

    def allows_endpoint(self, name: str) -> bool:
        """Say whether an endpoint may be called. A bounded credential never ends the session."""
        if self.is_bounded and name in OWNERS_ONLY:
            return False
        return self.endpoints is None or name in self.endpoints

    def allows_tool(self, name: str) -> bool:
        """Say whether a tool may be used."""
        return self.tools is None or name in self.tools

    def expired(self, now: datetime) -> bool:
        """Say whether its time is over."""
        return self.expires_at is not None and now.timestamp() >= self.expires_at


def granted(caveats: Sequence[bytes], links: Sequence[str]) -> Grant | Invalid:
    """Return what these caveats allow. `links` has one more than they are: the first is of none."""
    expires_at: int | None = None
    max_msat: Msat | None = None
    budgets: list[Budget] = []
    tools: frozenset[str] | None = None
    endpoints: frozenset[str] | None = None
    for caveat, link in zip(caveats, links[1:], strict=True):
        try:
            key, _, value = caveat.decode("ascii").partition("=")
            match key:
                case "expires_at":
                    until = _number(value)
                    expires_at = until if expires_at is None else min(expires_at, until)
                case "max_sats":
                    most_msat = sats_to_msat(_number(value))
                    max_msat = most_msat if max_msat is None else min(max_msat, most_msat)
                case "budget_sats":
                    budgets.append(Budget(link, sats_to_msat(_number(value))))
                case "tools":
                    tools = _names(value) if tools is None else tools & _names(value)
                case "endpoints":
                    endpoints = _names(value) if endpoints is None else endpoints & _names(value)
                case "child":
                    _names(value, most=1)  # a name, so that two of the same caveats are two
                case _:
                    return Invalid(f"It has a caveat that is not known here: {_shown(caveat)}.")
        except ValueError:
            return Invalid(f"It has a caveat that is not well formed: {_shown(caveat)}.")
    return Grant(expires_at, max_msat, tuple(budgets), tools, endpoints, tuple(links))


def _number(value: str) -> int:
    if not _NUMBER.fullmatch(value):
        raise ValueError("number")
    return int(value)


def _names(value: str, most: int = 64) -> frozenset[str]:
    names = value.split(",")
    if len(names) > most or not all(_NAME.fullmatch(name) for name in names):
        raise ValueError("names")
    return frozenset(names)


def _shown(caveat: bytes) -> str:
    """Return a caveat for a sentence: printable, and not long."""
    return ascii(caveat[:60])[1:]


def caveats_for(
    *,
    expires_at: int | None = None,
    max_sats: int | None = None,
    budget_sats: int | None = None,
    tools: Iterable[str] | None = None,
    endpoints: Iterable[str] | None = None,
    child: str | None = None,
) -> list[str]:
    """Return caveats that say this, the budget last; ValueError, with a sentence, if none can.

    A budget is counted under the link after its caveat, so what tells children apart comes first.
    """
    told = {
        "child": child,
        "expires_at": expires_at,
        "tools": None if tools is None else ",".join(tools),
        "endpoints": None if endpoints is None else ",".join(endpoints),
        "max_sats": max_sats,
        "budget_sats": budget_sats,
    }
    caveats = [f"{key}={value}" for key, value in told.items() if value is not None]
    said = granted([caveat.encode() for caveat in caveats], [""] * (len(caveats) + 1))
    if isinstance(said, Invalid):
        raise ValueError(said.reason)
    unknown = (said.endpoints or frozenset()) - set(ENDPOINTS)
    if unknown:
        raise ValueError(
            f"There is no endpoint {min(unknown)!r}. There are: {', '.join(ENDPOINTS)}."
        )
    return caveats
