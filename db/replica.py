"""A Postgres that follows the one that is written to, asked by what may be slow and decides
nothing: the operator's pages, and what the review of the books reads of all rows.

Before each question it is seen to have all that was written by then: whoever has just done
something sees it done. Where it has not, is away, is another database or breaks off, the one that
is written to is asked instead, and the replica is left alone for a while.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import NamedTuple, TypeVar

import psycopg
import structlog

from db.connection import patient
from db.engine import Database, DatabaseAway

log = structlog.get_logger("boltwork.replica")

T = TypeVar("T")

POOL = 2
BEHIND_S = 1.0  # longest wait until it has what was written before the question
LOOK_S = 0.02  # between two looks
PATIENCE_S = 1.0  # with a connection to it
ALONE_S = 10.0  # for so long it is not asked after it was of no use


class Wrote(NamedTuple):
    """How far the one is that is written to, and which it is."""

    cluster: str
    database: str
    place: str  # in its log


class Follows(NamedTuple):
    """Which one the other is of, and whether it has all of the first up to that place."""

    cluster: str
    database: str
    has_it: bool


# What follows has the number of what it follows, and one that is written to replays nothing.
_WROTE = """
SELECT system_identifier::text AS cluster, current_database() AS database,
       pg_current_wal_insert_lsn()::text AS place FROM pg_control_system()
"""
_FOLLOWS = """
SELECT system_identifier::text AS cluster, current_database() AS database,
       pg_is_in_recovery()
       AND coalesce(pg_last_wal_replay_lsn() >= CAST(%(place)s AS pg_lsn), false) AS has_it
  FROM pg_control_system()
"""


class Replica:
    """The replica of a database, where there is one; else that database itself."""

    def __init__(self, written: Database, url: str | None, behind_s: float = BEHIND_S) -> None:
        self._written, self._behind_s = written, behind_s
        self._copy = Database(url, POOL, patience_s=PATIENCE_S) if url else None
        self._is_open, self._again_s = False, 0.0
        self.is_used = False  # the last question was answered by it

    async def ask(self, reading: Callable[[Database], Awaitable[T]]) -> T:
        """Return what is read from the replica, or else from what is written to.

        `reading` writes nothing, and may be done twice. Raises DatabaseAway as what is written to
        does.
        """
        copy = await self._useful()
        self.is_used = copy is not None
        if copy is not None:
            try:
                return await reading(copy)
            except (psycopg.Error, DatabaseAway) as error:  # it ends what stands in its own way
                self._leave(type(error).__name__)
        return await reading(self._written)

    async def _useful(self) -> Database | None:
        if self._copy is None or monotonic() < self._again_s:
            return None
        try:
            if not self._is_open:
                await self._copy.reads.open()
                self._is_open = True
            trouble = await self._trouble(self._copy)
        except (psycopg.Error, DatabaseAway) as error:
            trouble = type(error).__name__
        if trouble is None:
            return self._copy
        self._leave(trouble)
        return None

    async def _trouble(self, copy: Database) -> str | None:
        """Wait until the copy has all that is written by now; return what is wrong, else None."""
        wrote = await self._written.row(Wrote, _WROTE)
        assert wrote is not None
        until_s = monotonic() + self._behind_s
        while True:
            with patient(PATIENCE_S):
                follows = await copy.row(Follows, _FOLLOWS, place=wrote.place)
            assert follows is not None
            if (follows.cluster, follows.database) != (wrote.cluster, wrote.database):
                return "it is another database"
            if follows.has_it:
                return None
            if monotonic() > until_s:
                return "it is behind"
            await asyncio.sleep(LOOK_S)

    def _leave(self, why: str) -> None:
        log.warning("replica_not_used", why=why)
        self.is_used, self._again_s = False, monotonic() + ALONE_S

    async def close(self) -> None:
        """Let go of its connections."""
        if self._copy is not None:
            await self._copy.close()
