"""The way to Postgres: one pool to write with, one pool to read with.

Nothing commits outside `transaction`. Races are settled by Postgres; what it asks to be tried again
(a deadlock, a serialization failure) is, by `Database.run`.

A transaction is one pipeline: what it writes is sent when something is read, or with the commit.
So rows which many others want (an account of the house, say) are locked for as long as Postgres
needs, and no longer; and whoever stands still between two of its steps has all that he asked for
answered, and is ended by Postgres as idle.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakSet

import psycopg
import structlog
from psycopg import AsyncPipeline
from psycopg.errors import IdleInTransactionSessionTimeout
from psycopg.rows import DictRow, tuple_row

from db.connection import END, OUTDATED, Line, is_not_ours, pool_of, to_read, to_write
from db.hosts import Hosts, Place
from db.rows import R
from db.statements import Columns, Found

log = structlog.get_logger("boltwork.database")

Row = DictRow  # what a statement returns: column name → value
T = TypeVar("T")

Probe = Callable[[str], None]  # told of each place that commits or calls the outside
# serialization_failure, deadlock_detected, idle_in_transaction_session_timeout,
# read_only_sql_transaction: nothing was written. The last is a connection to a server that was
# written to before; another one may lead to its successor. One that is outdated leads there again.
TRY_AGAIN = ("40001", "40P01", "25P03", "25006", OUTDATED)
UNIQUE_VIOLATION = "23505"
TRIES = 5


def nowhere(_: str) -> None:
    """The probe of every day."""


class DatabaseAway(Exception):
    """Postgres can't be reached, or the connection broke: the outcome may be unknown."""

    def __init__(self, why: str, lasted_s: float = 0) -> None:
        super().__init__(why)
        self.lasted_s = lasted_s  # how long ago that was seen first, with no success since


class Unwritten(Exception):
    """Postgres refused a statement, and nothing was written. It names the rule, and no value."""


class Duplicate(Exception):
    """A unique index refused a row: somebody was there before. Nothing was written."""


async def _sent(connection: Line, query: str, values: dict[str, Any]) -> Found:
    cursor = connection.cursor(row_factory=tuple_row)
    await cursor.execute(query.encode(), values)
    return cursor


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement of a transaction. Its answer is waited for when it is read."""

    tx: "Tx"
    query: str
    cursor: Found

    async def all(self) -> list[Row]:
        """Return its rows, keyed by columns."""
        await self.tx.answered()
        return self.tx.columns.keyed(self.query, self.cursor, await self.cursor.fetchall())

    async def one(self) -> Row | None:
        """Return its first row by its columns' names, or None."""
        rows = await self.all()
        return rows[0] if rows else None

    async def rows(self, cls: type[R]) -> list[R]:
        """Return its rows, whose columns are the fields of this type."""
        await self.tx.answered()
        return self.tx.columns.typed(cls, self.query, self.cursor, await self.cursor.fetchall())

    async def row(self, cls: type[R]) -> R | None:
        """Return its first row, or None."""
        rows = await self.rows(cls)
        return rows[0] if rows else None

    async def count(self) -> int:
        """Return how many rows it wrote."""
        await self.tx.answered()
        return self.cursor.rowcount


class Tx:
    """A Postgres transaction that is open; house word `tx`.

    Values are named, `%(name)s`, and there may be more of them than a statement uses: all of a row.
    What Postgres has against a statement is raised where an answer, any answer, is next waited for.
    """

    def __init__(self, connection: Line, pipeline: AsyncPipeline, columns: Columns) -> None:
        self.connection, self.pipeline, self.columns = connection, pipeline, columns
        self.unsent: list[tuple[Found, str, dict[str, Any]]] = []

    async def ask(self, query: str, **values: Any) -> Asked:
        """Have one statement run, later. All that was asked by then is answered at once."""
        cursor = self.connection.cursor(row_factory=tuple_row)
        self.unsent.append((cursor, query, values))
        return Asked(self, query, cursor)

    async def send(self) -> None:
        """Send what was asked for, in one go: nobody stands still with half of it sent."""
        if self.connection.is_ended():  # libpq would only say that the connection is gone
            raise IdleInTransactionSessionTimeout("Postgres has ended this transaction")
        unsent, self.unsent = self.unsent, []
        for cursor, query, values in unsent:
            # What psycopg forgets at a rollback or an ALTER, it forgets after its next statement.
            prepare = False if query == "BEGIN" else None
            await cursor.execute(query.encode(), values, prepare=prepare)

    async def answered(self) -> None:
        """Wait until all that was asked for is answered."""
        if self.unsent:
            await self.send()
            await self.pipeline.sync()

    async def execute(self, query: str, **values: Any) -> None:
        """Have one statement run whose answer nobody needs."""
        await self.ask(query, **values)

    async def count(self, query: str, **values: Any) -> int:
        """Run one statement; return how many rows it wrote."""
        return await (await self.ask(query, **values)).count()

    async def all(self, query: str, **values: Any) -> list[Row]:
        """Run one statement and return its rows by their columns' names."""
        return await (await self.ask(query, **values)).all()

    async def one(self, query: str, **values: Any) -> Row | None:
        """Run one statement and return its first row by its columns' names, or None."""
        return await (await self.ask(query, **values)).one()

    async def rows(self, cls: type[R], query: str, **values: Any) -> list[R]:
        """Run one statement and return its rows, whose columns are the fields of this type."""
        return await (await self.ask(query, **values)).rows(cls)

    async def row(self, cls: type[R], query: str, **values: Any) -> R | None:
        """Run one statement and return its first row, or None."""
        return await (await self.ask(query, **values)).row(cls)


