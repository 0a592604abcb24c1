"""Idle workers: one is woken, the next where that one took nothing, and no wake-up is lost."""

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field
from random import Random

import pytest

from db.wait_queue import AT_ONCE, Waiter, WaitQueue, Waits

LONG_S = 3_600.0
SEEDS = 100


@dataclass
class Lanes:
    """What waits in each lane, and the queue of those who wait for it."""

    items: dict[str, list[str]] = field(default_factory=dict)
    looks: list[list[str]] = field(default_factory=list)
    queue: WaitQueue = field(init=False)

    def __post_init__(self) -> None:
        self.queue = WaitQueue(self.look, "lane:")

    async def look(self, lanes: Collection[str], most: int) -> list[Waits]:
        """Return what waits, as the database does: a moment after it was asked."""
        self.looks.append(list(lanes))
        await asyncio.sleep(0)
        found = [(lane, self.items.get(lane, [])) for lane in lanes]
        return [Waits(lane, each[:most], each[-1] if each else None) for lane, each in found]

    def comes(self, item: str, lane: str = "a", *, is_told: bool = False) -> None:
        """Have an item wait. Only where the lane was empty is that told, as the database does."""
        was_empty = not self.items.get(lane)
        self.items.setdefault(lane, []).append(item)
        if was_empty or is_told:
            self.queue.changed(f"lane:{lane}")

    def take(self, lanes: Collection[str], leaves: Collection[str] = ()) -> str | None:
        """Take the first item that isn't one of these."""
        for lane in lanes:
            for item in self.items.get(lane, ()):
                if item not in leaves:
                    self.items[lane].remove(item)
                    return item
        return None


async def settled() -> None:
    """Let everybody do what he can do at once."""
    for _ in range(50):
        await asyncio.sleep(0)


async def is_woken(*waiters: Waiter) -> list[bool]:
    """Say who is woken, once everybody has done what he can."""
    await settled()
    return [await waiter.woken(0) for waiter in waiters]


async def test_one_is_woken_and_the_next_where_that_one_took_nothing() -> None:
    """In their order; who is woken goes to the end. Where nothing waits, nobody else is woken."""
    lanes = Lanes()
    with lanes.queue.joined("a") as one, lanes.queue.joined("ab") as two, lanes.queue.joined("a"):
        lanes.comes("x")
        assert await is_woken(one, two) == [True, False]
        with one.looking():
            assert await is_woken(one, two) == [False, False]  # until it has looked
        assert await is_woken(one, two) == [False, True]
        with two.looking():
            assert lanes.take("ab") == "x"
        assert await is_woken(one, two) == [False, False]
        lanes.queue.changed("lane:b")
        lanes.queue.changed("a batch")
        assert await is_woken(one, two) == [False, True]


async def test_who_goes_away_passes_it_on() -> None:
    """Without a look, or out of the middle of one."""
    lanes = Lanes()
    with lanes.queue.joined("a") as last, lanes.queue.joined("a") as first:
        with lanes.queue.joined("a") as second:
            lanes.queue.changed("lane:a")  # nothing is there any more: nobody else is woken
            assert await is_woken(last, first) == [True, False]
            with last.looking():
                pass
            lanes.comes("x")
            assert await is_woken(first, second, last) == [True, False, False]
            with first.looking():
                pass
            assert await is_woken(first, second, last) == [False, True, False]
        assert await is_woken(first, last) == [False, True]
    await settled()
    assert not lanes.queue._handing and not lanes.queue._queues


async def test_who_is_late_and_goes_away_passes_it_on_too() -> None:
    """The others were woken meanwhile, and have left it."""
    lanes = Lanes()
    lanes.queue = WaitQueue(lanes.look, "lane:", answers_s=0)
    with lanes.queue.joined("a") as other:
        with lanes.queue.joined("a") as late:
            lanes.comes("x")
            assert await is_woken(other, late) == [True, True]
            with other.looking():
                pass
            assert await is_woken(other, late) == [False, True]
        assert await is_woken(other) == [True]


async def test_what_comes_while_a_worker_looks_wakes_it_again() -> None:
    """It had joined before it looked: nothing falls between its look and its wait."""
    lanes = Lanes()
    with lanes.queue.joined("a") as waiter:
        with waiter.looking():
            assert lanes.take("a") is None
            lanes.comes("x")
            await settled()
        assert await is_woken(waiter) == [True]
        with waiter.looking():
            assert lanes.take("a") == "x"
    assert await is_woken(waiter) == [False]


