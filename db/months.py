"""Tables of history by the month: made before they are needed, and dropped when they are not.

Nobody waits for either. A month is detached as others read and write, and dropped when nobody can
see it any more; what it tells of jobs that are open or owed something is kept beside the months
before that, with a mark from when on history is whole. Each step can be broken off, and is gone on
with at the next turn, by whichever process is first.

Beside the months are two tables without an end, one for each side: whatever a clock says, there is
a table for what happens then.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, NamedTuple

import psycopg
import structlog
from psycopg.errors import LockNotAvailable, QueryCanceled
from psycopg.rows import class_row, tuple_row

from db.connection import Line, lasting, patient
from db.engine import Database, DatabaseAway, Tx, is_away
from db.rows import columns

log = structlog.get_logger("boltwork.months")

LOCK = 8402_2010  # any number of our own: the advisory lock of whoever makes and drops
AHEAD = 3  # months that are there before they begin
MOST = 24  # made at a turn: a clock may be wrong
LONGEST_S = 60  # of one statement; where others read for longer, it is finished at a later turn
AWAITED_S = 1  # longest time that anybody waits behind us, where one table has to be cut in two


class Month(NamedTuple):
    """A table of history, and of which times; one of those at both ends has one of them only."""

    name: str
    since: datetime | None
    until: datetime | None
    is_leaving: bool  # it was told to, and is not finished with


_MONTHS = f"""
SELECT {columns(Month)} FROM (
  SELECT c.relname AS name, i.inhdetachpending AS is_leaving,
         CAST(substring(told FROM 'FROM \\(''([^'']+)''\\)') AS timestamptz) AS since,
         CAST(substring(told FROM 'TO \\(''([^'']+)''\\)') AS timestamptz) AS until
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS told) bound
   WHERE i.inhparent = 'job_history'::regclass) part
 ORDER BY until NULLS LAST, since NULLS FIRST
"""
_LEFT_OVER = """
SELECT d.name FROM dropped_month d
  JOIN pg_class c ON c.oid = to_regclass(d.name) AND NOT c.relispartition
"""


class Named(NamedTuple):
    """A table."""

    name: str


@dataclass(frozen=True, slots=True)
class Done:
    """What a turn came to."""

    months: int  # tables of one month that are there
    made: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    longest_ms: int = 0  # from when one was told to leave until it was gone


async def keep(db: Database, now: datetime, cutoff: datetime | None) -> Done:
    """Make the months to come, and drop those that ended by `cutoff`; without one, none.

    Raises DatabaseAway, or psycopg.Error where Postgres refuses: the next turn goes on with it.
    """
    if is_in_order(await months(db), now, cutoff) and not await db.rows(Named, _LEFT_OVER):
        return Done(_count(await months(db)))
    try:
        async with _alone(db) as hand:
            if hand is None:
                return Done(_count(await months(db)))
            await hand.finish()
            made = await hand.make(now)
            dropped = await hand.drop(cutoff) if cutoff else {}
            there = _count(await hand.months())
            return Done(there, tuple(made), tuple(dropped), max(dropped.values(), default=0))
    except (QueryCanceled, LockNotAvailable) as error:  # somebody reads for long, or is in the way
        log.warning("history_months_put_off", why=type(error).__name__)
        return Done(_count(await months(db)))
    except psycopg.Error as error:
        if is_away(error):
            raise DatabaseAway("the connection to Postgres broke") from error
        raise


async def months(db: Database) -> list[Month]:
    """Return every table of history, the oldest first."""
    return await db.rows(Month, _MONTHS)


def is_in_order(parts: list[Month], now: datetime, cutoff: datetime | None) -> bool:
    """Say whether there is nothing to do."""
    after = _after(parts)
    return (
        after is not None
        and after.since is not None
        and after.since >= _months_on(now, AHEAD + 1)
        and not any(part.is_leaving or _is_over(part, cutoff) for part in parts)
    )


def month_of(moment: datetime) -> datetime:
    """Return the beginning of a month. `moment` is in UTC."""
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def months_before(now: datetime, count: int) -> datetime:
    """Return the beginning of the month so many months before this one."""
    first = month_of(now)
    for _ in range(count):
        first = month_of(first - timedelta(days=1))
    return first


def _months_on(now: datetime, count: int) -> datetime:
    first = month_of(now)
    for _ in range(count):
        first = month_of(first + timedelta(days=31))
    return first


def _count(parts: list[Month]) -> int:
    return sum(part.since is not None and part.until is not None for part in parts)


def _after(parts: list[Month]) -> Month | None:
    """Return the table without an end of what is to come, if it is there."""
    return next((part for part in parts if part.until is None and not part.is_leaving), None)


def _is_over(part: Month, cutoff: datetime | None) -> bool:
    return cutoff is not None and part.until is not None and part.until <= cutoff


_OPEN_OR_OWED = """
SELECT id FROM job WHERE state IN ('awaiting_eval_payment', 'evaluating', 'awaiting_work_payment',
                                   'executing')
