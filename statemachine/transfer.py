"""A transfer: money of ours on its way from a retired wallet of the rail to the one that is used.

It is ours before, meanwhile and after: only what the way costs is booked. Unknown stays live.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from statemachine import entries
from statemachine.decision import Decision
from statemachine.machine import Machine


class TransferState(StrEnum):
    """Where a transfer stands."""

    LIVE = auto()  # a wallet was told to pay, or is about to be; its outcome is not known
    SETTLED = auto()  # final: the other wallet has it
    FAILED = auto()  # final: the money is where it was


class TransferEvent(StrEnum):
    """What can happen to a transfer."""

    ARRIVED = auto()
    FELL_THROUGH = auto()


TRANSFER = Machine(
    "transfer",
    TransferState,
    TransferEvent,
    [
        (TransferEvent.ARRIVED, TransferState.LIVE, TransferState.SETTLED),
        (TransferEvent.FELL_THROUGH, TransferState.LIVE, TransferState.FAILED),
    ],
)


@dataclass(frozen=True, slots=True)
class TransferFacts:
    """What the law needs to know of a transfer. Amounts are msat."""

    payment_hash: str
    state: TransferState
    fee_msat: int | None = None  # what the way cost, once it has arrived


@dataclass(frozen=True, slots=True)
class Arrived:
    """The rail says that it was paid; `fee_msat` is what the way cost: most cost nothing."""

    fee_msat: int
    kind = TransferEvent.ARRIVED


@dataclass(frozen=True, slots=True)
class FellThrough:
    """The rail says, for good, that it was not paid."""

    kind = TransferEvent.FELL_THROUGH


Event = Arrived | FellThrough


def decide(facts: TransferFacts, event: Event) -> Decision[TransferFacts]:
    """Return what the event means in money. Raises IllegalTransition."""
    after = replace(facts, state=TRANSFER.step(facts.state, event.kind))
    if isinstance(event, FellThrough):
        return Decision(after)
    after = replace(after, fee_msat=event.fee_msat)
    if not event.fee_msat:
        return Decision(after)
    return Decision(after, (entries.transfer_settled(after.payment_hash, event.fee_msat),))
