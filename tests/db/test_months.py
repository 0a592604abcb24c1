"""History lies in months: those to come are there before they begin, and one that is dropped takes
nothing with it that is open or owed, and makes nobody wait.
"""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from app.loops.months import Months
from db import job_events, months
from db.audit import audit
from db.engine import Database
from db.job_events import to_the_end
from db.migrate import migrate
from statemachine.job import JobState
from tests.world.database_fixtures import at, execute
from tests.world.patience import patiently

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=99)
JOB = """
INSERT INTO job (id, state, version, request, eval_msat, created_at, updated_at, completed_at)
VALUES ('{id}', '{state}', {version}, 'Say hello.', 5000, '{at}', '{at}', {completed})
"""
LINES = """
INSERT INTO job_history (job_id, version, event, state, at)
SELECT '{id}', n, 'begun', '{state}', '{at}' FROM generate_series(1, {version}) n
"""
OWED = """
INSERT INTO payout (id, job_id, reason, state, amount, attempts, failures, created_at, updated_at)
VALUES ('{id}:undone', '{id}', 'undone', 'owed', 5000, 0, 0, now(), now())
"""


@pytest.fixture
async def edge(db: Database) -> datetime:
    """When the first of the months begins, and the table before it ends."""
    first = (await months.months(db))[0]
    assert first.name == "job_history_before" and first.until is not None
    return first.until


@pytest.fixture
def add(database_url: str) -> Callable[..., None]:
    """Adds a job whose last line of history is of that time."""

    def add(job_id: str, state: str = "complete", at: datetime = OLD, version: int = 3) -> None:
        ended = f"'{at}'" if state in ("complete", "failed") else "NULL"
        said = {"id": job_id, "state": state, "at": at, "version": version, "completed": ended}
        execute(database_url, JOB.format(**said), LINES.format(**said))

    return add


async def versions(db: Database, job_id: str) -> list[int]:
    """Return the numbers of a job's lines."""
    return [line.version for line in await job_events.between(db, job_id, 0, 99)]


async def names(db: Database) -> list[str]:
    """Return the tables of history."""
    return [part.name for part in await months.months(db)]


async def test_a_month_goes_with_what_is_over_and_leaves_what_is_open_or_owed(
    db: Database, database_url: str, edge: datetime, add: Callable[..., None]
) -> None:
    """The review finds nothing wrong with either; what is kept goes when nothing is owed any more;
    and of what is gone a stream tells the end."""
    add("over")
    add("open", "executing")
    add("owed", "failed")
    add("new", at=NOW)
    execute(database_url, OWED.format(id="owed"))
    assert await versions(db, "over") == [1, 2, 3]
    done = await months.keep(db, NOW, edge)
    assert done.dropped == ("job_history_before",)
    assert "job_history_before" not in await names(db)
    kept = {job_id: await versions(db, job_id) for job_id in ("over", "open", "owed", "new")}
    assert kept == {"over": [], "open": [1, 2, 3], "owed": [1, 2, 3], "new": [1, 2, 3]}
    said = [finding.what for finding in await audit(db)]
    assert not [what for what in said if "history" in what or "version" in what]
    [end] = to_the_end([], 3, JobState.COMPLETE, OLD)
    assert (end.version, end.event, end.state) == (3, "ended", JobState.COMPLETE)
    execute(database_url, "UPDATE payout SET state = 'paid', paid_at = now()")
    looked = await db.run("forget", partial(months.forget, cutoff=edge, after=0, most=9))
    assert looked.looked_at == 6
    assert (await versions(db, "owed"), await versions(db, "open")) == ([], [1, 2, 3])


async def test_nobody_waits_for_a_month_that_is_dropped(
    db: Database, database_url: str, edge: datetime, add: Callable[..., None]
) -> None:
    """While it waits for a reader of long ago, others read history and write it; when he is done it
    goes."""
    add("over")
    add("new", at=NOW)
    with psycopg.connect(database_url) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        assert reader.execute("SELECT count(*) FROM job_line").fetchone() == (6,)
        dropping = asyncio.create_task(months.keep(db, NOW, edge))
        async for _ in patiently("no month is leaving"):
            if any(part.is_leaving for part in await months.months(db)):
                break
        add("newest", at=NOW)
        execute(database_url, "DELETE FROM job_history WHERE job_id = 'new' AND version = 1")
        assert await versions(db, "new") == [2, 3]
        assert await versions(db, "newest") == [1, 2, 3]
        assert reader.execute("SELECT count(*) FROM job_line").fetchone() == (6,)
        assert not dropping.done()
    assert (await dropping).dropped == ("job_history_before",)
    assert await versions(db, "over") == []