UNION SELECT job_id FROM payout WHERE state <> 'paid' AND job_id IS NOT NULL
UNION SELECT job_id FROM invoice WHERE state IN ('open', 'wanted') AND job_id IS NOT NULL
UNION SELECT job_id FROM usdc_authorization WHERE check_at IS NOT NULL AND job_id IS NOT NULL
"""
# In one statement: whoever reviews the books sees that history begins later now, or sees all of it.
_KEEP = """
WITH kept AS (
  INSERT INTO job_history_earlier (job_id, version, event, state, at)
  SELECT job_id, version, event, state, at FROM {name} WHERE job_id IN ({open_or_owed})
  ON CONFLICT (job_id, version) DO NOTHING RETURNING id)
INSERT INTO dropped_month (name, until, lines_kept, dropped_at)
SELECT %(name)s, %(until)s, (SELECT count(*) FROM kept), now()
ON CONFLICT (name) DO UPDATE SET lines_kept = dropped_month.lines_kept + excluded.lines_kept
"""
_LIKE = "(LIKE job_history INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"


class _Hand:
    """Who makes and drops, over a connection of its own."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def months(self) -> list[Month]:
        """Return every table of history, the oldest first."""
        cursor = self._line.cursor(row_factory=class_row(Month))
        return await (await cursor.execute(_MONTHS.encode())).fetchall()

    async def finish(self) -> None:
        """Finish what was broken off: what is leaving goes, and what has left is dropped."""
        for part in await self.months():
            if part.is_leaving:
                await self._do(f"ALTER TABLE job_history DETACH PARTITION {part.name} FINALIZE")
        cursor = self._line.cursor(row_factory=class_row(Named))
        for left in await (await cursor.execute(_LEFT_OVER.encode())).fetchall():
            await self._do(f"DROP TABLE {left.name}")

    async def make(self, now: datetime) -> list[str]:
        """Make the months to come; return their names."""
        parts = await self.months()
        first = max((part.until for part in parts if part.until), default=month_of(now))
        after, end = _after(parts), _months_on(now, AHEAD + 1)
        wanted: list[tuple[datetime, datetime]] = []
        while first < end and len(wanted) < MOST:
            wanted.append((first, _months_on(first, 1)))
            first = wanted[-1][1]
        if after is not None and wanted:
            if await self._is_used(after, now):
                return [await self._cut(after, now), *await self.make(now)]
            await self._detach(after.name)
            # With each time that it left, Postgres would have it know one bound more.
            if not await self._has_lines(after.name):
                await self._do(f"DROP TABLE {after.name}")
        for since, until in wanted:
            name = f"job_history_{since:%Y_%m}"
            await self._do(f"CREATE TABLE IF NOT EXISTS {name} {_LIKE}")
            await self._attach(name, since, until)
        if after is None or wanted:
            await self._do(f"CREATE TABLE IF NOT EXISTS job_history_after {_LIKE}")
            await self._attach("job_history_after", first, None)
        return [f"{since:%Y-%m}" for since, _ in wanted]

    async def _is_used(self, after: Month, now: datetime) -> bool:
        """Say whether something is written there already, or is about to be: nobody made a month
        for it in time.
        """
        is_near = after.since is not None and now >= after.since - timedelta(days=1)
        return is_near or await self._has_lines(after.name)

    async def _has_lines(self, name: str) -> bool:
        cursor = await self._line.execute(f"SELECT FROM {name} LIMIT 1".encode())
        return bool(await cursor.fetchall())

    async def _cut(self, after: Month, now: datetime) -> str:
        """Make a month of all that is written there, however long it is; return its name.

        Whoever writes waits for that, and not longer than AWAITED_S: else it is tried again.
        """
        assert after.since is not None
        cursor = self._line.cursor(row_factory=tuple_row)
        [newest] = await (
            await cursor.execute(f"SELECT max(at) FROM {after.name}".encode())
        ).fetchall()
        until = _months_on(max(now, after.since, newest[0] or now), 2)
        name = f"job_history_{after.since:%Y_%m}"
        since, end = _written(after.since), _written(until)
        bound = f"CHECK (at >= {since} AND at < {end})"
        # Looked at before: as it is attached, Postgres need not.
        await self._soon(
            f"ALTER TABLE {after.name} DROP CONSTRAINT IF EXISTS its_months",
            f"ALTER TABLE {after.name} ADD CONSTRAINT its_months {bound} NOT VALID",
        )
        await self._do(f"ALTER TABLE {after.name} VALIDATE CONSTRAINT its_months")
        await self._soon(
            f"ALTER TABLE job_history DETACH PARTITION {after.name}",
            f"ALTER TABLE {after.name} RENAME TO {name}",
            f"ALTER TABLE job_history ATTACH PARTITION {name} FOR VALUES FROM ({since}) TO ({end})",
            "CREATE TABLE job_history_after PARTITION OF job_history"
            f" FOR VALUES FROM ({end}) TO (MAXVALUE)",
            f"ALTER TABLE {name} DROP CONSTRAINT its_months",
        )
        log.warning("history_months_were_late", until=f"{until:%Y-%m}")
        return f"{after.since:%Y-%m}"

    async def drop(self, cutoff: datetime) -> dict[str, int]:
        """Drop what ended by then, the oldest first; return their names, and ms for each."""
        dropped = dict[str, int]()
        for part in await self.months():
            if _is_over(part, cutoff):
                keep = _KEEP.format(name=part.name, open_or_owed=_OPEN_OR_OWED)
                named = {"name": part.name, "until": part.until}
                await self._line.execute(keep.encode(), named)
                began_s = monotonic()
                await self._detach(part.name)
                await self._do(f"DROP TABLE {part.name}")
                took_ms = round((monotonic() - began_s) * 1000)
                log.info("history_month_dropped", month=part.name, took_ms=took_ms)
                dropped[part.name] = took_ms
        return dropped

    async def _detach(self, name: str) -> None:
        await self._do(f"ALTER TABLE job_history DETACH PARTITION {name} CONCURRENTLY")

    async def _attach(self, name: str, since: datetime, until: datetime | None) -> None:
        end = _written(until) if until else "MAXVALUE"
        await self._do(
            f"ALTER TABLE job_history ATTACH PARTITION {name}"
            f" FOR VALUES FROM ({_written(since)}) TO ({end})"
        )

    async def _do(self, statement: str) -> None:
        await self._line.execute(statement.encode())

    async def _soon(self, *statements: str) -> None:
        """Do this as one, if nobody who waits behind us has to for longer than a moment."""
        await self._do(";".join([f"SET LOCAL lock_timeout = '{AWAITED_S}s'", *statements]))


