"""Attempts to pay a payout: each ends once, and gives back what its routing did not need."""

from dataclasses import replace
from typing import get_args

from statemachine import attempt
from statemachine.attempt import (
    Arrived,
    AttemptFacts,
    AttemptState,
    Called,
    FellThrough,
    Unsent,
)
from tests.stories.telling import Law, Story, story

LAW = Law(attempt.ATTEMPT, attempt.decide, get_args(attempt.Event))
LIVE = AttemptFacts("h", AttemptState.LIVE, borne_msat=3_000, free_msat=2_000)
CALLED = replace(LIVE, state=AttemptState.CALLED, called_by="w")

STORIES: tuple[Story, ...] = (
    story("An attempt is called once, and only what was called can end", LAW)
    .given(LIVE)
    .refuses(Arrived(7))
    .refuses(FellThrough())
    .refuses(Unsent())
    .hears(Called("w"))
    .becomes(AttemptState.CALLED)
    .has(called_by="w")
    .refuses(Called("w"))
    .refuses(Called("v")),
    story("A call that certainly sent nothing is given back, and made again", LAW)
    .given(CALLED)
    .hears(Unsent())
    .becomes(AttemptState.LIVE)
    .has(called_by=None)
    .hears(Called("v"))
    .becomes(AttemptState.CALLED)
    .has(called_by="v"),
    story("An attempt ends once", LAW)
    .given(replace(CALLED, borne_msat=0, free_msat=0))
    .hears(Arrived(7))
    .becomes(AttemptState.SETTLED)
    .has(fee_msat=7)
    .refuses(Unsent())
    .refuses(Called("w"))
    .refuses(Arrived(7))
    .refuses(FellThrough()),
    story("What a day gives for routing is used last, and what is left of it is given back", LAW)
    .given(CALLED)
    .hears(Arrived(1_500))
    .becomes(AttemptState.SETTLED)
    .has(fee_msat=1_500, given_back_msat=1_500),
    story("No more is given back than was given", LAW)
    .given(CALLED)
    .hears(Arrived(0))
    .becomes(AttemptState.SETTLED)
    .has(fee_msat=0, given_back_msat=2_000),
    story("Routing that cost more than the house bears gives nothing back", LAW)
    .given(CALLED)
    .hears(Arrived(9_000))
    .becomes(AttemptState.SETTLED)
    .has(fee_msat=9_000),
    story("An attempt that did not happen gives all of it back, and is over for good", LAW)
    .given(CALLED)
    .hears(FellThrough())
    .becomes(AttemptState.RETURNED)
    .has(given_back_msat=2_000)
    .refuses(Arrived(7))
    .refuses(FellThrough()),
)
