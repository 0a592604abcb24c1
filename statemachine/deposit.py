"""USDC that somebody has sent to our address without a signed order: whose it is, or nobody's yet.

It is an account's where its sender has proven to hold that, or where it is what the account was
opened by. Else it rests unclaimed, until its sender proves the address, or an operator gives it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from statemachine import entries
from statemachine.decision import Decision
from statemachine.machine import Machine


class DepositState(StrEnum):
    """Where a deposit rests."""

    UNCLAIMED = auto()
    CREDITED = auto()  # final: an account has it


class DepositEvent(StrEnum):
    """What can happen to a deposit."""

    CLAIMED = auto()


DEPOSIT = Machine(
    "deposit",
    DepositState,
    DepositEvent,
    [(DepositEvent.CLAIMED, DepositState.UNCLAIMED, DepositState.CREDITED)],
)


@dataclass(frozen=True, slots=True)
class DepositFacts:
    """What the law needs to know of a deposit."""

    id: str  # "<chain>:<transaction>:<place>"
    state: DepositState
    amount_microusdc: int
    account_id: str | None = None  # whose it is


@dataclass(frozen=True, slots=True)
class Claimed:
    """This account's holder has proven to have sent it, or was given it by an operator."""

    account_id: str
    kind = DepositEvent.CLAIMED


Event = Claimed


def arrived(
    deposit_id: str, amount_microusdc: int, account_id: str | None
) -> Decision[DepositFacts]:
    """Return what money that came in means: it is this account's; None: nobody's yet."""
    state = DepositState.UNCLAIMED if account_id is None else DepositState.CREDITED
    facts = DepositFacts(deposit_id, state, amount_microusdc, account_id)
    to = entries.UNCLAIMED if account_id is None else entries.of_user(account_id)
    return Decision(facts, (entries.deposit_arrived(deposit_id, to, amount_microusdc),))


def decide(facts: DepositFacts, event: Event) -> Decision[DepositFacts]:
    """Return what the event means in money. Raises IllegalTransition."""
    after = replace(facts, state=DEPOSIT.step(facts.state, event.kind), account_id=event.account_id)
    to = entries.of_user(event.account_id)
    return Decision(after, (entries.deposit_claimed(facts.id, to, facts.amount_microusdc),))