async def test_what_was_broken_off_is_finished(
    db: Database, database_url: str, edge: datetime, add: Callable[..., None]
) -> None:
    """A process that ends while a month is leaving leaves the rest to the next turn."""
    add("over")
    mark = "INSERT INTO dropped_month VALUES ('job_history_before', now(), 0, now())"
    detach = "ALTER TABLE job_history DETACH PARTITION job_history_before CONCURRENTLY"
    execute(database_url, mark)
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT FROM job_history LIMIT 1")
        with pytest.raises(psycopg.errors.QueryCanceled):
            execute(database_url, "SET statement_timeout = '50ms'", detach)
        assert (await months.months(db))[0].is_leaving
    assert (await months.keep(db, NOW, edge)).dropped == ()
    assert "job_history_before" not in await names(db)
    there = "SELECT to_regclass('job_history_before') IS NULL AS gone"
    assert await db.read_one(there) == {"gone": True}


async def test_months_are_made_before_they_begin(db: Database, add: Callable[..., None]) -> None:
    """A house that runs for long has a table for each, and for what comes after them."""
    turns, when = [], NOW
    while when < NOW + timedelta(days=300):
        turns.append(await months.keep(db, when, None))
        when += timedelta(days=27)
    made = [name for turn in turns for name in turn.made]
    assert len(made) == len(set(made)) >= 9
    assert not any(len(turn.made) > 1 for turn in turns)
    add("late", at=when)
    held = f"SELECT count(*)::int AS n FROM job_history_{when:%Y_%m}"
    assert await db.read_one(held) == {"n": 3}
    assert (await names(db))[-1] == "job_history_after"
    # As it was made: with each time that it left, it would know one bound more.
    known = "SELECT count(*)::int AS n FROM pg_constraint WHERE conrelid = '{}'::regclass"
    assert await db.read_one(known.format("job_history_after")) == await db.read_one(
        known.format(f"job_history_{NOW:%Y_%m}")
    )


async def test_a_house_whose_months_were_not_made_writes_on(
    db: Database, add: Callable[..., None]
) -> None:
    """What is written when none was made in time has a table, and that becomes a month of it."""
    late = NOW + timedelta(days=400)
    add("late", at=late)
    done = await months.keep(db, late, None)
    assert len(done.made) > 1 and done.months == len(await names(db)) - 2
    assert await versions(db, "late") == [1, 2, 3]
    add("later", at=late + timedelta(days=60))
    assert months.is_in_order(await months.months(db), late, None)


async def test_one_process_makes_and_drops(db: Database, database_url: str, edge: datetime) -> None:
    """Others leave it to that one."""
    with psycopg.connect(database_url) as other:
        other.execute(f"SELECT pg_advisory_lock({months.LOCK})".encode())
        assert await months.keep(db, NOW, edge) == months.Done(4)
    assert (await months.keep(db, NOW, edge)).dropped == ("job_history_before",)


async def test_history_is_dropped_where_the_operator_says_so(
    db: Database, add: Callable[..., None]
) -> None:
    """Without a word of his all is kept; and never is more dropped than both clocks say."""
    add("over")
    far = NOW + timedelta(days=90)
    for kept in (None, 2, 1):
        await Months(db, lambda: far, kept).turn()
        assert await versions(db, "over") == [1, 2, 3]


@pytest.fixture
def empty_url(database_url: str, admin: psycopg.Connection[Any]) -> Iterator[str]:
    """The URL of a database without a table."""
    name = "without_tables"
    admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    yield at(database_url, database=name)
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def test_an_older_database_keeps_its_lines(empty_url: str) -> None:
    """What was written before there were months is read, and purged, with what is written since."""
    migrate(empty_url, "0063")
    old = LINES.format(id="old", state="executing", at=NOW, version=2)
    job = JOB.format(id="old", state="executing", at=NOW, version=3, completed="NULL")
    execute(empty_url, job, old)
    migrate(empty_url)
    newer = "INSERT INTO job_history VALUES ('old', 3, 'begun', 'executing', now())"
    execute(empty_url, newer)
    db = Database(empty_url, 1)
    await db.open()
    try:
        assert await versions(db, "old") == [1, 2, 3]
        assert await job_events.happened(db, "old", "begun")
        begun = "SELECT sum(n)::int AS n FROM job_tally WHERE what = 'begun'"
        assert await db.read_one(begun) == {"n": 1}
        await db.run("forget", partial(job_events.forget, job_ids=["old"]))
        assert await versions(db, "old") == []
    finally:
        await db.close()
