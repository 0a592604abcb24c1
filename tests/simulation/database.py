"""The real Database over the real Postgres, whose connection breaks when the weather says so.

What breaks is the connection and never the SQL: a transaction is done, undone or cut by Postgres.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import procrastinate
import psycopg
from procrastinate import sql
from procrastinate.exceptions import ConnectorException

from db.engine import Database, DatabaseAway, Row, Tx
from db.rows import R
from db.task_engine import CLAIM, FORGET, PUT_BACK
from tests.simulation.weather import Weather

T = TypeVar("T")
PATIENCE_S = 600.0  # with Postgres itself, however busy the machine is
Gate = Callable[[str], Awaitable[None]]

# Procrastinate's functions and queries find this `now` before the one of Postgres.
SCHEMA = """
CREATE SCHEMA world;
CREATE TABLE world.clock (at timestamptz NOT NULL);
INSERT INTO world.clock VALUES ('2040-01-01');
CREATE FUNCTION world.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT at FROM world.clock';
CREATE UNLOGGED TABLE world.witnessed (n bigserial PRIMARY KEY, name text, was jsonb, is_now jsonb);
CREATE FUNCTION world.witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO world.witnessed (name, was, is_now) VALUES (TG_TABLE_NAME,
        CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END,
        CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END);
    RETURN NULL;
END $$;
"""
WITNESSED = (
    "job", "invoice", "payout", "payout_attempt", "account", "account_part", "entry", "posting",
    "procrastinate_jobs", "session", "hold", "allowance", "free_day", "lapsed_invoice",
    "batch", "item", "lease", "artifact", "usdc_authorization", "usdc_attempt",
    "user_account", "identity", "api_key", "usdc_deposit", "spell_cast",
    "webhook", "notice", "notice_try", "worker", "earning",
    "canary", "amends",
)  # fmt: skip
SEARCH_PATH = "world,public,pg_catalog"


def prepare(url: str) -> None:
    """Let a migrated database live by the world's clock, and witness every change in it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SCHEMA)
        tables = connection.execute(
            "SELECT format('%I.%I', relnamespace::regnamespace, relname) FROM pg_class"
            " WHERE relkind = 'r'"
            " AND relnamespace IN ('public'::regnamespace, 'world'::regnamespace)"
        ).fetchall()
        for (table,) in tables:
            # It would come at moments of its own, and change plans and the order of rows.
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        for table in WITNESSED:
            connection.execute(
                f"CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON {table}"
                " FOR EACH ROW EXECUTE FUNCTION world.witness()"
            )


def living_in(url: str) -> str:
    """Return a database's URL with the world's clock before that of Postgres."""
    mark = "&" if "?" in url else "?"
    return f"{url}{mark}options=-csearch_path%3D{SEARCH_PATH.replace(',', '%2C')}"


class WorldDatabase(Database):
    """A Database that stands at a gate before and after each commit."""

    def __init__(self, url: str, weather: Weather, gate: Gate) -> None:
        super().__init__(living_in(url), patience_s=PATIENCE_S)
        self.slow_s = 0.0  # who shared a statement with one at a gate would stand at none himself
        self._weather, self._gate = weather, gate

    async def run(self, name: str, work: Callable[[Tx], Awaitable[T]], *, alone: bool = False) -> T:
        """See Database.run."""
        await self._gate(f"commit {name}: before")
        fault = self._weather.pick(
            "database: away before",
            "database: cut in the middle",
            "database: serialization failure",
            "database: cut after commit",
        )
        if fault == "database: away before":
            raise DatabaseAway("the world's database is away")
        breaks: list[Exception] = []
        if fault == "database: cut in the middle":
            breaks.append(psycopg.OperationalError("the world cut the connection"))
        if fault == "database: serialization failure":
            breaks.append(psycopg.errors.SerializationFailure("the world says try again"))

        async def done_or_undone(tx: Tx) -> T:
            if alone and breaks:  # what is one statement is whole, or it never was
                raise breaks.pop()
            done = await work(tx)
            if breaks:
                raise breaks.pop()
            return done

        done = await super().run(name, done_or_undone, alone=alone)
        if fault == "database: cut after commit":
            raise DatabaseAway("the world cut the connection before the answer")
        await self._gate(f"commit {name}: after")
        return done

    async def read_all(self, query: str, **values: Any) -> list[Row]:
        """See Database.read_all."""
        await self._before_reading()
        return await super().read_all(query, **values)

    async def read_whole(self, query: str, **values: Any) -> list[Row]:
        """See Database.read_whole."""
        await self._before_reading()
        return await super().read_whole(query, **values)

    async def rows(self, cls: type[R], query: str, **values: Any) -> list[R]:
        """See Database.rows."""
        await self._before_reading()
        return await super().rows(cls, query, **values)

    async def _before_reading(self) -> None:
        if self._weather.strikes("database: another goes first"):
            await self._gate("read: before")
        if self._weather.strikes("database: no answer to a read"):
            raise DatabaseAway("the world's database is away")


BY_TIME = (
    "fetch_job", "select_stalled_jobs_by_heartbeat", "prune_stalled_workers", "update_heartbeat",
)  # fmt: skip
_OURS = {CLAIM: "fetch_job", FORGET: "finish_job", PUT_BACK: "retry_job"}
_NAMES = _OURS | {query: name for name, query in sql.queries.items()}


class WorldConnector(procrastinate.PsycopgConnector):
    """The task engine's way to Postgres, with gates and cuts of its own."""

    def __init__(
        self, weather: Weather, gate: Gate, tell_time: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__()
        self._weather, self._gate, self._tell_time = weather, gate, tell_time

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        """See PsycopgConnector."""
        await self._before(query)
        await super().execute_query_async(query, **arguments)
        await self._after(query)

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        """See PsycopgConnector."""
        await self._before(query)
        row: dict[str, Any] = await super().execute_query_one_async(query, **arguments)
        await self._after(query)
        return row

    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        """See PsycopgConnector."""
        await self._before(query)
        rows: list[dict[str, Any]] = await super().execute_query_all_async(query, **arguments)
        await self._after(query)
        return rows

    async def _before(self, query: str) -> None:
        await self._gate(f"tasks {_NAMES[query]}: before")
        if self._weather.strikes("tasks: away before"):
            raise ConnectorException from psycopg.OperationalError("the tasks are away")
        if _NAMES[query] in BY_TIME:
            await self._tell_time()

    async def _after(self, query: str) -> None:
        if self._weather.strikes("tasks: cut after commit"):
            raise ConnectorException from psycopg.OperationalError("the answer was cut off")
