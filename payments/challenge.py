"""What a 402 offers, and what satisfies it; the same for every way to pay.

A challenge knows its own headers and its own signatures. Whether the invoice is settled, and what
it bought, is for the caller, who looks up the payment hash.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from pricing.money import Msat

# Where credentials stand. What is for us may stand in the first, beside what is for a proxy.
OWN_HEADER: Final = "Payment-Authorization"
HEADERS = (OWN_HEADER.lower(), "authorization")
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
    header: str = "authorization"  # in which it came


def shown_in(headers: Iterable[tuple[str, str]]) -> list[Shown]:
    """Return the credentials that a request shows, each once.

    Those of `Payment-Authorization`, or else of `Authorization`; on lines of their own, or joined.
    """
    given: dict[str, list[str]] = {name: [] for name in HEADERS}
    for name, value in headers:
        if name.lower() in given and value.strip(" \t,"):
            given[name.lower()].append(value.strip(" \t,"))
    found: dict[Shown, None] = {}
    header = next((name for name in HEADERS if given[name]), "")
    for value in given.get(header, ()):
        for text in _BETWEEN.split(value):
            scheme, *rest = _SPACE.split(text, maxsplit=1)
            found[Shown(scheme.lower(), rest[0] if rest else "", header)] = None
    return list(found)


class Problem(StrEnum):
    """What MPP calls that which stands between a caller and a resource."""

    PAYMENT_REQUIRED = "payment-required"
    PAYMENT_EXPIRED = "payment-expired"
    VERIFICATION_FAILED = "verification-failed"
    MALFORMED_CREDENTIAL = "malformed-credential"
    INVALID_CHALLENGE = "invalid-challenge"
    METHOD_UNSUPPORTED = "method-unsupported"

    @property
    def uri(self) -> str:
        """Return the `type` of RFC 9457 that says so."""
        return f"https://paymentauth.org/problems/{self}"

    @property
    def in_words(self) -> str:
        """Return it as a title."""
        return self.value.replace("-", " ").title()


@dataclass(frozen=True, slots=True)
class Offer:
    """One resource for one payment."""

    resource: str  # a name without space, comma, equals sign or quote
    payment_hash: str  # hex
    bolt11: str
    amount_msat: Msat
    expires_at: datetime
    description: str
    realm: str  # the host that it is bought from
    reference: str  # the public name of what it buys
    digest: str | None = None  # of the body that was sent, where one was
    in_own_header: bool = False  # as Authorization is taken: its proof has a header of its own


@dataclass(frozen=True, slots=True)
class Proof:
    """That its sender holds what we offered, and knows the preimage of this payment hash.

    `resources` are those that the proof was narrowed to; None: it says nothing of them. So it is
    with the `reference` and the `digest` of the offer.
    """

    scheme: str
    payment_hash: str
    resources: frozenset[str] | None = None
    reference: str | None = None
    digest: str | None = None
    challenge_id: str | None = None  # what a receipt names
    is_over: bool = False  # the time of the offer, which matters where it was not paid

    def is_for(self, resource: str) -> bool:
        """Say whether the proof may be used for a resource."""
        return self.resources is None or resource in self.resources


@dataclass(frozen=True, slots=True)
class BadProof:
    """What was meant as a proof and is none, and why, for whoever sent it.

    `missing_key` is the number of the root key it names, when that one is not on the ring. Where
    its scheme has a word for what is wrong, the answer is a 402 with that `problem`, as it demands.
    `meant` is what it would prove, where its challenge is ours and only the rest is wrong.
    """

    reason: str
    missing_key: int | None = None
    problem: Problem | None = None
    meant: Proof | None = None


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

    def receipt(self, proof: Proof, settled_at: datetime) -> list[tuple[str, str]]:
        """Return the headers that say what a proof of this scheme has paid."""
        ...
