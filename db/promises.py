"""Promises are tasks of procrastinate, deferred in the transaction that makes them due.

A task is forgotten when it was kept, retried for as long as its keeper asks for it, and taken
over from a worker whose heart has stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import procrastinate
import structlog
from procrastinate.jobs import Job as Task
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from procrastinate.retry import BaseRetryStrategy, RetryDecision

from db.engine import Database, Tx
from db.going import goes_on
from db.promise_lanes import QUEUES as QUEUES  # for whoever works through all of them
from db.promise_lanes import Lane, lane_of
from db.task_engine import Pause, Tenacious
from statemachine.promises import KINDS, Promise, follows

log = structlog.get_logger("boltwork.worker")


_WITHDRAW = """
DELETE FROM procrastinate_jobs WHERE id IN (SELECT id FROM procrastinate_jobs
 WHERE lock = %(key)s AND status = 'todo' FOR UPDATE SKIP LOCKED)
"""
_DEFER = """
SELECT procrastinate_defer_jobs_v1(ARRAY[ROW(%(lane)s, %(kind)s, %(priority)s, %(key)s, NULL,
       %(fields)s, %(at)s)::procrastinate_job_to_defer_v1])
"""
_PASS_ON = """
UPDATE procrastinate_jobs SET task_name = %(kind)s, lock = %(key)s, args = %(fields)s,
       attempts = attempts + 1
 WHERE id = %(id)s AND status = 'doing' AND lock = %(was)s AND attempts = %(attempts)s
RETURNING id
"""
_PULSE = """
SELECT extract(epoch FROM now() - (SELECT max(last_heartbeat) FROM procrastinate_workers))
  AS beat_s,
 extract(epoch FROM now() - least(
  (SELECT e.at FROM procrastinate_jobs j
     JOIN procrastinate_events e ON e.job_id = j.id AND e.type = 'deferred'
    WHERE j.queue_name = 'promises' AND j.status = 'todo' AND j.scheduled_at IS NULL
    ORDER BY j.priority DESC, j.id LIMIT 1),
  (SELECT min(scheduled_at) FROM procrastinate_jobs
    WHERE queue_name = 'promises' AND status = 'todo' AND scheduled_at <= now()))) AS waited_s
"""
Keep = Callable[[Promise, int], Awaitable[None]]  # (promise, how many tries came before)


class TryAgain(Exception):
    """The promise can't be kept now. Keep it again in `after_s` seconds."""

    def __init__(self, reason: str, after_s: float) -> None:
        super().__init__(reason)
        self.after_s = after_s


@dataclass(slots=True)
class _InHand:
    """A task of the engine that is being kept just now, and the promise that takes its place."""

    task: Task
    promise: Promise
    next: Promise | None = None
    was_passed_on: bool = False


_IN_HAND: ContextVar[_InHand | None] = ContextVar("in_hand", default=None)


async def _keep_in_hand(task: Task, promise: Promise, keep: Keep) -> None:
    """Keep the promise of a task, and whatever takes its place while it is kept.

    Where the transaction that passed it on did not come to be, its keeper finds nothing to do.
    """
    hand, tries = _InHand(task, promise), task.attempts
    token = _IN_HAND.set(hand)
    try:
        await keep(hand.promise, tries)
        while hand.next is not None:
            hand.promise, hand.next, hand.was_passed_on = hand.next, None, True
            await keep(hand.promise, 0)
    finally:
        _IN_HAND.reset(token)


class _Patience(BaseRetryStrategy):
    """A promise is never given up here: its keeper turns what can't be kept into an event."""

    def get_retry_decision(self, *, exception: BaseException, job: Task) -> RetryDecision:
        if isinstance(exception, TryAgain):
            return RetryDecision(retry_in={"milliseconds": int(exception.after_s * 1000)})
        return RetryDecision(retry_in={"seconds": _pause_s(job.attempts)})


def _pause_s(attempts: int) -> int:
    """Return how long a promise waits whose keeper met something nobody foresaw."""
    return int(min(60, 2 ** min(attempts, 6)))


@dataclass(frozen=True, slots=True)
class WorkerPace:
    """How a worker works: tasks at once, and when it counts as dead."""

    concurrency: int = 8
    heartbeat_s: float = 2.0
    dead_after_s: float = 10.0
    poll_s: float = 1.0
    drain_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """How long ago a worker last said that it lives, and how long the oldest promise waits."""

    beat_s: float | None  # None: there is no worker
    waited_s: float  # 0: none is due


