"""Promises are tasks of procrastinate, deferred in the transaction that makes them due.

A task is forgotten when it was kept, retried for as long as its keeper asks for it, and taken
over from a worker whose heart has stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import procrastinate
import structlog
from procrastinate.jobs import Job as Task
from procrastinate.retry import BaseRetryStrategy, RetryDecision

from db.engine import Database, Tx, driver_of
from statemachine.promises import KINDS, Promise

log = structlog.get_logger("boltwork.worker")

QUEUE = "promises"
Keep = Callable[[Promise, int], Awaitable[None]]  # (promise, how many tries came before)


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
        return RetryDecision(retry_in={"seconds": min(60, 2 ** min(job.attempts, 6))})


@dataclass(frozen=True, slots=True)
class WorkerPace:
    """How a worker works: tasks at once, and when it counts as dead."""

    concurrency: int = 8
    heartbeat_s: float = 2.0
    dead_after_s: float = 10.0
    poll_s: float = 1.0
    drain_s: float = 20.0


class Outbox:
    """What is promised: staged by the shell, kept by whichever worker takes it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._app = procrastinate.App(connector=procrastinate.PsycopgConnector())
        self._keep: Keep | None = None
        self._tasks = {kind: self._declare(kind) for kind in KINDS}

    def _declare(self, kind: type[Promise]) -> Any:
        async def task(context: procrastinate.JobContext, /, **fields: Any) -> None:
            assert self._keep is not None, "a worker was started without a keeper"
            await self._keep(kind(**fields), context.job.attempts)

        declare = self._app.task(
            name=kind.__name__, queue=QUEUE, retry=_Patience(), pass_context=True
        )
        return declare(task)

    async def open(self) -> None:
        """Use the database's own connections."""
        await self._app.open_async(self._db.reads)

    async def close(self) -> None:
        """Let go of them."""
        await self._app.close_async()

    async def stage(self, tx: Tx, promise: Promise, at: datetime | None = None) -> None:
        """Defer a promise in this transaction: it is due when, and only if, this commits."""
        deferrer = self._tasks[type(promise)].configure(
            lock=promise.key, schedule_at=at, connection=await driver_of(tx)
        )
        await deferrer.defer_async(**asdict(promise))

    async def work(self, keep: Keep, pace: WorkerPace) -> None:
        """Keep promises until cancelled; a cancelled worker finishes what it has begun."""
        self._keep = keep
        await self._app.run_worker_async(
            queues=[QUEUE],
            concurrency=pace.concurrency,
            fetch_job_polling_interval=pace.poll_s,
            update_heartbeat_interval=pace.heartbeat_s,
            stalled_worker_timeout=pace.dead_after_s,
            shutdown_graceful_timeout=pace.drain_s,
            delete_jobs="successful",
            install_signal_handlers=False,
            listen_notify=True,
        )

    async def work_always(self, keep: Keep, pace: WorkerPace) -> None:
        """Keep promises until cancelled, with a new worker whenever one breaks."""
        while True:
            try:
                await self.work(keep, pace)
            except Exception as error:
                log.error("worker_broke", error=type(error).__name__)
            await asyncio.sleep(1)

    async def rescue(self, dead_after_s: float) -> int:
        """Put back what a dead worker left undone; return how many promises that were."""
        stalled = await self._app.job_manager.get_stalled_jobs(
            queue=QUEUE, seconds_since_heartbeat=dead_after_s
        )
        for task in stalled:
            await self._app.job_manager.retry_job(task)
        return len(list(stalled))

    async def is_staged(self, key: str) -> bool:
        """Say whether a promise of this name waits or is being kept."""
        row = await self._db.read_one(
            "SELECT 1 AS one FROM procrastinate_jobs WHERE lock = %(key)s"
            " AND status IN ('todo', 'doing') LIMIT 1",
            key=key,
        )
        return row is not None

    async def waiting(self) -> dict[str, int]:
        """Return how many promises wait or are being kept, by kind."""
        rows = await self._db.read_all(
            "SELECT task_name, count(*) AS n FROM procrastinate_jobs"
            " WHERE status IN ('todo', 'doing') GROUP BY task_name"
        )
        return {row["task_name"]: row["n"] for row in rows}
