"""A cast: the steps of a spell, each an item, made in the order in which they need each other.

It has no states of its own: where it stands is read from its items, as they were ordered last. A
step that fails for good takes with it what is made from it; the cast may be resumed, and then only
what is missing is ordered, and paid for, anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, auto

from statemachine.item import ITEM, ItemState

MOST_STEPS = 20
MOST_AUTHOR_PCT = 30


class CastState(StrEnum):
    """Where a cast stands."""

    AWAITING_PAYMENT = auto()  # nothing of it is paid for
    RUNNING = auto()
    COMPLETED = auto()  # every step was delivered
    FAILED = auto()  # it goes on no more, and not all was delivered: it may be resumed


@dataclass(frozen=True, slots=True)
class Made:
    """One step of a cast, as it was ordered last."""

    step: int
    state: ItemState
    is_paid: bool


def state_of(steps: Sequence[Made]) -> CastState:
    """Return where a cast with these steps stands."""
    ended = [ITEM.final(made.state) for made in steps]
    if all(made.state is ItemState.COMPLETED for made in steps):
        return CastState.COMPLETED
    if all(ended):
        return CastState.FAILED
    if all(made.is_paid for made, is_over in zip(steps, ended, strict=True) if not is_over):
        return CastState.RUNNING
    return CastState.AWAITING_PAYMENT


def missing(steps: Sequence[Made]) -> list[int]:
    """Return which steps have yet to be ordered again, in their order."""
    return [
        made.step
        for made in steps
        if ITEM.final(made.state) and made.state is not ItemState.COMPLETED
    ]
