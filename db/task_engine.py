"""The task engine's own bookkeeping, by whoever can wait for Postgres.

What it claims, and what it puts down as kept or as to be tried again, goes through this. A task may
be taken twice, by one worker even: where it was thought to be lost. Each time it has another number
of attempts, by which its holder is known: who has it no more ends nothing of it.
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
from procrastinate.manager import JobManager, NotificationCallback

from db.connection import PING_S, patient
from db.engine import is_away
from db.going import goes_on

log = structlog.get_logger("boltwork.worker")

COUNTED_AFTER_S = 10.0  # how often what a worker holds is held against what Postgres says
CLAIM = """
SELECT id, status, task_name, priority, lock, queueing_lock, args, scheduled_at, queue_name,
       attempts, worker_id, extract(epoch FROM now() - greatest(scheduled_at, (SELECT max(at)
         FROM procrastinate_events WHERE job_id = claimed.id AND type <> 'started'))) AS waited_s
  FROM claim_promise(%(lane)s, %(worker_id)s) AS claimed
"""
_OURS = """
 WHERE id = %(id)s AND status = 'doing'
   AND (lock, attempts) IN ((%(lock)s, %(attempts)s), (%(next)s, %(attempts)s + 1))
RETURNING id
"""
FORGET = f"DELETE FROM procrastinate_jobs {_OURS}"
PUT_BACK = f"""
UPDATE procrastinate_jobs SET status = 'todo', attempts = attempts + 1, scheduled_at = %(at)s
{_OURS}
"""
Pause = Callable[[float], Awaitable[None]]
Hold = tuple[int | None, int]  # a task's id, and how often it had been tried when it was taken


def hold_of(task: Task) -> Hold:
    """Return what names one taking of a task, whoever takes it again."""
    return task.id, task.attempts


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
        self._held: set[Hold] = set()  # what workers of this process have in hand
        self._next: dict[Hold, str] = {}  # the promise that each of these is passed on as
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
        if task is not None:
            self._held.add(hold_of(task))
        return task

    async def _put_back_lost(self, worker_id: int) -> None:
        """Put back what was taken in this worker's name and never reached it.

        Its heart beats, so nobody else would take that over. It takes one task after the other, so
        none is on its way to it now.
        """
        for task in await self.list_jobs_async(status=Status.DOING.value, worker_id=worker_id):
            if hold_of(task) not in self._held:
                log.warning("promise_lost_on_its_way")
                await self.put_back(task)
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

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        """See JobManager. Listens again after Postgres was away, however long.

        The task engine itself connects again once: where that fails, its worker would hear of
        nothing until it ends, and take what is promised only when it next looks.
        """
        while goes_on():
            try:
                await super().listen_for_jobs(on_notification=on_notification, queues=queues)
            except ConnectorException as error:
                log.warning("promises_not_heard", error=type(error.__cause__).__name__)
            await self._pause(1.0)

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

    def pass_on(self, task: Task, key: str) -> None:
        """Hear that a task may be another promise from now on, in the same hands."""
        self._next[hold_of(task)] = key
        self._held.add((task.id, task.attempts + 1))

    async def finish_job(self, job: Task, status: Status, delete_job: bool) -> None:
        """See JobManager."""
        assert status is Status.SUCCEEDED and delete_job, "no promise is given up"
        await self._until_told(job, partial(self._tell, FORGET, job))

    async def retry_job(
        self,
        job: Task,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """See JobManager. What a promise is never changes."""
        await self._until_told(job, partial(self.put_back, job, retry_at))

    async def put_back(self, task: Task, at: datetime | None = None) -> None:
        """Have a task wait again, if it is still held as it was when it was seen."""
        await self._tell(PUT_BACK, task, at=at)

    async def _tell(self, query: str, task: Task, **more: Any) -> None:
        """Write what became of a task. Whoever has it no more changes nothing."""
        ours = {"id": task.id, "lock": task.lock, "attempts": task.attempts}
        rows = await self.connector.execute_query_all_async(
            query=query, **ours, next=self._next.get(hold_of(task)), **more
        )
        if not rows:
            log.warning("promise_ended_by_another")

    async def _until_told(self, task: Task, tell: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await tell()
            except ConnectorException as error:
                if not is_away(error.__cause__):
                    self._let_go(task)
                    raise
                log.warning("task_end_not_written")
                await self._pause(1.0)
            else:
                self._let_go(task)
                return

    def _let_go(self, task: Task) -> None:
        self._held -= {hold_of(task), (task.id, task.attempts + 1)}
        self._next.pop(hold_of(task), None)
        self.waited_s.pop(task.lock or "", None)