class Outbox:
    """What is promised: staged by the shell, kept by whichever worker takes it."""

    def __init__(
        self,
        db: Database,
        connector: procrastinate.PsycopgConnector | None = None,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._db = db
        self._app = procrastinate.App(connector=connector or procrastinate.PsycopgConnector())
        self._tasks_of_engine = Tenacious(self._app.connector, pause)
        self._app.job_manager = self._tasks_of_engine
        self._keep: Keep | None = None
        self._workers: dict[Lane, asyncio.Task[Any]] = {}
        for kind in KINDS:
            self._declare(kind)

    def _declare(self, kind: type[Promise]) -> None:
        async def task(context: procrastinate.JobContext, /, **fields: Any) -> None:
            await _keep_in_hand(context.job, kind(**fields), self._kept)

        declare = self._app.task(
            name=kind.__name__, queue=lane_of(kind), retry=_Patience(), pass_context=True
        )
        declare(task)

    async def _kept(self, promise: Promise, tries: int) -> None:
        assert self._keep is not None, "a worker was started without a keeper"
        kind = type(promise)
        self._db.passing(f"keep {kind.__name__}: before")
        await self._keep(promise, tries)
        # From here until the task engine has forgotten the task, it would be kept again.
        self._db.passing(f"keep {kind.__name__}: after")

    async def open(self) -> None:
        """Use the database's own connections."""
        await self._app.open_async(self._db.reads)

    async def close(self) -> None:
        """Let go of them."""
        await self._app.close_async()

    async def stage(
        self,
        tx: Tx,
        promise: Promise,
        at: datetime | None = None,
        *,
        anew: bool = False,
        priority: int = 0,
    ) -> None:
        """Defer a promise in this transaction: it is due when, and only if, this commits.

        `anew`: it takes the place of one of the same name that waits. One that is being kept just
        now goes on, for it may have read what was before; this one is then kept after it.
        One that follows what is being kept just now takes its place, in the same hands.
        """
        if anew:
            await self.withdraw(tx, promise)
        elif at is None and await self._is_passed_on(tx, promise):
            return
        kind = type(promise)
        # The task engine's own way would wait for the number of the task, which nobody needs.
        await tx.execute(
            _DEFER,
            lane=lane_of(kind),
            kind=kind.__name__,
            key=promise.key,
            fields=asdict(promise),
            at=at,
            priority=priority,
        )

    async def withdraw(self, tx: Tx, promise: Promise) -> None:
        """Take a promise of this name back that waits; one that is being kept goes on."""
        await tx.execute(_WITHDRAW, key=promise.key)

    async def _is_passed_on(self, tx: Tx, promise: Promise) -> bool:
        """Have a promise take the place of the one that is kept just now, if it follows that.

        A worker that is told to end begins nothing: then it waits for another, as any other does.
        """
        hand, worker = _IN_HAND.get(), self._workers.get(lane_of(type(promise)))
        if hand is None or not follows(hand.promise, promise):
            return False
        if worker is not None and worker.cancelling():
            return False
        task = hand.task
        # Before it is written: whether this commits may never be known here.
        self._tasks_of_engine.pass_on(task, promise.key)
        row = await tx.one(
            _PASS_ON,
            id=task.id,
            attempts=task.attempts,
            was=hand.promise.key,
            kind=type(promise).__name__,
            key=promise.key,
            fields=asdict(promise),
        )
        if row is not None:  # else another worker has taken over what is kept here
            hand.next = promise
        return row is not None

    async def work(self, keep: Keep, pace: WorkerPace, lane: Lane) -> None:
        """Keep a lane's promises until cancelled; a cancelled worker finishes what it began."""
        self._keep = keep
        if worker := asyncio.current_task():
            self._workers[lane] = worker
        await self._app.run_worker_async(
            queues=[lane],
            concurrency=pace.concurrency,
            fetch_job_polling_interval=pace.poll_s,
            update_heartbeat_interval=pace.heartbeat_s,
            stalled_worker_timeout=pace.dead_after_s,
            shutdown_graceful_timeout=pace.drain_s,
            delete_jobs="successful",
            install_signal_handlers=False,
            listen_notify=True,
        )

    async def work_always(self, keep: Keep, pace: WorkerPace, lane: Lane) -> None:
        """Keep promises until cancelled, with a new worker whenever one breaks."""
        while goes_on():
            try:
                await self.work(keep, pace, lane)
            except Exception as error:
                log.error("worker_broke", lane=lane, error=type(error).__name__)
            await asyncio.sleep(1)

    async def rescue(self, dead_after_s: float) -> int:
        """Put back what a dead worker left undone; return how many promises that were."""
        stalled = await self._app.job_manager.get_stalled_jobs(seconds_since_heartbeat=dead_after_s)
        for task in stalled:
            self._db.passing("commit rescue: before")
            await self._app.job_manager.retry_job(task)
            self._db.passing("commit rescue: after")
        return len(list(stalled))

    async def is_staged(self, key: str) -> bool:
        """Say whether a promise of this name waits or is being kept."""
        row = await self._db.read_one(
            "SELECT 1 AS one FROM procrastinate_jobs WHERE lock = %(key)s"
            " AND status IN ('todo', 'doing') LIMIT 1",
            key=key,
        )
        return row is not None

    def waited_s(self, key: str) -> float | None:
        """Return how long a promise that is kept here had been due before; None: it is not."""
        hand = _IN_HAND.get()
        if hand is not None and hand.was_passed_on and hand.promise.key == key:
            return 0.0
        return self._tasks_of_engine.waited_s.get(key)

    async def waiting(self) -> dict[str, int]:
        """Return how many promises wait or are being kept, by kind."""
        rows = await self._db.read_all(
            "SELECT task_name, count(*) AS n FROM procrastinate_jobs"
            " WHERE status IN ('todo', 'doing') GROUP BY task_name"
        )
        return {row["task_name"]: row["n"] for row in rows}

    async def pulse(self) -> Pulse:
        """Return what can be seen of the task engine, whoever works for it."""
        row = await self._db.read_one(_PULSE)
        beat_s, waited_s = (row["beat_s"], row["waited_s"]) if row else (None, None)
        return Pulse(
            None if beat_s is None else float(beat_s),
            0.0 if waited_s is None else max(0.0, float(waited_s)),
        )

    @property
    def took_s(self) -> float:
        """When each worker of this process had got through to its lane (time.monotonic)."""
        return min((self._tasks_of_engine.took_s.get(lane, 0.0) for lane in Lane), default=0.0)

    def hand(self) -> "Hand":
        """Return a worker that does one thing at a time, when it is asked to."""
        return Hand(self._tasks_of_engine)


@dataclass(frozen=True, slots=True)
class Taken:
    """A promise that a hand has taken, until it is done or put back."""

    task: Task
    promise: Promise
    tries: int


class Hand:
    """The task engine's worker in single steps, for whoever decides what happens when.

    Each step is the engine's own SQL: what dies between two of them leaves what a worker leaves.
    """

    def __init__(self, tasks: Tenacious) -> None:
        self._tasks = tasks
        self.worker_id = 0

    async def begin(self, dead_after_s: float) -> None:
        """Register as a worker, and forget those whose heart has stopped."""
        await self._tasks.prune_stalled_workers(dead_after_s)
        self.worker_id = await self._tasks.register_worker()
        await self.beat()

    async def beat(self) -> None:
        """Say that this worker lives."""
        await JobManager.update_heartbeat(self._tasks, self.worker_id)

    async def take(self) -> Taken | None:
        """Take the next promise that is due, if any."""
        task = await self._tasks.claim(QUEUES, self.worker_id)
        if task is None:
            return None
        [kind] = [kind for kind in KINDS if kind.__name__ == task.task_name]
        fields: dict[str, Any] = task.task_kwargs
        return Taken(task, kind(**fields), task.attempts)

    async def keep(self, taken: Taken, keep: Keep) -> None:
        """Keep a promise that was taken, and whatever takes its place meanwhile."""
        await _keep_in_hand(taken.task, taken.promise, keep)

    async def done(self, taken: Taken) -> None:
        """Forget a promise that was kept."""
        await self._tasks.finish_job(taken.task, Status.SUCCEEDED, delete_job=True)

    async def put_back(self, taken: Taken, error: Exception, now: datetime) -> None:
        """Have a promise kept again, after the pause that its keeper asked for."""
        after_s = error.after_s if isinstance(error, TryAgain) else _pause_s(taken.tries)
        await self._tasks.retry_job(taken.task, retry_at=now + timedelta(seconds=after_s))
