"""Workers: given items while they are online, paid for what they bring, and half of it later."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

from statemachine import worker
from statemachine.entries import Asset
from statemachine.worker import (
    NEW_FOR,
    NEW_ITEMS,
    Banned,
    CanaryFailed,
    CanaryGiven,
    CanaryPassed,
    Delivered,
    Drained,
    FellSilent,
    ItemFailed,
    Matured,
    Paused,
    Readmitted,
    Resumed,
    WorkerEvent,
    WorkerFacts,
    WorkerState,
)
from tests.stories.telling import Law, Story, story

LAW = Law(worker.WORKER, worker.decide, get_args(worker.Event))
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
OLD = NOON + NEW_FOR
NEW = WorkerFacts("w", "a", WorkerState.ONLINE, NOON)
ALMOST = replace(NEW, delivered=NEW_ITEMS - 1, held_msat=700, held_microusdc=30)
PAID = Delivered(NOON, Asset.MSAT, 50)

STORIES: tuple[Story, ...] = (
    story("A worker is lent, drained, paused and lent again", LAW)
    .given(NEW)
    .hears(Resumed())
    .hears(Drained())
    .becomes(WorkerState.DRAINING)
    .hears(Drained())
    .hears(Paused())
    .becomes(WorkerState.PAUSED)
    .hears(Paused())
    .hears(Drained())
    .becomes(WorkerState.DRAINING)
    .hears(Resumed())
    .becomes(WorkerState.ONLINE)
    .hears(Paused())
    .becomes(WorkerState.PAUSED)
    .hears(Resumed())
    .becomes(WorkerState.ONLINE)
    .refuses(Readmitted()),
    story("What a new worker delivers is counted, with what is held back of its pay", LAW)
    .given(NEW)
    .hears(PAID)
    .has(delivered=1, held_msat=50)
    .hears(Delivered(NOON, Asset.MICROUSDC, 9))
    .has(delivered=2, held_microusdc=9)
    .refuses(Delivered(NOON, Asset.MSAT, -1), ValueError)
    .hears(Drained())
    .becomes(WorkerState.DRAINING)
    .hears(PAID)
    .has(delivered=3, held_msat=100)
    .hears(Paused())
    .becomes(WorkerState.PAUSED)
    .hears(PAID)
    .has(delivered=4, held_msat=150),
    story("A worker that is old and has delivered enough is new no more", LAW)
    .given(ALMOST)
    .hears(Delivered(OLD, Asset.MSAT, 50))
    .has(delivered=NEW_ITEMS, held_msat=0, held_microusdc=0, is_trusted=True)
    .moves(750, "worker:w", "user:a", "worker:w:freed:msat")
    .moves(30, "worker:w", "user:a", "worker:w:freed:microusdc", Asset.MICROUSDC)
    .refuses(Delivered(OLD, Asset.MSAT, 1), ValueError)
    .hears(Delivered(OLD, Asset.MSAT, 0))
    .has(delivered=NEW_ITEMS + 1)
    .hears(Matured(OLD)),
    story("One that has delivered enough waits until it is old", LAW)
    .given(ALMOST)
    .hears(Delivered(OLD - HOUR, Asset.MSAT, 50))
    .has(delivered=NEW_ITEMS, held_msat=750)
    .hears(Matured(OLD - HOUR))
    .hears(Matured(OLD))
    .has(held_msat=0, held_microusdc=0, is_trusted=True)
    .moves(750, "worker:w", "user:a", "worker:w:freed:msat")
    .moves(30, "worker:w", "user:a", "worker:w:freed:microusdc", Asset.MICROUSDC),
    story("What is held of one that was given a canary waits until that is judged", LAW)
    .given(ALMOST)
    .hears(Delivered(OLD, Asset.MSAT, 50, is_open=True))
    .has(delivered=NEW_ITEMS, held_msat=750)
    .hears(Matured(OLD, is_open=True))
    .hears(CanaryPassed())
    .has(canaries_passed=1)
    .hears(Matured(OLD))
    .has(held_msat=0, held_microusdc=0, is_trusted=True)
    .moves(750, "worker:w", "user:a", "worker:w:freed:msat")
    .moves(30, "worker:w", "user:a", "worker:w:freed:microusdc", Asset.MICROUSDC),
    story("It does so while it is drained, and with nothing held", LAW)
    .given(replace(NEW, state=WorkerState.DRAINING, delivered=NEW_ITEMS))
    .hears(Matured(OLD))
    .has(is_trusted=True),
    story("And while it is paused", LAW)
    .given(replace(NEW, state=WorkerState.PAUSED, delivered=NEW_ITEMS))
    .hears(Matured(OLD))
    .has(is_trusted=True),
    story("A worker that falls silent three times in an hour is paused", LAW)
    .given(NEW)
    .hears(FellSilent(NOON))
    .has(silent=1, silent_since=NOON)
    .hears(FellSilent(NOON + HOUR / 2))
    .has(silent=2, lost=1)
    .hears(FellSilent(NOON + HOUR))
    .has(silent=1, silent_since=NOON + HOUR)
    .hears(FellSilent(NOON + HOUR))
    .has(silent=2, lost=2)
    .hears(FellSilent(NOON + HOUR))
    .passes(WorkerState.ONLINE, WorkerEvent.STOPPED)
    .becomes(WorkerState.PAUSED)
    .has(silent=3, lost=3)
    .hears(FellSilent(NOON + HOUR))
    .has(silent=4, lost=4)
    .hears(Resumed())
    .becomes(WorkerState.ONLINE)
    .has(silent=0, silent_since=None),
    story("The same of one that is drained", LAW)
    .given(replace(NEW, state=WorkerState.DRAINING, silent=2, silent_since=NOON))
    .hears(FellSilent(NOON))
    .passes(WorkerState.DRAINING, WorkerEvent.STOPPED)
    .becomes(WorkerState.PAUSED)
    .has(silent=3, lost=1),
    story("What a banned worker brings is not taken, and what is held stays held", LAW)
    .given(replace(ALMOST, silent=1, silent_since=NOON))
    .hears(Banned())
    .becomes(WorkerState.BANNED)
    .refuses(Delivered(OLD, Asset.MSAT, 50))
    .refuses(Matured(OLD))
    .refuses(Resumed())
    .refuses(Banned())
    .hears(FellSilent(NOON))
    .has(silent=2, lost=1)
    .hears(Readmitted())
    .becomes(WorkerState.PAUSED)
    .has(silent=0, silent_since=None)
    .hears(Banned())
    .becomes(WorkerState.BANNED),
    story("One that is drained can be banned", LAW)
    .given(replace(NEW, state=WorkerState.DRAINING))
    .hears(Banned())
    .becomes(WorkerState.BANNED),
    story("A worker that the dice want to see is given a canary once, while it is online", LAW)
    .given(NEW)
    .hears(Delivered(NOON, Asset.MSAT, 50, draws=True))
    .has(delivered=1, held_msat=50, canary_due=True)
    .hears(PAID)
    .has(delivered=2, held_msat=100)
    .hears(CanaryGiven())
    .has(canary_due=False)
    .hears(Delivered(NOON, Asset.MSAT, 50, is_late=True))
    .has(delivered=3, held_msat=150, late=1)
    .hears(CanaryPassed())
    .has(canaries_passed=1)
    .hears(Drained())
    .becomes(WorkerState.DRAINING)
    .refuses(CanaryGiven()),
    story("A failed canary takes what is held, never what is free, and bans the worker", LAW)
    .given(ALMOST)
    .hears(CanaryFailed("c"))
    .becomes(WorkerState.BANNED)
    .has(
        held_msat=0, held_microusdc=0, forfeited_msat=700, forfeited_microusdc=30, canaries_failed=1
    )
    .moves(700, "worker:w", "revenue:forfeits", "worker:w:forfeited:c:msat")
    .moves(30, "worker:w", "revenue:forfeits", "worker:w:forfeited:c:microusdc", Asset.MICROUSDC)
    .refuses(CanaryGiven())
    .hears(CanaryFailed("d"))
    .has(canaries_failed=2)
    .hears(CanaryPassed())
    .has(canaries_passed=1)
    .hears(ItemFailed())
    .has(failed=1)
    .hears(Readmitted())
    .becomes(WorkerState.PAUSED)
    .refuses(CanaryGiven())
    .hears(PAID)
    .has(delivered=NEW_ITEMS, held_msat=50)
    .hears(CanaryFailed("e"))
    .becomes(WorkerState.BANNED)
    .has(held_msat=0, forfeited_msat=750, canaries_failed=3)
    .moves(50, "worker:w", "revenue:forfeits", "worker:w:forfeited:e:msat"),
    story("One that is trusted has nothing held, and is banned: the house gives of its own", LAW)
    .given(replace(NEW, state=WorkerState.DRAINING, delivered=NEW_ITEMS, is_trusted=True))
    .hears(CanaryPassed())
    .has(canaries_passed=1)
    .hears(CanaryFailed("c", 300, 20))
    .becomes(WorkerState.BANNED)
    .has(canaries_failed=1)
    .moves(300, "revenue:media", "revenue:forfeits", "canary:c:added:msat")
    .moves(20, "revenue:media", "revenue:forfeits", "canary:c:added:microusdc", Asset.MICROUSDC),
    story("What it gives up is counted, whatever it does", LAW)
    .given(NEW)
    .hears(ItemFailed())
    .has(failed=1)
    .hears(Drained())
    .becomes(WorkerState.DRAINING)
    .hears(ItemFailed())
    .has(failed=2)
    .hears(Paused())
    .becomes(WorkerState.PAUSED)
    .hears(ItemFailed())
    .has(failed=3)
    .hears(CanaryPassed())
    .has(canaries_passed=1),
)
