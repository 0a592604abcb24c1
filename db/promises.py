"""Promises are tasks of procrastinate, deferred in the transaction that makes them due.

A task is forgotten when it was kept, retried for as long as its keeper asks for it, and taken
over from a worker whose heart has stopped.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import procrastinate
import structlog
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job as Task
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from procrastinate.retry import BaseRetryStrategy, RetryDecision

from db.connection import PING_S, patient
from db.engine import Database, Tx, is_away
from db.going import goes_on
from db.promise_lanes import QUEUES as QUEUES  # for whoever works through all of them
from db.promise_lanes import Lane, lane_of
from statemachine.promises import KINDS, Promise

log = structlog.get_logger("boltwork.worker")


COUNTED_AFTER_S = 10.0  # how often what a worker holds is held against what Postgres says
_WITHDRAW = """
DELETE FROM procrastinate_jobs WHERE id IN (SELECT id FROM procrastinate_jobs
 WHERE lock = %(key)s AND status = 'todo' FOR UPDATE SKIP LOCKED)
"""
_DEFER = """
SELECT procrastinate_defer_jobs_v1(ARRAY[ROW(%(lane)s, %(kind)s, %(priority)s, %(key)s, NULL,
       %(fields)s, %(at)s)::procrastinate_job_to_defer_v1])
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
CLAIM = """
SELECT id, status, task_name, priority, lock, queueing_lock, args, scheduled_at, queue_name,
       attempts, worker_id, extract(epoch FROM now() - greatest(scheduled_at, (SELECT max(at)
         FROM procrastinate_events WHERE job_id = claimed.id AND type <> 'started'))) AS waited_s
  FROM claim_promise(%(lane)s, %(worker_id)s) AS claimed
"""
Keep = Callable[[Promise, int], Awaitable[None]]  # (promise, how many tries came before)
Pause = Callable[[float], Awaitable[None]]


class TryAgain(Exception):
    """The promise can't be kept now. Keep it again in `after_s` seconds."""

    def __init__(self, reason: str, after_s: float) -> None:
        super().__init__(reason)
        self.after_s = after_s


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


class _Tenacious(JobManager):
    """Writes down what became of a task as soon as Postgres can be reached again.

    The task engine itself tries once: a task whose end it could not write down would count as
    being kept for as long as its worker lives, and be taken over by nobody.
    """

    def __init__(self, connector: Any, pause: Pause) -> None:
        super().__init__(connector)
        self._pause = pause
        self.took_s: dict[str, float] = {}  # when a worker last got through to each lane
        self.waited_s: dict[str, float] = {}  # how long what they keep, by its name, had been due
        self._held: set[int] = set()  # tasks that workers of this process have in hand
        self._counted_s: dict[int, float] = {}  # when a worker's tasks were last held against that

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Task | None:
        """See JobManager. A worker that can't reach Postgres asks again, and does not break."""
        try:
            if time.monotonic() - self._counted_s.get(worker_id, 0.0) > COUNTED_AFTER_S:
                await self._put_back_lost(worker_id)
            task = await self.claim(queues, worker_id)
        except ConnectorException as error:
            if not is_away(error.__cause__):
                raise
            log.warning("promises_not_reached")
            # A task may have been taken for us, and we were not told which.
            self._counted_s.pop(worker_id, None)
            return None
        if task is not None and task.id is not None:
            self._held.add(task.id)
        return task

    async def _put_back_lost(self, worker_id: int) -> None:
        """Put back what was taken in this worker's name and never reached it.

        Its heart beats, so nobody else would take that over. It takes one task after the other, so
        none is on its way to it now.
        """
        for task in await self.list_jobs_async(status=Status.DOING.value, worker_id=worker_id):
            if task.id not in self._held:
                log.warning("promise_lost_on_its_way")
                await super().retry_job(task)
        self._counted_s[worker_id] = time.monotonic()

    async def update_heartbeat(self, worker_id: int) -> None:
        """See JobManager. One that is missed is made up for by the next."""
        try:
            with patient(PING_S):
                await super().update_heartbeat(worker_id)
        except ConnectorException as error:
            if not is_away(error.__cause__):
                raise
            log.warning("heartbeat_not_written")

    async def claim(self, queues: Iterable[str] | None, worker_id: int) -> Task | None:
        """Take a task, in a time that does not grow with what other lanes hold."""
        for lane in queues or ():
            row = await self.connector.execute_query_one_async(
                query=CLAIM, lane=str(lane), worker_id=worker_id
            )
            self.took_s[lane] = time.monotonic()
            if row["id"] is not None:
                self.waited_s[row["lock"]] = max(0.0, float(row["waited_s"] or 0))
                return Task.from_row(row)
        return None

    async def finish_job(self, job: Task, status: Status, delete_job: bool) -> None:
        """See JobManager."""
        await self._until_told(job, partial(super().finish_job, job, status, delete_job))

    async def retry_job(
        self,
        job: Task,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """See JobManager."""
        tell = partial(super().retry_job, job, retry_at, priority, queue, lock)
        await self._until_told(job, tell)

    async def _until_told(self, job: Task, tell: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await tell()
            except ConnectorException as error:
                if not is_away(error.__cause__):
                    self._let_go(job)
                    raise  # the task is not there, or not ours any more
                log.warning("task_end_not_written")
                await self._pause(1.0)
            else:
                self._let_go(job)
                return

    def _let_go(self, job: Task) -> None:
        self._held.discard(job.id or 0)
        self.waited_s.pop(job.lock or "", None)


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
        self._tasks_of_engine = _Tenacious(self._app.connector, pause)
        self._app.job_manager = self._tasks_of_engine
        self._keep: Keep | None = None
        for kind in KINDS:
            self._declare(kind)

    def _declare(self, kind: type[Promise]) -> None:
        async def task(context: procrastinate.JobContext, /, **fields: Any) -> None:
            assert self._keep is not None, "a worker was started without a keeper"
            self._db.passing(f"keep {kind.__name__}: before")
            await self._keep(kind(**fields), context.job.attempts)
            # From here until the task engine has forgotten the task, it would be kept again.
            self._db.passing(f"keep {kind.__name__}: after")

        declare = self._app.task(
            name=kind.__name__, queue=lane_of(kind), retry=_Patience(), pass_context=True
        )
        declare(task)

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
        """
        if anew:
            await self.withdraw(tx, promise)
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

    async def work(self, keep: Keep, pace: WorkerPace, lane: Lane) -> None:
        """Keep a lane's promises until cancelled; a cancelled worker finishes what it began."""
        self._keep = keep
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

    def __init__(self, tasks: _Tenacious) -> None:
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

    async def done(self, taken: Taken) -> None:
        """Forget a promise that was kept."""
        await self._tasks.finish_job(taken.task, Status.SUCCEEDED, delete_job=True)

    async def put_back(self, taken: Taken, error: Exception, now: datetime) -> None:
        """Have a promise kept again, after the pause that its keeper asked for."""
        after_s = error.after_s if isinstance(error, TryAgain) else _pause_s(taken.tries)
        await self._tasks.retry_job(taken.task, retry_at=now + timedelta(seconds=after_s))
