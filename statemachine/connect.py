"""A request to connect a wallet: whoever pays exactly what it asks for has opened its account.

Over Lightning the payment hash says which request was paid, however late. On a chain only the
amount does, and an amount is asked for again once its request has lapsed: what comes late there
is no payment of it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto
from typing import Final

from statemachine.decision import Decision
from statemachine.machine import Machine

# What is asked for on a chain: less than a dollar, and never an amount that people type.
LEAST_MICROUSDC: Final = 500_001
MOST_MICROUSDC: Final = 999_999


class ConnectKind(StrEnum):
    """Over what a request is paid."""

    LIGHTNING = auto()
    USDC = auto()


class ConnectState(StrEnum):
    """Where a request stands."""

    OPEN = auto()
    PAID = auto()  # final: its account has the amount
    LAPSED = auto()  # it was not paid in time


class ConnectEvent(StrEnum):
    """What can happen to a request."""

    PAID = auto()
    LAPSED = auto()


CONNECT = Machine(
    "connect",
    ConnectState,
    ConnectEvent,
    [
        (ConnectEvent.PAID, ConnectState.OPEN, ConnectState.PAID),
        (ConnectEvent.LAPSED, ConnectState.OPEN, ConnectState.LAPSED),
        (ConnectEvent.PAID, ConnectState.LAPSED, ConnectState.PAID),
    ],
)


@dataclass(frozen=True, slots=True)
class ConnectFacts:
    """What the law needs to know of a request."""

    id: str
    state: ConnectState


@dataclass(frozen=True, slots=True)
class Paid:
    """Its amount is on its account: the entry of the invoice or of the deposit has brought it."""

    kind = ConnectEvent.PAID


@dataclass(frozen=True, slots=True)
class Lapsed:
    """Its time has passed, and nothing that was sent before can still turn up."""

    kind = ConnectEvent.LAPSED


Event = Paid | Lapsed


def decide(facts: ConnectFacts, event: Event) -> Decision[ConnectFacts]:
    """Return what the event means. Raises IllegalTransition."""
    return Decision(replace(facts, state=CONNECT.step(facts.state, event.kind)))
