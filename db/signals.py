"""One LISTEN for a whole process: who waits for a job is woken when it changes.

A wake-up is a hint to read again, never a fact; when the connection was away, everybody is woken.
It is also the first to find out that connections have fallen silent, for it asks all the time.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Protocol

import psycopg

from db import lanes
from db.connection import Line, lasting
from db.engine import Database
from db.going import goes_on
from db.job_events import PROGRESS
from db.jobs import CHANNEL
from db.wait_queue import WaitQueue

ASKS_AFTER_S = 1.0  # pause between two questions on the connection that listens
SOON_S = 1.0  # after which a question that has no answer is put on another connection too


class Listener(Protocol):
    """Who hears of everything, and knows by itself what is of interest."""

    def changed(self, job_id: str) -> None:
        """Hear that a job (or a session) is another than it was."""
        ...

    def progressed(self, words: str) -> None:
        """Hear what an agent has written, as its keeper has sent it."""
        ...

    def missed(self) -> None:
        """Hear that signals may have been missed."""
        ...

    def released(self) -> None:
        """Hear that this process ends."""
        ...


class Signals:
    """Wakes waiters by the id of the job that changed."""

    def __init__(
        self, db: Database, again_after_s: float = 1.0, asks_after_s: float = ASKS_AFTER_S
    ) -> None:
        self._db = db
        self._again_after_s, self._asks_after_s = again_after_s, asks_after_s
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.queue = WaitQueue(partial(lanes.at, db), lanes.SIGNAL)  # of who waits for items
        self._listeners: list[Listener] = [self.queue]
        self.answered_s = 0.0  # when Postgres last answered it (time.monotonic)
        self.released = False  # the process ends: nobody waits any more

    def attach(self, listener: Listener) -> None:
        """Have somebody hear of everything, from now on."""
        self._listeners.append(listener)

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
                async with asyncio.timeout(longest_s):
                    await changed.wait()

    def release(self) -> None:
        """Let everybody go who waits, for good: each answers what is known now."""
        self.released = True
        for job_id in list(self._waiters):
            self._wake(job_id)
        for listener in self._listeners:
            listener.released()

    def wake(self, job_id: str) -> None:
        """Wake everybody who watches this job in this process."""
        self._wake(job_id)
        for listener in self._listeners:
            listener.changed(job_id)

    def _wake(self, job_id: str) -> None:
        for event in self._waiters.get(job_id, ()):
            event.set()

    async def listen(self) -> None:
        """Wake waiters as Postgres tells of changes, until cancelled. Reconnects by itself."""
        newer: Line | None = None
        while goes_on():
            try:
                connection, newer = newer or await self._connect(), None
                async with connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    await connection.execute(f"LISTEN {PROGRESS}")
                    self.answered_s = time.monotonic()
                    self._missed()
                    while goes_on() and newer is None:
                        await self._hear(connection)
                        newer = await self._overtaken(connection)
            except psycopg.Error:
                await asyncio.sleep(self._again_after_s)
        if newer is not None:
            await newer.close()

    async def _connect(self) -> Line:
        hosts = self._db.hosts
        connection = await Line.connect(
            hosts.conninfo(),
            autocommit=True,
            application_name="boltwork signals",
            **lasting(self._db.url),
        )
        hosts.found(connection.place)
        connection.lost = self._db.lost
        return connection

    async def _overtaken(self, connection: Line) -> Line | None:
        """Ask for a word. Return a newer connection, where Postgres has answered that one first.

        A server that is busy answers the older question before; a connection that is silent, never.
        """
        asked_s = time.monotonic()
        asking = asyncio.create_task(connection.execute("SELECT 1"))
        try:
            await asyncio.wait({asking}, timeout=SOON_S)
            if not asking.done():
                newer = await self._connect()
                if not asking.done():
                    self._db.fell_silent(connection, asked_s)
                    await self._db.end_silent(newer)
                    return newer
                await newer.close()
            await asking
            self.answered_s = time.monotonic()
            return None
        finally:
            if not asking.done():
                connection.cut()  # to cancel it would be to wait for its answer
                await asyncio.gather(asking, return_exceptions=True)

    async def _hear(self, connection: Line) -> None:
        """Take signals until none has come for a while."""
        async for notice in connection.notifies(timeout=self._asks_after_s):
            self.answered_s = time.monotonic()
            if notice.channel == CHANNEL:
                self.wake(notice.payload)
            else:
                for listener in self._listeners:
                    listener.progressed(notice.payload)

    def _missed(self) -> None:
        for job_id in list(self._waiters):
            self._wake(job_id)
        for listener in self._listeners:
            listener.missed()
