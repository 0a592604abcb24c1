"""One LISTEN for a whole process: who waits for a job is woken when it changes.

A wake-up is a hint to read again, never a fact; when the connection was away, everybody is woken.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable

import psycopg

from db.engine import Database
from db.jobs import CHANNEL


class Signals:
    """Wakes waiters by the id of the job that changed."""

    def __init__(self, db: Database, again_after_s: float = 1.0) -> None:
        self._db = db
        self._again_after_s = again_after_s
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.released = False  # the process ends: nobody waits any more

    def watch(self, job_id: str) -> tuple[asyncio.Event, Callable[[], None]]:
        """Return an event that is set at the job's next change, and how to stop watching."""
        event = asyncio.Event()
        self._waiters[job_id].add(event)

        def stop() -> None:
            self._waiters[job_id].discard(event)
            if not self._waiters[job_id]:
                del self._waiters[job_id]

        return event, stop

    async def wait(self, changed: asyncio.Event, longest_s: float) -> None:
        """Wait until the watched job changes, or for so long."""
        if not self.released:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), longest_s)

    def release(self) -> None:
        """Let everybody go who waits, for good: each answers what is known now."""
        self.released = True
        for job_id in list(self._waiters):
            self.wake(job_id)

    def wake(self, job_id: str) -> None:
        """Wake everybody who watches this job in this process."""
        for event in self._waiters.get(job_id, ()):
            event.set()

    async def listen(self) -> None:
        """Wake waiters as Postgres tells of changes, until cancelled. Reconnects by itself."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._db.url, autocommit=True, application_name="boltwork signals"
                ) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    for job_id in list(self._waiters):  # what was missed while away
                        self.wake(job_id)
                    async for notice in connection.notifies():
                        self.wake(notice.payload)
            except psycopg.Error:
                await asyncio.sleep(self._again_after_s)