async def test_as_many_are_woken_as_items_wait() -> None:
    """After the first one, who finds out; each is woken once, and at most so many at a time."""
    lanes, count = Lanes(), AT_ONCE + 3
    with lanes.queue.joined("a") as first, contextlib.ExitStack() as others:
        waiters = [others.enter_context(lanes.queue.joined("a")) for _ in range(count)]
        for number in range(count):
            lanes.comes(f"{number}")
        assert await is_woken(first, waiters[0]) == [True, False]
        with first.looking():
            lanes.take("a")
        assert sum(await is_woken(first, *waiters)) == AT_ONCE


async def test_one_look_finds_what_nobody_was_told_of() -> None:
    """At all lanes that somebody waits in. What everybody has left is not offered again at once."""
    lanes = Lanes()
    await lanes.queue.look()
    assert lanes.looks == []
    lanes.items = {"a": ["x"], "b": [], "c": ["not waited for"]}
    with lanes.queue.joined("ab") as one, lanes.queue.joined("a") as two:
        await lanes.queue.look()
        assert [set(each) for each in lanes.looks] == [{"a", "b"}]
        for waiter in one, two:
            assert await waiter.woken(LONG_S)
            with waiter.looking():
                pass
        await settled()
        await lanes.queue.look()
        assert await is_woken(one, two) == [False, False]
        lanes.comes("y")  # no signal tells of it: x is still there
        await lanes.queue.look()
        assert await is_woken(one, two) == [True, False]


async def test_signals_that_were_missed_wake_one_in_each_lane() -> None:
    """The connection that listens was away."""
    lanes = Lanes()
    with lanes.queue.joined("a") as one, lanes.queue.joined("b") as two, lanes.queue.joined("ab"):
        lanes.queue.missed()
        assert await is_woken(one, two) == [True, True]


async def test_nobody_waits_where_the_process_ends() -> None:
    """All are let go."""
    lanes = Lanes()
    with lanes.queue.joined("a") as one, lanes.queue.joined("b") as two:
        lanes.queue.released()
        assert await is_woken(one, two) == [True, True]
        assert lanes.queue.is_released


@dataclass
class Idler:
    """A worker that waits in some lanes, takes what it can, and waits again; it may hang up."""

    lanes: Lanes
    dice: Random
    mine: str
    leaves: set[str] = field(default_factory=set)
    is_idle: bool = False

    async def _pause(self) -> None:
        for _ in range(self.dice.randrange(4)):
            await asyncio.sleep(0)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._pause()
            with self.lanes.queue.joined(self.mine) as waiter:
                await self._waits(waiter)

    async def _waits(self, waiter: Waiter) -> None:
        while True:
            with waiter.looking():
                await self._pause()
                taken = self.lanes.take(self.mine, self.leaves)
                await self._pause()
            if taken is not None:
                return
            self.is_idle = True
            await waiter.woken(LONG_S)
            self.is_idle = False
            if self.dice.random() < 0.2:
                return  # it has hung up; its next request comes later


async def _whatever_happens(dice: Random, is_told: bool, answers_s: float) -> None:
    lanes = Lanes()
    lanes.queue = WaitQueue(lanes.look, "lane:", answers_s=answers_s)
    names = [f"{lane}{number}" for lane in "ab" for number in range(4)]
    idlers = [
        Idler(lanes, dice, dice.choice(["a", "b", "ab"]), set(dice.sample(names, 3)))
        for _ in range(3)
    ]
    running = [asyncio.create_task(each.run()) for each in idlers]
    for name in dice.sample(names, len(names)):
        for _ in range(dice.randrange(6)):
            await asyncio.sleep(0)
        lanes.comes(name, name[0], is_told=is_told)
    for _ in range(10):
        await settled()
    if not is_told:
        await lanes.queue.look()
        for _ in range(10):
            await settled()
    for idler in idlers:
        could = {item for lane in idler.mine for item in lanes.items.get(lane, ())} - idler.leaves
        assert idler.is_idle and not could, (could, idler)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize("answers_s", [LONG_S, 0])
@pytest.mark.parametrize("is_told", [True, False])
def test_no_wake_up_is_lost(is_told: bool, answers_s: float) -> None:
    """Whatever comes when, whoever hangs up: no worker idles beside what it could take. What a
    signal tells of needs no look; what none has told of, one. Also where nobody answers in time.
    """
    for seed in range(SEEDS):
        asyncio.run(_whatever_happens(Random(seed), is_told, answers_s))
