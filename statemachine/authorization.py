"""USDC coming in: a buyer's signed order, claimed before anybody is asked to move the money.

What it paid is never lost: where nothing awaits it any more, it is owed back. It fails only when
the chain says that it moved nothing and never will.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from statemachine import entries
from statemachine.decision import Decision, Owed
from statemachine.entries import Asset
from statemachine.machine import Machine
from statemachine.owner import Owner, Purpose, Reason


class AuthorizationState(StrEnum):
    """Where a buyer's order stands."""

    CLAIMED = auto()  # it is for one purchase, and may have moved the money, or may yet do so
    SETTLED = auto()  # final: the money is ours
    FAILED = auto()  # final: it moved nothing, and never will


class AuthorizationEvent(StrEnum):
    """What can happen to a buyer's order."""

    SETTLED = auto()
    FAILED = auto()


AUTHORIZATION = Machine(
    "authorization",
    AuthorizationState,
    AuthorizationEvent,
    [
        (AuthorizationEvent.SETTLED, AuthorizationState.CLAIMED, AuthorizationState.SETTLED),
        (AuthorizationEvent.FAILED, AuthorizationState.CLAIMED, AuthorizationState.FAILED),
    ],
)


@dataclass(frozen=True, slots=True)
class AuthorizationFacts:
    """What the law needs to know of a buyer's order."""

    id: str  # "<chain>:<payer>:<nonce>"
    owner: Owner  # whose it becomes when it is settled in time
    purpose: Purpose  # what it pays for
    state: AuthorizationState
    amount_microusdc: int


@dataclass(frozen=True, slots=True)
class Settled:
    """We hold the money. `awaited`: its owner is waiting for just this payment."""

    awaited: bool
    kind = AuthorizationEvent.SETTLED


@dataclass(frozen=True, slots=True)
class Failed:
    """The chain says that it moved nothing, and never will."""

    kind = AuthorizationEvent.FAILED


Event = Settled | Failed


def decide(facts: AuthorizationFacts, event: Event) -> Decision[AuthorizationFacts]:
    """Return what the event means. Raises IllegalTransition."""
    after = replace(facts, state=AUTHORIZATION.step(facts.state, event.kind))
    if isinstance(event, Failed):
        return Decision(after)
    amount, owner = after.amount_microusdc, after.owner
    if event.awaited:
        return Decision(after, (entries.authorization_settled(after.id, owner.account, amount),))
    name = f"{owner.id}:{after.purpose}:{Reason.UNAWAITED}"
    back = Owed(name, Reason.UNAWAITED, amount, Asset.MICROUSDC)
    entry = entries.authorization_settled(after.id, entries.of_refund(back.id), amount)
    return Decision(after, (entry,), owed=(back,))
