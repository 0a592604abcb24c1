"""Leases: held while their holder is heard of, and the first result is taken, whosever it is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

from statemachine import lease
from statemachine.entries import Asset
from statemachine.lease import (
    Beat,
    Declined,
    Lapsed,
    LeaseFacts,
    LeaseState,
    Overtaken,
    Released,
    Submitted,
)
from tests.stories.telling import Law, Story, story

LAW = Law(lease.LEASE, lease.decide, get_args(lease.Event))
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HELD = LeaseFacts("i", 1, LeaseState.HELD, NOON + MINUTE, NOON + 4 * MINUTE)
DONE = replace(HELD, state=LeaseState.DONE)
GIVEN = replace(HELD, state=LeaseState.RELEASED)

STORIES: tuple[Story, ...] = (
    story("A lease is held while its holder is heard of, and brings the result", LAW)
    .given(HELD)
    .hears(Beat(NOON + MINUTE, MINUTE))
    .has(until=NOON + 2 * MINUTE)
    .hears(Submitted("aa"))
    .becomes(LeaseState.DONE)
    .has(sha256="aa")
    .refuses(Submitted("aa"))
    .refuses(Beat(NOON, MINUTE))
    .refuses(Lapsed()),
    story("Nobody holds an item beyond its deadline, however often he is heard of", LAW)
    .given(HELD)
    .hears(Beat(NOON + 3 * MINUTE, 2 * MINUTE))
    .has(until=NOON + 4 * MINUTE)
    .hears(Beat(NOON + 5 * MINUTE, 2 * MINUTE)),
    story("A beat that comes after a later one takes nothing back", LAW)
    .given(HELD)
    .hears(Beat(NOON - MINUTE, MINUTE)),
    story("A lease lapses, and its result is still taken if it is the first", LAW)
    .given(HELD)
    .hears(Lapsed())
    .becomes(LeaseState.LAPSED)
    .refuses(Beat(NOON, MINUTE))
    .refuses(Released())
    .hears(Submitted("aa"))
    .becomes(LeaseState.DONE)
    .has(sha256="aa"),
    story("A lease that an older one has overtaken is over", LAW)
    .given(HELD)
    .hears(Overtaken())
    .becomes(LeaseState.RELEASED)
    .refuses(Submitted("bb")),
    story("What a maker wants for a delivered item is an expense of the house", LAW)
    .begins(DONE.state, lease.spent(DONE, Asset.MICROUSDC, 900, was_delivered=True))
    .moves(900, "expense:makers", "revenue:free", "lease:i:1:spent", Asset.MICROUSDC),
    story("So is what it wants for nothing", LAW)
    .begins(GIVEN.state, lease.spent(GIVEN, Asset.MSAT, 900, was_delivered=False))
    .moves(900, "expense:failed", "revenue:free", "lease:i:1:spent"),
    story("A lease is given back", LAW)
    .given(HELD)
    .hears(Released())
    .becomes(LeaseState.RELEASED)
    .refuses(Submitted("aa"))
    .refuses(Lapsed()),
    story("A lease says for good that its item can't be made", LAW)
    .given(HELD)
    .hears(Declined())
    .becomes(LeaseState.DONE)
    .refuses(Submitted("aa")),
    story("What has lapsed says nothing for good", LAW)
    .given(replace(HELD, state=LeaseState.LAPSED))
    .refuses(Declined())
    .refuses(Overtaken()),
)
