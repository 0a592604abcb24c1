"""What a 402 offers, and what satisfies it; the same for every way to pay.

A challenge knows its own headers and its own signatures. Whether the invoice is settled, and what
it bought, is for the caller, who looks up the payment hash.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pricing.money import Msat

# Where credentials stand. What is for us may stand in the first, beside what is for a proxy.
HEADERS = ("payment-authorization", "authorization")
# A comma between two credentials, as proxies join header lines, and none within a credential.
_BETWEEN = re.compile(
    r"[ \t]*,[ \t,]*(?=(?:bearer|l402|lsat|payment|basic|digest|negotiate)(?:[ \t]|$))",
    re.IGNORECASE,
)
_SPACE = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a caller shows: the scheme in small letters, and what stands behind it."""

    scheme: str
    credential: str = field(repr=False)


def shown_in(headers: Iterable[tuple[str, str]]) -> list[Shown]:
    """Return the credentials that a request shows, each once.

    Those of `Payment-Authorization`, or else of `Authorization`; on lines of their own, or joined.
    """
    given: dict[str, list[str]] = {name: [] for name in HEADERS}
    for name, value in headers:
        if name.lower() in given and value.strip(" \t,"):
            given[name.lower()].append(value.strip(" \t,"))
    found: dict[Shown, None] = {}
    for value in next(filter(None, given.values()), ()):
        for text in _BETWEEN.split(value):
            scheme, *rest = _SPACE.split(text, maxsplit=1)
            found[Shown(scheme.lower(), rest[0] if rest else "")] = None
    return list(found)


@dataclass(frozen=True, slots=True)
class Offer:
    """One resource for one payment."""

    resource: str  # a name without space, comma, equals sign or quote
    payment_hash: str  # hex
    bolt11: str
    amount_msat: Msat
    expires_at: datetime
    description: str


@dataclass(frozen=True, slots=True)
class Proof:
    """That its sender holds what we offered, and knows the preimage of this payment hash.

    `resources` are those that the proof was narrowed to; None: it says nothing of them.
    """

    scheme: str
    payment_hash: str
    resources: frozenset[str] | None = None

    def is_for(self, resource: str) -> bool:
        """Say whether the proof may be used for a resource."""
        return self.resources is None or resource in self.resources


@dataclass(frozen=True, slots=True)
class BadProof:
    """What was meant as a proof and is none, and why, for whoever sent it.

    `missing_key` is the number of the root key it names, when that one is not on the ring.
    """

    reason: str
    missing_key: int | None = None


class Challenge(Protocol):
    """One way to be asked for money over HTTP."""

    @property
    def name(self) -> str:
        """The scheme, as it is spelled in headers."""
        ...

    def offer(self, offer: Offer) -> list[tuple[str, str]]:
        """Return the headers that offer this, as names and values."""
        ...

    def accept(self, headers: Mapping[str, str]) -> Proof | BadProof | None:
        """Return what the headers prove; None when they hold nothing of this scheme."""
        ...
