"""A lease: somebody's claim on an item until a time. Its number is the fencing token.

A result is taken from whoever brings the first one: from the lease that holds the item, or from one
that has lapsed. The same bytes of the same lease again are a replay, and named so.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto

from statemachine import entries
from statemachine.decision import Decision
from statemachine.entries import Asset
from statemachine.machine import Machine


class LeaseState(StrEnum):
    """Where a lease stands."""

    HELD = auto()
    DONE = auto()  # final: it brought the item's result, or said for good that there is none
    RELEASED = auto()  # final: its holder gave the item back, or another brought its result first
    LAPSED = auto()  # its holder was silent for too long; what he brings is taken, if it is first


class LeaseEvent(StrEnum):
    """What can happen to a lease."""

    BEAT = auto()
    SUBMITTED = auto()
    DECLINED = auto()
    RELEASED = auto()
    OVERTAKEN = auto()
    LAPSED = auto()


LEASE = Machine(
    "lease",
    LeaseState,
    LeaseEvent,
    [
        (LeaseEvent.BEAT, LeaseState.HELD, LeaseState.HELD),
        (LeaseEvent.SUBMITTED, LeaseState.HELD, LeaseState.DONE),
        (LeaseEvent.SUBMITTED, LeaseState.LAPSED, LeaseState.DONE),
        (LeaseEvent.DECLINED, LeaseState.HELD, LeaseState.DONE),
        (LeaseEvent.RELEASED, LeaseState.HELD, LeaseState.RELEASED),
        (LeaseEvent.OVERTAKEN, LeaseState.HELD, LeaseState.RELEASED),
        (LeaseEvent.LAPSED, LeaseState.HELD, LeaseState.LAPSED),
    ],
)


@dataclass(frozen=True, slots=True)
class LeaseFacts:
    """What the law needs to know of a lease."""

    item_id: str
    number: int
    state: LeaseState
    until: datetime  # when it lapses, unless its holder is heard of
    deadline: datetime  # which nobody moves
    sha256: str | None = None  # of the bytes that it brought


@dataclass(frozen=True, slots=True)
class Beat:
    """Its holder was heard of, and holds it for so long from then on."""

    at: datetime
    holds: timedelta
    kind = LeaseEvent.BEAT


@dataclass(frozen=True, slots=True)
class Submitted:
    """Its holder brought a result with this hash, and it was taken."""

    sha256: str
    kind = LeaseEvent.SUBMITTED


@dataclass(frozen=True, slots=True)
class Declined:
    """Its holder said that the item can't be made."""

    kind = LeaseEvent.DECLINED


@dataclass(frozen=True, slots=True)
class Released:
    """Its holder gave the item back."""

    kind = LeaseEvent.RELEASED


@dataclass(frozen=True, slots=True)
class Overtaken:
    """An older lease brought the item's result."""

    kind = LeaseEvent.OVERTAKEN


@dataclass(frozen=True, slots=True)
class Lapsed:
    """Its holder was silent for too long."""

    kind = LeaseEvent.LAPSED


Event = Beat | Submitted | Declined | Released | Overtaken | Lapsed


def begin(
    item_id: str, number: int, now: datetime, holds: timedelta, longest: timedelta
) -> LeaseFacts:
    """Return how a lease comes to be."""
    deadline = now + longest
    return LeaseFacts(item_id, number, LeaseState.HELD, min(now + holds, deadline), deadline)


def replays(facts: LeaseFacts, sha256: str) -> bool:
    """Say whether this lease brought just these bytes before."""
    return facts.state is LeaseState.DONE and facts.sha256 == sha256


def spent(
    facts: LeaseFacts, asset: Asset, cost_amount: int, *, was_delivered: bool
) -> Decision[LeaseFacts]:
    """Return what it means that the maker whom its holder asked wants to be paid by the house."""
    entry = entries.lease_spent(facts.item_id, facts.number, asset, cost_amount, was_delivered)
    return Decision(facts, (entry,))


def decide(facts: LeaseFacts, event: Event) -> Decision[LeaseFacts]:
    """Return what the event means. Raises IllegalTransition."""
    after = replace(facts, state=LEASE.step(facts.state, event.kind))
    match event:
        case Beat(at, holds):
            until = max(facts.until, min(at + holds, facts.deadline))
            return Decision(replace(after, until=until))
        case Submitted(sha256):
            return Decision(replace(after, sha256=sha256))
        case _:
            return Decision(after)