class Alone(Tx):
    """A transaction of one statement, which begins and commits with it: it waits once."""

    def __init__(self, connection: Line, columns: Columns) -> None:
        self.connection, self.columns = connection, columns
        self._is_asked = False

    async def ask(self, query: str, **values: Any) -> Asked:
        """Run the one statement."""
        assert not self._is_asked, "a second statement would be a transaction of its own"
        self._is_asked = True
        cursor = self.connection.cursor(row_factory=tuple_row)
        await cursor.execute(query.encode(), values)
        return Asked(self, query, cursor)

    async def answered(self) -> None:
        """It was, when it was asked."""


class Database:
    """Connections to one Postgres. `url` is a libpq URL (postgresql://…), of several hosts or one.

    Who finds all of them busy, or none, waits `patience_s` for one.
    """

    def __init__(
        self, url: str, pool_size: int = 8, passing: Probe = nowhere, patience_s: float = 10
    ) -> None:
        self.url, self.passing = url, passing
        self.hosts = Hosts(url)
        self._columns = Columns()
        self.lookups = dict[object, Any]()  # who look the same up at once: see db.lookups
        self.slow_s = 0.05  # nobody waits longer to share a statement: that may be one of no answer
        self._writes = pool_of(self.hosts, pool_size, partial(self._begun, to_write), patience_s)
        # Autocommit: a read is one round trip, with nothing to begin or to roll back.
        # The worker's connections and its listener's are among these.
        self.reads = pool_of(self.hosts, pool_size + 5, partial(self._begun, to_read), patience_s)
        self._lines = WeakSet[Line]()  # of both pools
        self._silent = set[tuple[Place, int]]()  # their other ends, which have heard nothing of it
        self.given_up = 0  # connections that were found to be of no use
        self._away_since_s: float | None = None

    async def open(self) -> None:
        """Connect. Raises DatabaseAway when nothing answers."""
        try:
            await self.reads.open(wait=True, timeout=15)
            await self._writes.open()
        except psycopg.Error as error:
            raise self._away("Postgres does not answer") from error

    async def close(self) -> None:
        """Let go of every connection."""
        await self.reads.close()
        await self._writes.close()

    def pools(self) -> dict[str, tuple[int, int, int]]:
        """Return the connections of each pool: at most, open, and in use now."""
        return {"reads": self.reads.usage(), "writes": self._writes.usage()}

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """Open a transaction that commits at the end of the block, or rolls back on any error."""
        connection = await self._writes.getconn()
        try:
            async with connection:  # rolls back on an error
                async with connection.pipeline() as pipeline:
                    tx = Tx(connection, pipeline, self._columns)
                    await tx.execute("BEGIN")
                    yield tx
                    await tx.send()
                if not await connection.is_committed():
                    raise Unwritten("an error was caught inside a transaction, which rolled back")
        finally:
            await self._writes.putconn(connection)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Tx]:
        """Open a transaction of one statement."""
        connection = await self._writes.getconn()
        try:
            yield Alone(connection, self._columns)
        finally:
            await self._writes.putconn(connection)

    async def run(self, name: str, work: Callable[[Tx], Awaitable[T]], *, alone: bool = False) -> T:
        """Do `work` in a transaction of its own, again while Postgres asks for another try.
        `alone`: it is one statement.

        `name` is that of the place in the code, told to the probe before and after the commit.

        Raises DatabaseAway when the connection broke: whether it committed is then not known, and
        the caller reads back by its own key.
        """
        for attempt in range(1, TRIES + 1):
            try:
                self.passing(f"commit {name}: before")
                async with self.alone() if alone else self.transaction() as tx:
                    done = await work(tx)
                self._away_since_s = None
                self.passing(f"commit {name}: after")
                return done
            except psycopg.Error as error:
                if error.sqlstate in TRY_AGAIN and attempt < TRIES:
                    continue
                if error.sqlstate == UNIQUE_VIOLATION:
                    raise Duplicate("that row is there already") from None
                if is_away(error):
                    raise self._away("the connection to Postgres broke") from error
                # Postgres quotes the whole row: what a buyer wrote is for no log.
                raise Unwritten(_rule_of(error)) from None
        raise AssertionError("unreachable")

    async def read_all(self, query: str, **values: Any) -> list[Row]:
        """Return the rows of one SELECT by their columns' names. Raises DatabaseAway."""
        return await self._read(partial(self._keyed, query, values))

    async def read_whole(self, query: str, **values: Any) -> list[Row]:
        """As `read_all` does, of tables that are read to their end. Raises DatabaseAway."""

        async def reading(line: Line) -> list[Row]:
            async with line.transaction():
                await line.execute(b"SET LOCAL enable_seqscan = on")
                return await self._keyed(query, values, line)

        return await self._read(reading)

    async def _keyed(self, query: str, values: dict[str, Any], line: Line) -> list[Row]:
        cursor = await _sent(line, query, values)
        return self._columns.keyed(query, cursor, await cursor.fetchall())

    async def read_one(self, query: str, **values: Any) -> Row | None:
        """Return the first row of one SELECT, or None. Raises DatabaseAway."""
        rows = await self.read_all(query, **values)
        return rows[0] if rows else None

    async def rows(self, cls: type[R], query: str, **values: Any) -> list[R]:
        """Return the rows of one SELECT, whose columns are the fields of this type, in its own
        snapshot. Raises DatabaseAway."""

        async def reading(line: Line) -> list[R]:
            cursor = await _sent(line, query, values)
            return self._columns.typed(cls, query, cursor, await cursor.fetchall())

        return await self._read(reading)

    async def row(self, cls: type[R], query: str, **values: Any) -> R | None:
        """Return the first row of one SELECT, or None. Raises DatabaseAway."""
        rows = await self.rows(cls, query, **values)
        return rows[0] if rows else None

    async def clock(self) -> datetime:
        """Return what time it is there. Raises DatabaseAway."""
        [told] = await self.read_all("SELECT clock_timestamp() AS now")
        now: datetime = told["now"]
        return now

    async def _read(self, reading: Callable[[Line], Awaitable[T]]) -> T:
        try:
            try:
                return await self._once(reading)
            except psycopg.errors.FeatureNotSupported:  # outdated: those left are not
                return await self._once(reading)
        except psycopg.Error as error:
            if is_away(error):
                raise self._away("Postgres does not answer") from error
            raise

    async def _once(self, reading: Callable[[Line], Awaitable[T]]) -> T:
        connection = await self.reads.getconn()
        try:
            rows = await reading(connection)
            self._away_since_s = None
            return rows
        finally:
            await self.reads.putconn(connection)

    def _away(self, why: str) -> DatabaseAway:
        now_s = monotonic()
        if self._away_since_s is None:
            self._away_since_s = now_s
        return DatabaseAway(why, now_s - self._away_since_s)

    async def _begun(self, made: Callable[[Line], Awaitable[None]], connection: Line) -> None:
        await made(connection)
        self.hosts.found(connection.place)
        connection.lost = self.lost
        self._lines.add(connection)

    def lost(self, connection: Line, why: str) -> None:
        """Hear that a connection was of no use: those opened before may well be as it is."""
        self.given_up += 1
        if why != OUTDATED:
            self.hosts.left(connection.place)
        log.warning("database_connection_given_up", why=why)
        self._silent.add((connection.place, connection.pid))
        if any(connection.opened_s > pool.distrusts_s for pool in (self.reads, self._writes)):
            self._distrust(monotonic())

    def fell_silent(self, connection: Line, asked_s: float) -> None:
        """Hear of a connection that did not answer what Postgres has answered to a newer one.

        Whoever waits on one of its age waits in vain: it is told so, and asks anew on another.
        """
        self.given_up += 1
        log.warning("database_connection_given_up", why="overtaken")
        self._distrust(asked_s)
        self._silent.add((connection.place, connection.pid))
        for line in self._lines:
            if line.opened_s <= asked_s and line.suspect():
                self._silent.add((line.place, line.pid))

    async def end_silent(self, newer: Line) -> None:
        """Have Postgres end, over a newer connection, what it holds of those that are silent.

        It would keep what a transaction has locked (an account of the house, say) for IDLE_S yet,
        and everybody who needs that would wait.
        """
        silent, self._silent = self._silent, set()
        pids = [pid for place, pid in silent if place == newer.place]
        await newer.execute(END, {"pids": pids})

    def _distrust(self, opened_before_s: float) -> None:
        for pool in (self.reads, self._writes):
            pool.distrusts_s = max(pool.distrusts_s, opened_before_s)


def _rule_of(error: psycopg.Error) -> str:
    told = error.diag
    of_ours = (error.sqlstate or "").startswith("42")  # the statement is wrong, whatever the values
    rule = told.constraint_name or (told.message_primary if of_ours else None)
    return f"{type(error).__name__}: {rule or error.sqlstate}"


def is_away(error: BaseException | None) -> bool:
    """Say whether it was the connection that broke: the outcome is then not known."""
    away = psycopg.OperationalError | psycopg.InterfaceError
    return isinstance(error, away | IdleInTransactionSessionTimeout) or is_not_ours(error)
