"""Amends: what a batch's buyer has back of what a worker has forfeited that brought him junk.

The newest come first, each whole while there is enough. It goes to where the payment came from: a
balance, or a payout like any other. In bitcoin it is whole sats, as no wallet asks for less.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum, auto
from typing import Final

from pricing.money import whole_sats_down, whole_sats_up
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
    """What a batch was charged for items of one worker."""

    batch_id: str
    amount: int  # in the smallest unit of the batch's asset


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


def shared(pot: int, asset: Asset, charges: Sequence[Charge]) -> list[Charge]:
    """Return what each of these buyers has of what was forfeited: the first of them first.

    Never more than there is, nor than he was charged, but for the part of a sat that his batch's
    charge is rounded up by.
    """
    shares, left = [], pot
    for charge in charges:
        whole, rest = charge.amount, left
        if asset is Asset.MSAT:
            whole, rest = whole_sats_up(charge.amount), whole_sats_down(left)
        part = min(whole, rest)
        if part:
            shares.append(replace(charge, amount=part))
            left -= part
    return shares


def begin(amends_id: str, asset: Asset, share: Charge) -> AmendsFacts:
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
