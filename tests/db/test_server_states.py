"""States of Postgres that are nobody's fault here: 503 and when to come again, and nothing is lost.

Each is raised by Postgres itself, with its own SQLSTATE, in the middle of what is written or read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import psycopg
import pytest
import sqlalchemy

from db.engine import Database, DatabaseAway, Tx
from tests.world.contract import refused
from tests.world.database_fixtures import at, execute
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import patiently
from tests.world.session_fixtures import books_are_right

SECRET = "what a buyer wrote"
KEY = {"Idempotency-Key": "0123456789abcdef0123456789abcdef"}
STATES = {
    "25006": "read only",
    "25P04": "a transaction took too long",
    "40001": "could not serialize",
    "40P01": "deadlock",
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "53400": "a configured limit",
    "55P03": "lock not available",
    "57014": "a statement took too long",
    "57P01": "shut down by its administrator",
    "57P02": "shut down by a crash",
    "57P03": "it can't be connected to now",
    "57P04": "the database was dropped",
    "58030": "an I/O error",
    "XX001": "corrupted data",
}


@contextmanager
def broken(url: str, table: str, state: str, *, at_commit: bool = False) -> Iterator[None]:
    """Have Postgres raise a state whenever a row is written to a table; how often is counted."""
    when = "BEFORE INSERT OR UPDATE"
    kind, deferred = "TRIGGER", ""
    if at_commit:
        when, kind, deferred = "AFTER INSERT", "CONSTRAINT TRIGGER", "DEFERRABLE INITIALLY DEFERRED"
    execute(
        url,
        "CREATE SEQUENCE IF NOT EXISTS raised",
        "CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" PERFORM nextval('raised'); RAISE EXCEPTION '{SECRET}' USING ERRCODE = '{state}',"
        f" DETAIL = '{SECRET}'; END $$",
        f"CREATE {kind} broken {when} ON {table} {deferred} FOR EACH ROW EXECUTE FUNCTION broken()",
    )
    try:
        yield
    finally:
        execute(url, f"DROP TRIGGER broken ON {table}")


async def until_raised(url: str, meanwhile: Awaitable[None]) -> None:
    """Do something, and wait until Postgres has raised something again: nothing else tells that it
    was tried. A sequence is not rolled back."""
    with psycopg.connect(url, autocommit=True) as connection:

        def times() -> int:
            found = connection.execute("SELECT last_value FROM raised WHERE is_called").fetchone()
            return int(found[0]) if found else 0

        before = times()
        await meanwhile
        while times() == before:
            await asyncio.sleep(0.02)


def told_to_come_again(answer: httpx2.Response) -> None:
    """Hold a refusal to what the contract says of a database that is away."""
    refused(answer, 503, "The database can't be reached just now.")
    assert answer.headers["retry-after"] == "5"
    assert "again in 5 seconds" in answer.json()["next"]


@pytest.mark.one_instance
@pytest.mark.parametrize("state", STATES, ids=STATES.get)
async def test_what_could_not_be_written_is_written_later(
    instance: Instance, database_url_of_file: str, state: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Raised by a statement or by the commit: 503, and the same request is served once afterwards.
    A payment that could not be booked is booked later, and the job ends. No connection stays
    taken, and what Postgres quotes is in no answer and no log."""
    url, jobs = database_url_of_file, "SELECT count(*) AS n FROM job"
    body, key = {"request": SECRET}, {"Idempotency-Key": state.rjust(32, "0")}
    there = await instance.built.db.read_one(jobs)
    assert there is not None
    for table, at_commit in (("job", False), ("job", True), ("invoice", False)):
        with broken(url, table, state, at_commit=at_commit):
            told_to_come_again(await instance.post("/api/jobs", body, headers=key))
    made = await instance.post("/api/jobs", body, headers=key)
    assert made.status_code == 201, made.text
    job = made.json()
    assert await instance.built.db.read_one(jobs) == {"n": there["n"] + 1}
    with broken(url, "posting", state):
        await until_raised(url, instance.pay(job["evalInvoice"]))
    job = await instance.until(job["jobId"], "awaiting_work_payment", field="workInvoice")
    with broken(url, "job", state):  # and in the worker's hands
        await until_raised(url, instance.pay(job["workInvoice"]))
    await instance.until(job["jobId"], "complete")
    await books_are_right(instance)
    await _let_go(instance)
    printed = "".join(capfd.readouterr())
    assert SECRET not in printed


async def _let_go(instance: Instance) -> None:
    """Wait until no connection that writes is in use."""
    async for look in patiently("connections stay taken"):
        look.saw = instance.built.db.pools()
        if instance.built.db.pools()["writes"][2] == 0:
            return


