"""Where a worker's pay goes, and how that changes.

Whoever holds a worker's token may change it, and a token can be stolen. So a worker that has
registered a key changes it by a signature of that key, at once. Of one that has none the change
waits for a day: until then its pay goes where it went, and naming that again takes it back.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

WAITS = timedelta(hours=24)  # as mining pools have it: time to see a change that one has not made


@dataclass(frozen=True, slots=True)
class Directions:
    """Where a worker's pay goes, and where it goes next."""

    worker_id: str
    pay_to: str  # a Lightning address or LNURL-pay
    usdc_to: str | None = None  # an address, and its network
    key: str | None = None  # Ed25519, 64 hex digits: it signs each change
    signed: int = 0  # how many changes it has signed
    next_pay_to: str | None = None  # None: no other one than now
    next_usdc_to: str | None = None
    next_at: datetime | None = None  # when these take effect


class Unsigned(Exception):
    """The worker has a key, and this change has no signature of it."""


def message(worker_id: str, signed: int, pay_to: str | None, usdc_to: str | None) -> bytes:
    """Return what a key signs for a change, as its sender writes both; what stays is left empty.

    It names how many changes were signed before: each is good once.
    """
    lines = "boltwork worker pay", worker_id, str(signed), pay_to or "", usdc_to or ""
    return "\n".join(lines).encode()


def at(facts: Directions, now: datetime) -> Directions:
    """Return what holds at a moment: what has waited for long enough is so."""
    if facts.next_at is None or now < facts.next_at:
        return facts
    pay_to, usdc_to = facts.next_pay_to or facts.pay_to, facts.next_usdc_to or facts.usdc_to
    return replace(_settled(facts), pay_to=pay_to, usdc_to=usdc_to)


def redirect(
    facts: Directions, pay_to: str | None, usdc_to: str | None, now: datetime, is_signed: bool
) -> Directions:
    """Return what naming destinations means; None: of that one nothing was said.

    To name the one of now needs no signature, and takes back what waits. Raises Unsigned.
    """
    facts = at(facts, now)
    if facts.key is None:
        return _waiting(facts, pay_to, usdc_to, now)
    pay_to, usdc_to = pay_to or facts.pay_to, usdc_to or facts.usdc_to
    if (pay_to, usdc_to) == (facts.pay_to, facts.usdc_to):
        return facts
    if not is_signed:
        raise Unsigned
    return replace(facts, pay_to=pay_to, usdc_to=usdc_to, signed=facts.signed + 1)


def _waiting(
    facts: Directions, pay_to: str | None, usdc_to: str | None, now: datetime
) -> Directions:
    next_pay_to, next_usdc_to = facts.next_pay_to, facts.next_usdc_to
    if pay_to is not None:
        next_pay_to = pay_to if pay_to != facts.pay_to else None
    if usdc_to is not None:
        next_usdc_to = usdc_to if usdc_to != facts.usdc_to else None
    if next_pay_to is None and next_usdc_to is None:
        return _settled(facts)
    if (next_pay_to, next_usdc_to) == (facts.next_pay_to, facts.next_usdc_to):
        return facts  # it waits already
    return replace(facts, next_pay_to=next_pay_to, next_usdc_to=next_usdc_to, next_at=now + WAITS)


def _settled(facts: Directions) -> Directions:
    return replace(facts, next_pay_to=None, next_usdc_to=None, next_at=None)
