"""The way to Postgres: one engine to write with, one pool to read with.

Nothing commits outside `transaction`. Races are settled by Postgres; what it asks to be tried
again (a deadlock, a serialization failure) is tried again by `Database.run`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import orjson
import psycopg
import sqlalchemy
from psycopg.rows import DictRow, dict_row, tuple_row
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import CursorResult, Executable, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

Row = DictRow  # what a read returns: column name → value
Tx = AsyncSession  # a Postgres transaction that is open; house word `tx`
T = TypeVar("T")

Probe = Callable[[str], None]  # told of each place that commits or calls the outside

TRY_AGAIN = ("40001", "40P01")  # serialization_failure, deadlock_detected
UNIQUE_VIOLATION = "23505"
TRIES = 5
IDLE_S = 10  # how long a transaction of ours may be open with nothing done in it


def nowhere(_: str) -> None:
    """The probe of every day: it does nothing."""


class DatabaseAway(Exception):
    """Postgres can't be reached, or the connection broke: the outcome may be unknown."""


class Duplicate(Exception):
    """A unique index refused a row: somebody was there before. Nothing was written."""


class Database:
    """Connections to one Postgres. `url` is a libpq URL (postgresql://…)."""

    def __init__(self, url: str, pool_size: int = 8, passing: Probe = nowhere) -> None:
        self.url, self.passing = url, passing
        self._engine = create_async_engine(
            sqlalchemy.make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=False,
            hide_parameters=True,  # an error must not quote what somebody wrote
            connect_args={"prepare_threshold": 1, "application_name": "boltwork"},
        )
        event.listen(self._engine.sync_engine, "connect", _let_go_when_idle)
        self._columns: dict[str, list[str]] = {}  # of each query that was read with
        # Autocommit: a read is one round trip, with nothing to begin or to roll back.
        self.reads: AsyncConnectionPool[psycopg.AsyncConnection[DictRow]] = AsyncConnectionPool(
            url,
            min_size=2,
            max_size=pool_size + 4,  # the worker's and its listener's are among these
            timeout=10,
            open=False,
            configure=_for_reading,
            kwargs={
                "prepare_threshold": 0,
                "row_factory": dict_row,
                "application_name": "boltwork",
            },
        )

    async def open(self) -> None:
        """Connect. Raises DatabaseAway when nothing answers."""
        try:
            await self.reads.open(wait=True, timeout=15)
        except psycopg.Error as error:
            raise DatabaseAway("Postgres does not answer") from error

    async def close(self) -> None:
        """Let go of every connection."""
        await self.reads.close()
        await self._engine.dispose()

    def pools(self) -> dict[str, tuple[int, int, int]]:
        """Return the connections of each pool: at most, open, and in use now."""
        reads = self.reads.get_stats()
        opened = reads.get("pool_size", 0)
        reading = opened - reads.get("pool_available", 0)
        writes: Any = self._engine.pool  # one that counts: it was made with a size
        busy = writes.checkedout()
        return {
            "reads": (self.reads.max_size, opened, reading),
            "writes": (writes.size(), writes.checkedin() + busy, busy),
        }

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """Open a transaction that commits at the end of the block, or rolls back on any error."""
        async with (
            AsyncSession(self._engine, expire_on_commit=False, autoflush=False) as tx,
            tx.begin(),
        ):
            yield tx

    async def run(self, name: str, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Do `work` in a transaction of its own, again while Postgres asks for another try.

        `name` is that of the place in the code, told to the probe before and after the commit.

        Raises DatabaseAway when the connection broke: whether it committed is then not known, and
        the caller reads back by its own key.
        """
        for attempt in range(1, TRIES + 1):
            try:
                self.passing(f"commit {name}: before")
                async with self.transaction() as tx:
                    done = await work(tx)
                self.passing(f"commit {name}: after")
                return done
            except (DBAPIError, psycopg.Error) as error:
                if sqlstate(error) in TRY_AGAIN and attempt < TRIES:
                    continue
                if sqlstate(error) == UNIQUE_VIOLATION:
                    raise Duplicate("that row is there already") from None
                if is_away(error):
                    raise DatabaseAway("the connection to Postgres broke") from error
                raise
            except sqlalchemy.exc.TimeoutError as error:
                raise DatabaseAway("every connection to Postgres is busy") from error
        raise AssertionError("unreachable")

    async def read_all(self, query: str, **values: Any) -> list[DictRow]:
        """Return the rows of one SELECT, in its own snapshot. Raises DatabaseAway."""
        try:
            # Not `reads.connection()`, which ends a transaction too: here none is ever begun.
            connection = await self.reads.getconn()
            try:
                cursor = connection.cursor(row_factory=tuple_row)
                await cursor.execute(query.encode(), values)
                rows = await cursor.fetchall()
            finally:
                await self.reads.putconn(connection)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise DatabaseAway("Postgres does not answer") from error
        # What `dict_row` does, but for asking libpq again what each column is called.
        columns = self._columns.get(query)
        if columns is None:
            columns = [column.name for column in cursor.description or ()]
            self._columns[query] = columns
        return [dict(zip(columns, row, strict=True)) for row in rows]

    async def read_one(self, query: str, **values: Any) -> DictRow | None:
        """Return the first row of one SELECT, or None. Raises DatabaseAway."""
        rows = await self.read_all(query, **values)
        return rows[0] if rows else None


async def execute(tx: Tx, statement: Executable, values: dict[str, Any]) -> CursorResult[Any]:
    """Run one statement that is not about rows of a table, in this transaction."""
    return await (await tx.connection()).execute(statement, values)


async def _for_reading(connection: psycopg.AsyncConnection[DictRow]) -> None:
    # Not among the arguments of connect: the task engine opens its listener with those and more.
    await connection.set_autocommit(True)
    set_json_loads(orjson.loads, connection)  # with json's own, a poll's SELECT costs a third more


def _let_go_when_idle(connection: Any, _: object) -> None:
    # Nothing waits inside a transaction: whoever does stands still, and holds up who waits for
    # the rows it has locked.
    connection.cursor().execute(f"SET idle_in_transaction_session_timeout = '{IDLE_S}s'")
    connection.commit()


async def driver_of(tx: Tx) -> psycopg.AsyncConnection[Any]:
    """Return the psycopg connection under a transaction, to stage in it what others defer."""
    raw = await (await tx.connection()).get_raw_connection()
    connection = raw.driver_connection
    assert isinstance(connection, psycopg.AsyncConnection)
    return connection


def sqlstate(error: Exception) -> str | None:
    """Return Postgres's five-letter code of an error, however it is wrapped."""
    inner = error.orig if isinstance(error, DBAPIError) else error
    return inner.sqlstate if isinstance(inner, psycopg.Error) else None


def is_away(error: BaseException | None) -> bool:
    """Say whether it was the connection that broke: the outcome is then not known."""
    inner = error.orig if isinstance(error, DBAPIError) else error
    away = psycopg.OperationalError | psycopg.InterfaceError
    return isinstance(inner, away | psycopg.errors.IdleInTransactionSessionTimeout)
