"""Money going out. In flight is committed before the rail is called, and only an explicit,
terminal answer brings it back: Unknown stays in flight, and is asked again.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from statemachine import entries
from statemachine.decision import Decision
from statemachine.machine import Machine
from statemachine.promises import PayInvoice


class PayoutState(StrEnum):
    """Where a payout stands."""

    OWED = auto()  # somebody's money, waiting for a destination or another try
    IN_FLIGHT = auto()  # handed to the rail; its outcome is not known
    PAID = auto()  # final: the payee has it


class PayoutEvent(StrEnum):
    """What can happen to a payout."""

    SENT = auto()
    SETTLED = auto()
    RETURNED = auto()


PAYOUT = Machine(
    "payout",
    PayoutState,
    PayoutEvent,
    [
        (PayoutEvent.SENT, PayoutState.OWED, PayoutState.IN_FLIGHT),
        (PayoutEvent.SETTLED, PayoutState.IN_FLIGHT, PayoutState.PAID),
        (PayoutEvent.RETURNED, PayoutState.IN_FLIGHT, PayoutState.OWED),
    ],
)


@dataclass(frozen=True, slots=True)
class PayoutFacts:
    """What the law needs to know of a payout. Amounts are msat."""

    id: str
    job_id: str
    state: PayoutState
    amount_msat: int
    attempts: int = 0  # how many were sent; the number of the live one


@dataclass(frozen=True, slots=True)
class Sent:
    """A destination was given and checked: the next attempt begins."""

    kind = PayoutEvent.SENT


@dataclass(frozen=True, slots=True)
class Settled:
    """The rail says the payee has it; `fee_msat` is what routing cost us."""

    fee_msat: int
    kind = PayoutEvent.SETTLED


@dataclass(frozen=True, slots=True)
class Returned:
    """The rail says, for good, that this attempt did not happen."""

    kind = PayoutEvent.RETURNED


Event = Sent | Settled | Returned


def decide(facts: PayoutFacts, event: Event) -> Decision[PayoutFacts]:
    """Return what the event means in money and promises. Raises IllegalTransition."""
    after = replace(facts, state=PAYOUT.step(facts.state, event.kind))
    match event:
        case Sent():
            after = replace(after, attempts=facts.attempts + 1)
            entry = entries.payout_sent(after.id, after.attempts, after.amount_msat)
            return Decision(after, (entry,), (PayInvoice(after.id, after.attempts),))
        case Settled(fee_msat):
            return Decision(after, (entries.payout_settled(after.id, after.amount_msat, fee_msat),))
        case Returned():
            entry = entries.payout_returned(after.id, after.attempts, after.amount_msat)
            return Decision(after, (entry,))
