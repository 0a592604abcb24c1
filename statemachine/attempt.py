"""One try to pay a payout. It is called in a commit that comes before the rail is, by one keeper
only; from then on nobody can say that nothing was sent but the rail. It ends once, by its word.

What the house set aside for its routing, and routing did not need, is free again: of that, what
it gives on a day is used last.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from statemachine.decision import Decision
from statemachine.machine import Machine


class AttemptState(StrEnum):
    """Where an attempt stands."""

    LIVE = auto()  # it waits to be handed to the rail
    CALLED = auto()  # the rail is asked to pay it, or is about to be; its outcome is not known
    SETTLED = auto()  # final: the payee has it
    RETURNED = auto()  # final: it did not happen, and never will


class AttemptEvent(StrEnum):
    """What can happen to an attempt."""

    CALLED = auto()
    UNSENT = auto()
    ARRIVED = auto()
    FELL_THROUGH = auto()


ATTEMPT = Machine(
    "attempt",
    AttemptState,
    AttemptEvent,
    [
        (AttemptEvent.CALLED, AttemptState.LIVE, AttemptState.CALLED),
        (AttemptEvent.UNSENT, AttemptState.CALLED, AttemptState.LIVE),
        (AttemptEvent.ARRIVED, AttemptState.CALLED, AttemptState.SETTLED),
        (AttemptEvent.FELL_THROUGH, AttemptState.CALLED, AttemptState.RETURNED),
    ],
)


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """What the law needs to know of an attempt. Amounts are msat."""

    id: str  # its payment_hash
    state: AttemptState
    borne_msat: int  # the most of the fee that the house bears before the payee does
    free_msat: int = 0  # what of that it gives, out of what it gives on a day
    called_by: str | None = None  # the wallet whose call it is
    fee_msat: int | None = None  # what routing cost, once it has arrived
    given_back_msat: int = 0  # what of the free money was not needed


@dataclass(frozen=True, slots=True)
class Called:
    """A keeper is about to have this wallet of the rail pay it: no other keeper will."""

    by: str
    kind = AttemptEvent.CALLED


@dataclass(frozen=True, slots=True)
class Unsent:
    """It is certain that the call sent nothing: another one may be made."""

    kind = AttemptEvent.UNSENT


@dataclass(frozen=True, slots=True)
class Arrived:
    """The rail says that the payee has it; `fee_msat` is what routing cost."""

    fee_msat: int
    kind = AttemptEvent.ARRIVED


@dataclass(frozen=True, slots=True)
class FellThrough:
    """The rail says, for good, that it did not happen."""

    kind = AttemptEvent.FELL_THROUGH


Event = Called | Unsent | Arrived | FellThrough


def decide(facts: AttemptFacts, event: Event) -> Decision[AttemptFacts]:
    """Return what the event means. Raises IllegalTransition. Its payout posts the entries."""
    after = replace(facts, state=ATTEMPT.step(facts.state, event.kind))
    match event:
        case Called(by):
            return Decision(replace(after, called_by=by))
        case Unsent():
            return Decision(replace(after, called_by=None))
        case Arrived(fee_msat):
            after = replace(after, fee_msat=fee_msat)
            unused_msat = after.borne_msat - min(after.borne_msat, fee_msat)
        case FellThrough():
            unused_msat = after.borne_msat
    return Decision(replace(after, given_back_msat=min(after.free_msat, unused_msat)))
