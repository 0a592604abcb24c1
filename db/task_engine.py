"""The task engine's own bookkeeping, by whoever can wait for Postgres.

What it claims, and what it puts down as kept or as to be tried again, goes through this.
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job as Task
from procrastinate.jobs import Status
from procrastinate.manager import JobManager

from db.connection import PING_S, patient
from db.engine import is_away

log = structlog.get_logger("boltwork.worker")

COUNTED_AFTER_S = 10.0  # how often what a worker holds is held against what Postgres says
CLAIM = """
SELECT id, status, task_name, priority, lock, queueing_lock, args, scheduled_at, queue_name,
       attempts, worker_id, extract(epoch FROM now() - greatest(scheduled_at, (SELECT max(at)
         FROM procrastinate_events WHERE job_id = claimed.id AND type <> 'started'))) AS waited_s
  FROM claim_promise(%(lane)s, %(worker_id)s) AS claimed
"""
Pause = Callable[[float], Awaitable[None]]


class Tenacious(JobManager):
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