def _written(moment: datetime) -> str:
    return f"'{moment:%Y-%m-%d} UTC'"


@asynccontextmanager
async def _alone(db: Database) -> AsyncIterator[_Hand | None]:
    """Yield who makes and drops; None while another process does."""
    line: Line = await Line.connect(
        db.hosts.conninfo(), autocommit=True, application_name="boltwork months", **lasting(db.url)
    )
    async with line:
        with patient(LONGEST_S + 5):
            await line.execute(f"SET statement_timeout = '{LONGEST_S}s'".encode())
            await line.execute(b"SET timezone = 'UTC'")
            asked = await line.execute(f"SELECT pg_try_advisory_lock({LOCK})".encode())
            told: Any = await asked.fetchone()
            yield _Hand(line) if told[0] else None


# Asked of each of a few, by its job: of all that are open or owed there may be many.
_FORGET = """
WITH seen AS (
  SELECT id, job_id, at FROM job_history_earlier WHERE id > %(after)s ORDER BY id LIMIT %(most)s),
gone AS (
  DELETE FROM job_history_earlier WHERE id = ANY(ARRAY(
    SELECT s.id FROM seen s WHERE s.at < %(cutoff)s
       AND NOT EXISTS (SELECT FROM job WHERE id = s.job_id
           AND state NOT IN ('complete', 'rejected', 'failed') OFFSET 0)
       AND NOT EXISTS (SELECT FROM payout WHERE job_id = s.job_id AND state <> 'paid' OFFSET 0)
       AND NOT EXISTS (SELECT FROM invoice WHERE job_id = s.job_id
           AND state IN ('open', 'wanted') OFFSET 0)
       AND NOT EXISTS (SELECT FROM usdc_authorization WHERE job_id = s.job_id
           AND check_at IS NOT NULL OFFSET 0))))
SELECT coalesce(max(id), 0) AS last, count(*) AS looked_at FROM seen
"""


class Looked(NamedTuple):
    """How far old lines were looked at, and how many those were."""

    last: int
    looked_at: int


async def forget(tx: Tx, cutoff: datetime, after: int, most: int) -> Looked:
    """Forget some lines that are of no month, of before `cutoff`, where nothing is open or owed any
    more; go on after the last one."""
    looked = await tx.row(Looked, _FORGET, cutoff=cutoff, after=after, most=most)
    assert looked is not None
    return looked
