"""Attempts to pay a payout: each ends once, and gives back what its routing did not need."""

from dataclasses import replace
from typing import get_args

from statemachine import attempt
from statemachine.attempt import Arrived, AttemptFacts, AttemptState, FellThrough
from tests.stories.telling import Law, Story, story

LAW = Law(attempt.ATTEMPT, attempt.decide, get_args(attempt.Event))
LIVE = AttemptFacts("h", AttemptState.LIVE, borne_msat=3_000, free_msat=2_000)

STORIES: tuple[Story, ...] = (
    story("An attempt ends once", LAW)
    .given(replace(LIVE, borne_msat=0, free_msat=0))
    .hears(Arrived(7))
    .becomes(AttemptState.SETTLED)
    .has(fee_msat=7)
    .refuses(Arrived(7))
    .refuses(FellThrough()),
    story("What a day gives for routing is used last, and what is left of it is given back", LAW)
    .given(LIVE)
    .hears(Arrived(1_500))
    .becomes(AttemptState.SETTLED)
    .has(fee_msat=1_500, given_back_msat=1_500),
    story("No more is given back than was given", LAW)
    .given(LIVE)
    .hears(Arrived(0))
    .becomes(AttemptState.SETTLED)
    .has(fee_msat=0, given_back_msat=2_000),
    story("Routing that cost more than the house bears gives nothing back", LAW)
    .given(LIVE)
    .hears(Arrived(9_000))
    .becomes(AttemptState.SETTLED)
    .has(fee_msat=9_000),
    story("An attempt that did not happen gives all of it back, and is over for good", LAW)
    .given(LIVE)
    .hears(FellThrough())
    .becomes(AttemptState.RETURNED)
    .has(given_back_msat=2_000)
    .refuses(Arrived(7))
    .refuses(FellThrough()),
)
