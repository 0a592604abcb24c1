"""The way to Postgres: what is refused names no value, and a server that went comes back."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from db.connection import IDLE_S, STATEMENT_S
from db.embedded import EmbeddedPostgres
from db.engine import Database, DatabaseAway, Duplicate, Tx, Unwritten
from tests.world.plan_fixtures import analyse

SECRET = "what a buyer wrote"


@pytest.fixture
def ground() -> Iterator[Path]:
    """A folder that the user nobody may pass through."""
    with tempfile.TemporaryDirectory(prefix="boltwork-engine-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


async def test_a_refusal_names_the_rule_and_no_value(db: Database) -> None:
    """Postgres quotes the whole row in its own words: they are not kept."""

    async def broken(tx: Tx) -> None:
        await tx.execute(
            "INSERT INTO job (id, state, version, request, eval_msat, funding, created_at,"
            " updated_at) VALUES ('a', 'executing', 1, %(request)s, 0, 'invoices', now(), now())",
            request=SECRET,
        )

    with pytest.raises(Unwritten, match="ck_job_eval_positive") as refused:
        await db.run("broken", broken)
    shown = [refused.value, refused.value.__cause__, *refused.value.args]
    assert all(SECRET not in str(each) for each in shown)
    assert refused.value.__suppress_context__

    async def no_integer(tx: Tx) -> None:
        await tx.execute("SELECT CAST(%(text)s AS int)", text=SECRET)

    with pytest.raises(Unwritten, match="InvalidTextRepresentation: 22P02"):
        await db.run("no_integer", no_integer)


async def test_a_row_that_is_there_is_a_duplicate(db: Database) -> None:
    """Of two with one key the second writes nothing at all."""

    async def twice(tx: Tx) -> None:
        for _ in range(2):
            await tx.execute(
                "INSERT INTO idempotency_key (caller, key, body_sha256, made, created_at)"
                " VALUES ('me', 'mine', '', '', now())"
            )

    with pytest.raises(Duplicate):
        await db.run("twice", twice)
    assert await db.read_one("SELECT count(*) AS n FROM idempotency_key") == {"n": 0}


_LOCKED = """
SELECT count(*) AS n FROM pg_locks WHERE relation = 'heartbeat'::regclass AND mode = 'ExclusiveLock'
"""


async def test_what_is_written_waits_for_what_is_read(db: Database) -> None:
    """A transaction has locked nothing before it reads something, or ends: until then nothing of it
    was sent."""

    async def lock(tx: Tx) -> tuple[object, object]:
        await tx.execute("LOCK TABLE heartbeat IN EXCLUSIVE MODE")
        before = await db.read_one(_LOCKED)
        await tx.all("SELECT 1 AS one")
        return before, await db.read_one(_LOCKED)

    assert await db.run("lock", lock) == ({"n": 0}, {"n": 1})
    assert await db.read_one(_LOCKED) == {"n": 0}


_BEAT = "INSERT INTO heartbeat (process, at) VALUES (%(process)s, now())"


async def test_what_is_asked_together_is_answered_in_order(db: Database) -> None:
    """A question sees what was written before it, and nothing of what was written after."""

    async def count(tx: Tx) -> list[int]:
        asked = []
        for process in ("a", "b"):
            await tx.execute(_BEAT, process=process)
            asked.append(await tx.ask("SELECT count(*) AS n FROM heartbeat"))
        answers = [await each.one() for each in reversed(asked)]
        return [answer["n"] for answer in answers if answer]

    assert await db.run("count", count) == [2, 1]
    assert await db.read_one("SELECT count(*) AS n FROM heartbeat") == {"n": 2}


async def test_a_refusal_is_raised_with_the_next_answer(db: Database) -> None:
    """Whichever statement that answers: the first one that was refused is named, and nothing of the
    transaction stays."""
    went_on = False

    async def late(tx: Tx) -> None:
        nonlocal went_on
        await tx.execute(_BEAT, process="a")
        await tx.execute("SELECT CAST('x' AS int)")
        await tx.execute(_BEAT, process="b")
        await tx.all("SELECT 1 AS one")
        went_on = True

    with pytest.raises(Unwritten, match="InvalidTextRepresentation: 22P02"):
        await db.run("late", late)
    assert not went_on
    assert await db.read_one("SELECT count(*) AS n FROM heartbeat") == {"n": 0}


async def test_a_swallowed_refusal_is_no_success(db: Database) -> None:
    """Who goes on after an error is not told that the transaction was committed."""

    async def swallow(tx: Tx) -> str:
        await tx.execute(_BEAT, process="a")
        with suppress(psycopg.Error):
            await tx.all("SELECT 1 / 0")
        return "done"

    with pytest.raises(Unwritten, match="an error was caught inside a transaction"):
        await db.run("swallow", swallow)
    assert await db.read_one("SELECT count(*) AS n FROM heartbeat") == {"n": 0}


async def test_no_transaction_is_open_for_ever(db: Database) -> None:
    """Postgres ends one that stands still with half of a burst sent, which is not idle to it."""

    async def limit(tx: Tx) -> str:
        [told] = await tx.all("SHOW transaction_timeout")
        return str(told["transaction_timeout"])

    assert await db.run("limit", limit) == f"{IDLE_S + STATEMENT_S}s"


async def test_every_size_of_integer_is_one_statement(db: Database) -> None:
    """Amounts that differ in size do not make Postgres plan the same statement anew."""

    async def amounts(tx: Tx) -> int:
        for amount in (1, 2**15, 2**31, 2**62):
            await tx.one("SELECT CAST(%(amount)s AS bigint) AS same_amount", amount=amount)
        prepared = await tx.all("SELECT statement FROM pg_prepared_statements")
        return sum("same_amount" in row["statement"] for row in prepared)

    assert await db.run("amounts", amounts) == 1


async def how_long(asking: Awaitable[object]) -> float:
    """Ask a database that is away, and return how long it has been, as is told."""
    with pytest.raises(DatabaseAway) as away:
        await asking
    return away.value.lasted_s


async def test_a_server_that_comes_back_is_used_again(ground: Path) -> None:
    """While it is away that is said, and how long it has been; afterwards no connection from before
    is in the way."""
    server = EmbeddedPostgres(ground / "data", refuge=ground / "refuge", fast_for_tests=True)
    db = Database(await asyncio.to_thread(server.start), pool_size=4, patience_s=5)
    try:
        await db.open()

        async def one(tx: Tx) -> int:
            return int((await tx.all("SELECT 1 AS one"))[0]["one"])

        await asyncio.gather(*(db.run("one", one) for _ in range(8)))
        await asyncio.gather(*(db.read_one("SELECT 1 AS one") for _ in range(8)))
        await asyncio.to_thread(server.stop)
        assert (await asyncio.to_thread(server.start)) == db.url  # on the same port
        for _ in range(8):
            assert await db.run("one", one) == 1
            assert await db.read_one("SELECT 1 AS one") == {"one": 1}
        await asyncio.to_thread(server.stop)
        lasted_s = (
            await how_long(db.read_one("SELECT 1 AS one")),
            await how_long(db.run("one", one)),
        )
        assert lasted_s[0] == 0 < lasted_s[1]
        await asyncio.to_thread(server.start)
        assert await db.run("one", one) == 1
        await asyncio.to_thread(server.stop)
        assert await how_long(db.run("one", one)) == 0  # this time
    finally:
        await db.close()
        await asyncio.to_thread(server.stop)


async def test_a_server_answers_on_while_its_tables_are_changed(db: Database) -> None:
    """What was prepared for the tables of before is prepared anew, unseen by who asks: neither an
    error nor the columns of before are answered, on connections of then or of now.
    """

    async def write(tx: Tx) -> set[str]:
        return set(*await tx.all("INSERT INTO note VALUES (0) RETURNING *"))

    async def read() -> set[str]:
        return set(*await db.read_all("SELECT * FROM note LIMIT 1"))

    def change(statement: str) -> None:
        with psycopg.connect(db.url, autocommit=True) as another:
            another.execute(statement.encode())

    change("CREATE TABLE note (number int)")
    for statement, has in (
        ("ALTER TABLE note ADD COLUMN second text", {"number", "second"}),
        ("ALTER TABLE note RENAME COLUMN second TO other", {"number", "other"}),
        ("ALTER TABLE note ALTER COLUMN other TYPE bytea USING NULL", {"number", "other"}),
    ):
        await asyncio.gather(*(db.run("write", write) for _ in range(20)))
        await asyncio.gather(*(read() for _ in range(20)))
        await asyncio.to_thread(change, statement)
        told = await asyncio.gather(*(db.run("write", write) for _ in range(20)))
        told += await asyncio.gather(*(read() for _ in range(20)))
        assert all(names == has for names in told)


async def test_a_session_that_is_left_alone_ends_by_itself(db: Database) -> None:
    """After a transaction as before one: what lies between may have kept its end to itself."""

    async def leave(tx: Tx) -> int:
        await tx.execute("SELECT set_config('idle_session_timeout', '300ms', false)")
        [row] = await tx.all("SELECT pg_backend_pid() AS pid")
        await tx.execute(_BEAT, process=str(row["pid"]))
        return int(row["pid"])

    for _ in range(5):
        pid = await db.run("leave", leave)
        there = "SELECT 1 AS one FROM pg_stat_activity WHERE pid = %(pid)s"
        while await db.read_one(there, pid=pid):
            await asyncio.sleep(0.02)


_NEXT = "SELECT count(*) AS n FROM heartbeat WHERE starts_with(process, 'next ')"


async def test_who_leaves_a_busy_process_spoils_no_connection(database_url: str) -> None:
    """Wherever in a transaction its task is cancelled, while its loop has much to do: on the same
    connection the next transaction is written, and is told so.
    """
    database = Database(database_url, pool_size=1)
    await database.open()
    loop, is_busy = asyncio.get_running_loop(), True

    def much() -> None:
        time.sleep(0.006)  # longer than psycopg goes on without letting others have their turn
        if is_busy:
            loop.call_soon(much)

    async def beat(tx: Tx) -> None:
        await tx.execute(_BEAT, process=name)

    loop.call_soon(much)
    for steps in range(24):
        name = f"left {steps}"
        leaving = asyncio.create_task(database.run("leave", beat))
        for _ in range(steps):
            await asyncio.sleep(0)
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving
        name = f"next {steps}"
        await database.run("beat", beat)
    is_busy = False
    assert await database.read_one(_NEXT) == {"n": 24}
    await database.close()


_OF_ONE = "EXPLAIN SELECT state FROM job WHERE id = %(id)s"
_OF_ALL = "EXPLAIN SELECT count(*) FROM job"


async def test_no_plan_is_for_a_table_that_was_empty_once(db: Database, database_url: str) -> None:
    """A plan is kept for as long as its connection: one that reads a table to its end is made by
    nobody who has a key, however few rows there are just now; only by who wants them all.
    """
    analyse(database_url)

    async def explained(tx: Tx) -> str:
        return str(await tx.all(_OF_ONE, id="none"))

    assert "pk_job" in await db.run("explained", explained)
    assert "pk_job" in str(await db.read_all(_OF_ONE, id="none"))
    assert "Seq Scan on job" in str(await db.read_whole(_OF_ALL))
