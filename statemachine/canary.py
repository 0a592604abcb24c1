"""A canary: an item that the house orders of a worker, and whose answer it knows.

It is paid for like any other. Once it is brought, the house makes it too, with the same words and
the same seed, and compares how both look.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto
from typing import Final

from statemachine.decision import Decision
from statemachine.look import unlike_pct
from statemachine.machine import Machine

PASSES_PCT: Final = 25  # as unlike as that is what another version or machine makes of it
EVERY_NEW: Final = 3  # items that a worker delivers to a canary, until it has passed one


class CanaryState(StrEnum):
    """Where a canary stands."""

    GIVEN = auto()  # a worker has it, or has brought it
    PASSED = auto()  # final: it looks as it should
    FAILED = auto()  # final: it shows something else
    VOID = auto()  # final: it was not brought, or can't be compared


class CanaryEvent(StrEnum):
    """What can happen to a canary."""

    PASSED = auto()
    FAILED = auto()
    VOIDED = auto()


CANARY = Machine(
    "canary",
    CanaryState,
    CanaryEvent,
    [
        (CanaryEvent.PASSED, CanaryState.GIVEN, CanaryState.PASSED),
        (CanaryEvent.FAILED, CanaryState.GIVEN, CanaryState.FAILED),
        (CanaryEvent.VOIDED, CanaryState.GIVEN, CanaryState.VOID),
    ],
)


@dataclass(frozen=True, slots=True)
class CanaryFacts:
    """What the law needs to know of a canary: its item, and who was given it."""

    id: str
    worker_id: str
    state: CanaryState
    unlike_pct: int | None = None  # what was brought, of what the house makes


@dataclass(frozen=True, slots=True)
class Passed:
    """It looks as it should."""

    unlike_pct: int
    kind = CanaryEvent.PASSED


@dataclass(frozen=True, slots=True)
class Failed:
    """It shows something else."""

    unlike_pct: int
    kind = CanaryEvent.FAILED


@dataclass(frozen=True, slots=True)
class Voided:
    """It was not brought, or the house's own picture can't be compared with anything."""

    kind = CanaryEvent.VOIDED


Event = Passed | Failed | Voided


def begin(canary_id: str, worker_id: str) -> CanaryFacts:
    """Return how a canary comes to be: with its worker."""
    return CanaryFacts(canary_id, worker_id, CanaryState.GIVEN)


def judged(theirs: str | None, ours: str | None) -> Event:
    """Return what a worker's picture is beside the house's own, by how they look.

    None: one is so plain that it has no look. A plain picture where the house's is none fails.
    """
    if ours is None:
        return Voided()
    unlike = 100 if theirs is None else unlike_pct(theirs, ours)
    return Passed(unlike) if unlike <= PASSES_PCT else Failed(unlike)


def draws(dice: int, every: int, passed: int) -> bool:
    """Say whether a worker that has delivered something is given a canary next.

    `every`: of how many items one is followed by a canary; 0: none. A worker that has passed none
    is given one sooner. Whatever it knows of those before, each item is as likely as another.
    """
    if not every:
        return False
    return dice % (every if passed else min(every, EVERY_NEW)) == 0


def decide(facts: CanaryFacts, event: Event) -> Decision[CanaryFacts]:
    """Return what the event means. Raises IllegalTransition."""
    after = replace(facts, state=CANARY.step(facts.state, event.kind))
    match event:
        case Passed(unlike) | Failed(unlike):
            return Decision(replace(after, unlike_pct=unlike))
        case Voided():
            return Decision(after)
