"""Canaries: given to a worker, and compared with what the house itself makes."""

from typing import get_args

from statemachine import canary
from statemachine.canary import CanaryState, Failed, Passed, Voided
from tests.stories.telling import Law, Story, story

LAW = Law(canary.CANARY, canary.decide, get_args(canary.Event))
GIVEN = canary.begin("i", "w")

STORIES: tuple[Story, ...] = (
    story("A canary looks as it should, and is judged once", LAW)
    .given(GIVEN)
    .hears(Passed(3))
    .becomes(CanaryState.PASSED)
    .has(unlike_pct=3)
    .refuses(Failed(90))
    .refuses(Voided()),
    story("A canary shows something else", LAW)
    .given(GIVEN)
    .hears(Failed(90))
    .becomes(CanaryState.FAILED)
    .has(unlike_pct=90)
    .refuses(Passed(3)),
    story("A canary that was not brought says nothing of its worker", LAW)
    .given(GIVEN)
    .hears(Voided())
    .becomes(CanaryState.VOID)
    .refuses(Failed(90)),
)
