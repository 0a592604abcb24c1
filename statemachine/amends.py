"""Amends: what a batch's buyer has back of what was paid for junk that a worker has brought him.

Of each item he has what its worker forfeits of his pay, and the house's own part: never more than
came in for it, less what is the worker's for good; or who lends, and buys of himself, would earn by
it. It goes to where the payment came from: a balance, or a payout like any other. In bitcoin it is
whole sats, as no wallet asks for less.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum, auto
from typing import Final

from pricing.money import whole_sats_down
from statemachine import entries
from statemachine.decision import Decision, Owed
from statemachine.entries import Account, Asset
from statemachine.machine import Machine
from statemachine.owner import Reason

MOST_ITEMS: Final = 50  # of a worker's last ones


class AmendsState(StrEnum):
    """Where amends stand."""

    DUE = auto()  # so much of what was forfeited is this buyer's
    MADE = auto()  # final: he has it, or it is owed to him as a payout


class AmendsEvent(StrEnum):
    """What can happen to amends."""

    MADE = auto()


AMENDS = Machine(
    "amends",
    AmendsState,
    AmendsEvent,
    [(AmendsEvent.MADE, AmendsState.DUE, AmendsState.MADE)],
)


@dataclass(frozen=True, slots=True)
class Charge:
    """What is left of what a batch was charged for items of one worker, in its asset's smallest
    unit."""

    batch_id: str
    held: int  # of the worker's pay
    own: int  # the house's part


@dataclass(frozen=True, slots=True)
class Share:
    """What a batch's buyer has back."""

    batch_id: str
    amount: int


@dataclass(frozen=True, slots=True)
class Shares:
    """What all of them have back, and what of that the house adds to what was forfeited."""

    each: tuple[Share, ...]
    added: int


NOTHING: Final = Shares((), 0)


@dataclass(frozen=True, slots=True)
class AmendsFacts:
    """What the law needs to know of amends."""

    id: str
    batch_id: str
    state: AmendsState
    asset: Asset
    amount: int
    number: int | None = None  # of those of its batch, once they are made


@dataclass(frozen=True, slots=True)
class Made:
    """They are made: onto this balance; None: as a payout to whoever paid."""

    number: int
    to: Account | None
    kind = AmendsEvent.MADE


Event = Made


def shared(pot: int, asset: Asset, charges: Sequence[Charge]) -> Shares:
    """Return what each of these buyers has back, where so much was forfeited."""
    each = []
    for charge in charges:
        amount = charge.held + charge.own
        if asset is Asset.MSAT:
            amount = whole_sats_down(amount)
        if amount:
            each.append(Share(charge.batch_id, amount))
    return Shares(tuple(each), max(0, sum(share.amount for share in each) - pot))


def begin(amends_id: str, asset: Asset, share: Share) -> AmendsFacts:
    """Return how amends come to be."""
    return AmendsFacts(amends_id, share.batch_id, AmendsState.DUE, asset, share.amount)


def decide(facts: AmendsFacts, event: Event) -> Decision[AmendsFacts]:
    """Return what the event means in money. Raises IllegalTransition."""
    state = AMENDS.step(facts.state, event.kind)
    after = replace(facts, state=state, number=event.number)
    if event.to is not None:
        entry = entries.amends_made(after.id, event.to, after.asset, after.amount)
        return Decision(after, (entry,))
    owed = Owed(f"{after.batch_id}:amends{event.number}", Reason.AMENDS, after.amount, after.asset)
    entry = entries.owed_back(entries.REVENUE_FORFEITS, owed.amount, owed.id, owed.asset)
    return Decision(after, (entry,), owed=(owed,))
