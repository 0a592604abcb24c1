"""What a server answers a worker, read as a stranger's: by its shape, or not at all.

Texts are cut and made harmless here: a server, or who buys there, steers no terminal.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from app.plain_text import one_line
from app.ports import Wanted

MOST_SIDE, MOST_PROMPT = 8_192, 20_000
MOST_AMOUNT: Final = 2**63
PARTS: Final = ("earned", "held", "free", "sending", "paid")
UNITS: Final = (("msat", "sats", 3), ("microUsdc", "USDC", 6))


@dataclass(frozen=True, slots=True)
class Lease:
    """An item to make, and what is paid for it."""

    id: str
    wanted: Wanted
    pay: str

    @property
    def shown(self) -> str:
        """The item in a line."""
        wanted = self.wanted
        size = f"{one_line(wanted.model, 40)} {wanted.width}×{wanted.height}"
        return f"{size}: {one_line(wanted.prompt, 60)}"


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was given; where that is nothing, why: each sentence with the reason that it tells."""

    leases: list[Lease]
    why_nothing: dict[str, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a worker stands."""

    worker_id: str
    state: str
    pay_to: str
    pays_next: str  # where its pay goes later, and from when on
    leases: list[Lease]
    earnings: dict[str, dict[str, int]]  # by asset, in its smallest unit
    stuck: list[str]  # payouts that could not be sent yet, and why
    payout_key: str = ""  # the public half of what signs where its pay goes
    signed: int = 0  # how many changes it has signed

    @property
    def sums(self) -> list[str]:
        """What is earned and where that is, a line for each asset."""
        lines = []
        for asset, unit, places in UNITS:
            each = self.earnings.get(asset, {})
            if asset != "msat" and not each.get("earned"):
                continue
            parts = (f"{name} {shifted(each.get(name, 0), places)}" for name in PARTS)
            forfeited = each.get("forfeited", 0)
            more = f", forfeited {shifted(forfeited, places)}" if forfeited else ""
            lines.append(f"{unit}: {', '.join(parts)}{more}")
        return lines


def standing_of(said: Mapping[str, Any]) -> Standing:
    """Return where a worker stands, as far as that can be read."""
    earnings = said.get("earnings")
    earnings = earnings if isinstance(earnings, dict) else {}
    return Standing(
        one_line(str(said.get("workerId", "")), 80),
        one_line(str(said.get("state", "")), 40),
        one_line(str(said.get("payTo", "")), 2_000),
        _next(said.get("next")),
        leases_of(said.get("leases")),
        {asset: _amounts(earnings.get(asset)) for asset, _, _ in UNITS},
        _stuck(said.get("payouts")),
        one_line(str(said.get("payoutKey", "")), 80),
        _counted(said.get("signedChanges")),
    )


def _counted(said: Any) -> int:
    return said if type(said) is int and 0 <= said < MOST_AMOUNT else 0


def _next(said: Any) -> str:
    if not isinstance(said, dict) or "payTo" not in said:
        return ""
    return f"{one_line(str(said['payTo']), 2_000)}, from {one_line(str(said.get('at', '')), 40)} on"


def _stuck(said: Any) -> list[str]:
    lines = []
    for each in said[:100] if isinstance(said, list) else ():
        if isinstance(each, dict) and each.get("lastOutcome") and each.get("state") != "paid":
            why = one_line(str(each["lastOutcome"]), 200)
            lines.append(f"{pay_of(each)} to {one_line(str(each.get('to', '')), 200)}: {why}")
    return lines


def claimed_of(said: Mapping[str, Any]) -> Claimed:
    """Return what a claim was answered with."""
    rows = said.get("noMatch")
    why = {}
    for each in rows[:100] if isinstance(rows, list) else ():
        if isinstance(each, dict):
            why[one_line(str(each.get("message", "")))] = one_line(str(each.get("reason", "")), 40)
    return Claimed(leases_of(said.get("leases")), why)


def leases_of(said: Any) -> list[Lease]:
    """Return leases as they are told; what can't be read as one is left to lapse."""
    leases = []
    for each in said[:100] if isinstance(said, list) else ():
        with contextlib.suppress(KeyError, TypeError, ValueError):
            leases.append(Lease(_id(each["leaseId"]), _wanted(each["input"]), pay_of(each["pay"])))
    return leases


def pay_of(said: Any) -> str:
    """Return a pay as a person reads it."""
    amounts = _amounts(said)
    for asset, unit, places in UNITS:
        if asset in amounts:
            return f"{shifted(amounts[asset], places)} {unit}"
    return "nothing"


def shifted(amount: int, places: int) -> str:
    """Return an amount of a small unit in one that is ten to so many as large. Exact."""
    return f"{Decimal(amount).scaleb(-places):f}"


def _amounts(said: Any) -> dict[str, int]:
    """Return the amounts of an object: whole, and no more than there are."""
    pairs = said.items() if isinstance(said, dict) else ()
    return {str(k): v for k, v in pairs if type(v) is int and abs(v) < MOST_AMOUNT}


def _id(said: Any) -> str:
    if not isinstance(said, str) or not said.isascii() or not said.isalnum() or len(said) > 80:
        raise ValueError("that is no id")
    return said


def _wanted(asked: dict[str, Any]) -> Wanted:
    return Wanted(
        str(asked["model"])[:MOST_PROMPT],
        str(asked["prompt"])[:MOST_PROMPT],
        _whole(asked["width"], MOST_SIDE),
        _whole(asked["height"], MOST_SIDE),
        str(asked.get("negativePrompt", ""))[:MOST_PROMPT],
        _whole(asked.get("steps", 0), 1_000),
        _whole(asked.get("seed", 0), 2**53),
        _whole(asked.get("durationMs", 0), 600_000),
    )


def _whole(said: Any, most: int) -> int:
    if type(said) is not int or not 0 <= said <= most:
        raise ValueError("that is no size")
    return said
