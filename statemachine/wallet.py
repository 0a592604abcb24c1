"""A receiving wallet: one of those of the rail that invoices are made on, one after the other.

One is in use. A retired one may still be paid, and is emptied; a closed one is paid by nobody any
more, so its rest counts as it is, and it can be deleted. The first is kept: the settings name it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from statemachine.decision import Decision
from statemachine.machine import IllegalTransition, Machine

FIRST = 1  # number of the wallet whose key is in the settings


class WalletState(StrEnum):
    """Where a receiving wallet stands. In this order: none is ever in an earlier one again."""

    WANTED = auto()  # a process has set out to open it
    IN_USE = auto()  # invoices are made on it
    RETIRED = auto()  # a newer one is in use; what it holds is moved there
    CLOSED = auto()  # nothing can come to it or leave it any more
    DELETED = auto()  # final: it is not in the rail any more


class WalletEvent(StrEnum):
    """What can happen to a receiving wallet."""

    SOUGHT = auto()
    OPENED = auto()
    REPLACED = auto()
    CLOSED = auto()
    DELETED = auto()


WALLET = Machine(
    "wallet",
    WalletState,
    WalletEvent,
    [
        # Whoever set out to open it is gone, and another process sets out.
        (WalletEvent.SOUGHT, WalletState.WANTED, WalletState.WANTED),
        (WalletEvent.OPENED, WalletState.WANTED, WalletState.IN_USE),
        (WalletEvent.REPLACED, WalletState.IN_USE, WalletState.RETIRED),
        (WalletEvent.CLOSED, WalletState.RETIRED, WalletState.CLOSED),
        (WalletEvent.DELETED, WalletState.CLOSED, WalletState.DELETED),
    ],
)


@dataclass(frozen=True, slots=True)
class WalletFacts:
    """What the law needs to know of a receiving wallet. Amounts are msat."""

    number: int
    state: WalletState
    is_awaited: bool = False  # an invoice, a transfer or a payout of it has not come to its end
    left_msat: int | None = None  # what it held when it was closed, below a sat


@dataclass(frozen=True, slots=True)
class Sought:
    """Another process sets out to open it."""

    kind = WalletEvent.SOUGHT


@dataclass(frozen=True, slots=True)
class Opened:
    """The rail has made it."""

    kind = WalletEvent.OPENED


@dataclass(frozen=True, slots=True)
class Replaced:
    """A newer one was opened."""

    kind = WalletEvent.REPLACED


@dataclass(frozen=True, slots=True)
class Closed:
    """Its invoices have long expired, and it holds this much."""

    left_msat: int
    kind = WalletEvent.CLOSED


@dataclass(frozen=True, slots=True)
class Deleted:
    """The rail has it no more."""

    kind = WalletEvent.DELETED


Event = Sought | Opened | Replaced | Closed | Deleted


def begin(number: int) -> Decision[WalletFacts]:
    """Return how a wallet comes to be: wanted, but for the first, which is there."""
    state = WalletState.IN_USE if number == FIRST else WalletState.WANTED
    return Decision(WalletFacts(number, state))


def decide(facts: WalletFacts, event: Event) -> Decision[WalletFacts]:
    """Return how the wallet stands after the event. Raises IllegalTransition.

    None is closed that something may still come to or leave, and the first is never deleted.
    """
    after = replace(facts, state=WALLET.step(facts.state, event.kind))
    match event:
        case Closed(left_msat):
            if facts.is_awaited:
                raise IllegalTransition(facts.state, event.kind)
            after = replace(after, left_msat=left_msat)
        case Deleted():
            if facts.number == FIRST:
                raise IllegalTransition(facts.state, event.kind)
    return Decision(after)
