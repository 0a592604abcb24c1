"""A promise that follows another is kept by the same hands, and never lost between the two."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from db.engine import Database
from db.promise_lanes import Lane as PromiseLane
from db.promises import Hand, Outbox, Taken, TryAgain, WorkerPace
from statemachine.promises import Judge, Promise, Work
from tests.world.patience import patiently

ROWS = "SELECT id, task_name, lock, status, attempts, args FROM procrastinate_jobs ORDER BY id"
JOB = "0" * 32


class _Lost(Exception):
    """The transaction does not come to be."""


@dataclass
class Desk:
    """A task engine, with a hand that keeps what is due when it is told to."""

    db: Database
    outbox: Outbox
    hand: Hand

    async def promise(self, promise: Promise) -> None:
        """Promise something in a transaction of its own."""
        await self.db.run("promise", lambda tx: self.outbox.stage(tx, promise))

    async def take(self) -> Taken:
        """Take what is due."""
        taken = await self.hand.take()
        assert taken is not None
        return taken

    async def rows(self) -> list[tuple[str, str, int]]:
        """Return each task: what it is called, how it stands, how often it was tried."""
        return [
            (row["lock"], row["status"], row["attempts"]) for row in await self.db.read_all(ROWS)
        ]


@pytest.fixture
async def desk(db: Database) -> AsyncIterator[Desk]:
    """A desk of its own, with one promise that is due: to judge a job."""
    outbox = Outbox(db)
    await outbox.open()
    desk = Desk(db, outbox, outbox.hand())
    await desk.hand.begin(10)
    await desk.promise(Judge(JOB))
    yield desk
    await outbox.close()


async def test_what_follows_is_kept_by_the_same_hands_at_once(desk: Desk) -> None:
    """Work that is due once its job was judged takes the place of that: one task, one claim."""
    kept: list[tuple[Promise, int]] = []

    async def keep(promise: Promise, tries: int) -> None:
        kept.append((promise, tries))
        if promise == Judge(JOB):
            await desk.promise(Work(JOB))
            assert await desk.rows() == [(f"{JOB}:do", "doing", 1)]
            assert await desk.outbox.is_staged(Work(JOB).key)
        else:
            assert desk.outbox.waited_s(Work(JOB).key) == 0

    taken = await desk.take()
    await desk.hand.keep(taken, keep)
    await desk.hand.done(taken)
    assert kept == [(Judge(JOB), 0), (Work(JOB), 0)]
    assert await desk.rows() == []


async def test_whoever_dies_between_the_two_leaves_the_second(desk: Desk) -> None:
    """A worker that ends after the first was passed on leaves the second to another one."""
    taken = await desk.take()

    async def dies(promise: Promise, _: int) -> None:
        await desk.promise(Work(JOB))
        raise TryAgain("the answer of the commit was lost", 0)

    with pytest.raises(TryAgain) as again:
        await desk.hand.keep(taken, dies)
    assert await desk.rows() == [(f"{JOB}:do", "doing", 1)]
    row = await desk.db.read_one("SELECT now() AS now")
    assert row is not None
    await desk.hand.put_back(taken, again.value, row["now"])
    assert (await desk.take()).promise == Work(JOB)


async def test_what_was_rolled_back_is_not_passed_on(desk: Desk) -> None:
    """Where the transaction did not come to be, the task is what it was."""
    taken = await desk.take()

    async def breaks(promise: Promise, _: int) -> None:
        if promise != Judge(JOB):
            return  # it finds nothing to do
        with pytest.raises(_Lost):
            await desk.db.run("broken", _break)

    async def _break(tx: object) -> None:
        await desk.outbox.stage(tx, Work(JOB))  # type: ignore[arg-type]
        raise _Lost

    await desk.hand.keep(taken, breaks)
    assert await desk.rows() == [(f"{JOB}:judge", "doing", 0)]


async def test_what_another_has_taken_over_is_not_passed_on(desk: Desk) -> None:
    """A worker that was thought dead, and another now keeps its task: what follows waits."""
    taken, second = await desk.take(), desk.outbox.hand()

    async def late(promise: Promise, _: int) -> None:
        assert promise == Judge(JOB)
        await second.begin(10)
        await desk.outbox.rescue(-1)
        assert await second.take() is not None
        await desk.promise(Work(JOB))

    await desk.hand.keep(taken, late)
    assert sorted(await desk.rows()) == [(f"{JOB}:do", "todo", 0), (f"{JOB}:judge", "doing", 1)]


@pytest.mark.parametrize("other", [Judge("1" * 32), Work("1" * 32)], ids=["judge", "another's"])
async def test_only_what_follows_takes_its_place(desk: Desk, other: Promise) -> None:
    """What is due meanwhile for another job waits for whoever is free."""
    taken = await desk.take()

    async def keep(promise: Promise, _: int) -> None:
        assert promise == Judge(JOB)
        await desk.promise(other)

    await desk.hand.keep(taken, keep)
    assert sorted(await desk.rows()) == [(f"{JOB}:judge", "doing", 0), (other.key, "todo", 0)]


async def test_a_worker_that_is_told_to_end_begins_nothing(desk: Desk) -> None:
    """It ends what it has begun; what follows waits for another worker."""
    begun, go, kept = asyncio.Event(), asyncio.Event(), []

    async def keep(promise: Promise, _: int) -> None:
        begun.set()
        await go.wait()
        await desk.promise(Work(JOB))
        kept.append(promise)

    pace = WorkerPace(concurrency=1)
    work = asyncio.create_task(desk.outbox.work(keep, pace, PromiseLane.PROMISES))
    await begun.wait()
    work.cancel()
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(work, return_exceptions=True)
    async for _ in patiently("what was kept is still there"):
        if len(await desk.rows()) == 1:
            break
    assert kept == [Judge(JOB)]
    assert await desk.rows() == [(f"{JOB}:do", "todo", 0)]


async def test_who_holds_a_task_no_more_ends_nothing_of_it(desk: Desk) -> None:
    """One worker may have a task twice, where it was thought to be lost: what the second hand has
    passed on stays, whenever and however the first one ends."""
    first = await desk.take()
    await desk.outbox.rescue(-1)
    again = await desk.take()
    assert (first.task.id, first.task.worker_id) == (again.task.id, again.task.worker_id)
    row = await desk.db.read_one("SELECT now() AS now")
    assert row is not None

    async def keep(promise: Promise, _: int) -> None:
        if promise != Judge(JOB):
            return
        await desk.promise(Work(JOB))
        standing = await desk.rows()
        assert standing == [(f"{JOB}:do", "doing", 2)]
        await desk.hand.done(first)
        await desk.hand.put_back(first, TryAgain("late", 0), row["now"])
        assert await desk.rows() == standing

    await desk.hand.keep(again, keep)
    await desk.hand.done(again)
    assert await desk.rows() == []


async def test_a_hand_that_lost_its_task_passes_nothing_on(desk: Desk) -> None:
    """Nor does it end what is then kept by the second one under the name that it meant to give."""
    first = await desk.take()
    await desk.outbox.rescue(-1)
    second = await desk.take()

    async def late(promise: Promise, _: int) -> None:
        if promise == Judge(JOB):
            await desk.promise(Work(JOB))  # it waits: the task is another's

    await desk.hand.keep(first, late)
    assert sorted(await desk.rows()) == [(f"{JOB}:do", "todo", 0), (f"{JOB}:judge", "doing", 1)]
    await desk.hand.done(first)
    await desk.hand.done(second)
    assert await desk.rows() == [(f"{JOB}:do", "todo", 0)]
