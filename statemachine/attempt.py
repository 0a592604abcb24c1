"""One try to pay a payout. It is live from the commit that comes before the rail is called, and
ends once, when the rail says for good what became of it.

What the house set aside for its routing, and routing did not need, is free again: of that, what
it gives on a day is used last.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from statemachine.decision import Decision
from statemachine.machine import Machine


class AttemptState(StrEnum):
    """Where an attempt stands."""

    LIVE = auto()  # it may be paid, now or later: a payout has one such attempt
    SETTLED = auto()  # final: the payee has it
    RETURNED = auto()  # final: it did not happen, and never will


class AttemptEvent(StrEnum):
    """What can happen to an attempt."""

    ARRIVED = auto()
    FELL_THROUGH = auto()


ATTEMPT = Machine(
    "attempt",
    AttemptState,
    AttemptEvent,
    [
        (AttemptEvent.ARRIVED, AttemptState.LIVE, AttemptState.SETTLED),
        (AttemptEvent.FELL_THROUGH, AttemptState.LIVE, AttemptState.RETURNED),
    ],
)


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """What the law needs to know of an attempt. Amounts are msat."""

    id: str  # its payment_hash
    state: AttemptState
    borne_msat: int  # the most of the fee that the house bears before the payee does
    free_msat: int = 0  # what of that it gives, out of what it gives on a day
    fee_msat: int | None = None  # what routing cost, once it has arrived
    given_back_msat: int = 0  # what of the free money was not needed


@dataclass(frozen=True, slots=True)
class Arrived:
    """The rail says that the payee has it; `fee_msat` is what routing cost."""

    fee_msat: int
    kind = AttemptEvent.ARRIVED


@dataclass(frozen=True, slots=True)
class FellThrough:
    """The rail says, for good, that it did not happen."""

    kind = AttemptEvent.FELL_THROUGH


Event = Arrived | FellThrough


def decide(facts: AttemptFacts, event: Event) -> Decision[AttemptFacts]:
    """Return what the event means. Raises IllegalTransition. Its payout posts the entries."""
    after = replace(facts, state=ATTEMPT.step(facts.state, event.kind))
    unused_msat = after.borne_msat
    if isinstance(event, Arrived):
        after = replace(after, fee_msat=event.fee_msat)
        unused_msat -= min(after.borne_msat, event.fee_msat)
    return Decision(replace(after, given_back_msat=min(after.free_msat, unused_msat)))