async def test_what_could_not_be_read_is_read_later(instance: Instance, database_url: str) -> None:
    """In any such state, a look at a job is a 503; afterwards it is as it was."""
    made = await instance.create(SECRET)
    path = f"/api/jobs/{made['jobId']}"
    seen = (await instance.http.get(path)).json()
    for state in STATES:
        execute(
            database_url,
            "CREATE OR REPLACE FUNCTION breaks() RETURNS bool LANGUAGE plpgsql VOLATILE AS $$ BEGIN"
            f" RAISE EXCEPTION '{SECRET}' USING ERRCODE = '{state}'; END $$",
            "ALTER TABLE job RENAME TO job_there",
            "CREATE VIEW job AS SELECT * FROM job_there WHERE breaks()",
        )
        told_to_come_again(await instance.http.get(path))
        execute(database_url, "DROP VIEW job", "ALTER TABLE job_there RENAME TO job")
        assert (await instance.http.get(path)).json() == seen, STATES[state]


async def test_a_table_that_somebody_has_locked_is_waited_for_no_longer_than_postgres_does(
    database_url: str, tmp_path: Path
) -> None:
    """Whoever set a `lock_timeout` for our connections gets a 503 from it, and no fault of ours."""
    name = sqlalchemy.make_url(database_url).database
    execute(database_url, f"ALTER DATABASE {name} SET lock_timeout = '200ms'")
    async with instance_of(database_url, tmp_path, worker=False) as instance:
        with psycopg.connect(database_url) as person:
            person.execute("SET lock_timeout = 0")
            person.execute("LOCK TABLE job IN ACCESS EXCLUSIVE MODE")
            told_to_come_again(await instance.post("/api/jobs", {"request": "hello"}, headers=KEY))
            told_to_come_again(await instance.http.get(f"/api/jobs/{'0' * 32}"))
        assert (await instance.post("/api/jobs", {"request": "hello"}, headers=KEY)).is_success


async def test_whoever_is_cut_off_in_the_middle_is_served_once_in_the_end(
    instance: Instance, database_url: str
) -> None:
    """While an administrator ends our sessions ten times: 201, or 503 and when to come again. Asked
    again under its name, each request has made one job."""
    answered, served = asyncio.Event(), asyncio.Event()

    async def wants(number: int) -> str:
        key = {"Idempotency-Key": f"{number:032x}"}
        async for _ in patiently("it was never served", pause_s=0):
            answer = await instance.post("/api/jobs", {"request": "hello"}, headers=key)
            answered.set()
            if answer.status_code == 201:
                break
            assert answer.status_code == 503 and answer.headers["retry-after"], answer.text
        return str(answer.json()["jobId"])

    async def ends_sessions() -> None:
        for _ in range(10):
            if not served.is_set():
                await asyncio.to_thread(_end_sessions, database_url)
                answered.clear()
                await answered.wait()

    ending = asyncio.create_task(ends_sessions())
    jobs = await asyncio.gather(*(wants(number) for number in range(40)))
    served.set()
    answered.set()
    await ending
    assert len(set(jobs)) == 40
    rows = await instance.built.db.read_all("SELECT id FROM job")
    assert {row["id"] for row in rows} == set(jobs)
    assert [await wants(number) for number in range(40)] == jobs
    await _let_go(instance)


def _end_sessions(url: str) -> None:
    execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'boltwork'",
    )


async def test_a_role_without_a_connection_left_gets_one_later(
    database_url: str, make_role: Callable[[], str]
) -> None:
    """No connection can be opened, and those there were are gone: that is said, and it passes."""
    url = make_role()
    role = sqlalchemy.make_url(url).username
    db = Database(url, pool_size=2, patience_s=1)

    async def one(tx: Tx) -> int:
        return int((await tx.all("SELECT 1 AS one"))[0]["one"])

    await db.open()
    try:
        assert await db.run("one", one) == 1
        execute(database_url, f"ALTER ROLE {role} CONNECTION LIMIT 0")
        _end_sessions(at(database_url))
        with pytest.raises(DatabaseAway):
            await db.run("one", one)
        with pytest.raises(DatabaseAway):
            await db.read_one("SELECT 1 AS one")
        execute(database_url, f"ALTER ROLE {role} CONNECTION LIMIT -1")
        async for _ in patiently("no connection comes"):
            with suppress(DatabaseAway):
                assert await db.run("one", one) == 1
                break
        assert await db.run("one", one) == 1
    finally:
        await db.close()
