"""Connections that say nothing any more, and a server that takes no writes: money goes on moving.

A proxy before Postgres takes all that is sent on the connections that are open, and passes nothing
on; new ones work. So it is when a middlebox forgets a connection.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from structlog.testing import capture_logs

from db.connection import Silent, patient
from db.engine import Database, DatabaseAway, Tx
from db.jobs import CHANNEL
from db.promise_lanes import Lane
from db.promises import Outbox, WorkerPace
from db.signals import Signals
from statemachine.promises import Judge, Promise
from tests.world.house_fixtures import instance_of, until_ready_is
from tests.world.patience import PATIENCE_S, patiently
from tests.world.scripted_agent import ScriptedAgent
from tests.world.silent_proxy import SilentProxy


@asynccontextmanager
async def silenced(database_url: str) -> AsyncIterator[tuple[SilentProxy, str]]:
    """Give a proxy before a database, and the URL that leads through it."""
    url = sqlalchemy.make_url(database_url)
    async with SilentProxy.before(str(url.host), int(url.port or 5432)) as proxy:
        yield proxy, url.set(port=proxy.port).render_as_string(hide_password=False)


async def one(tx: Tx) -> int:
    """Write nothing, and read a one."""
    row = await tx.one("SELECT 1 AS one")
    assert row is not None
    return int(row["one"])


async def test_no_answer_is_waited_for_without_end(database_url: str) -> None:
    """What misses its deadline is closed, its outcome is not known, and the next one is new."""
    async with silenced(database_url) as (proxy, url):
        db = Database(url, pool_size=4)
        await db.open()
        try:
            await asyncio.gather(*(db.run("one", one) for _ in range(8)))
            await asyncio.gather(*(db.read_one("SELECT 1 AS one") for _ in range(8)))
            assert proxy.freeze() >= 4
            with patient(0.5), pytest.raises(DatabaseAway) as away:
                await db.run("one", one)
            assert isinstance(away.value.__cause__, Silent)
            # One was silent: nobody is handed another of those that were open with it.
            assert await db.run("one", one) == 1
            assert await db.read_one("SELECT 1 AS one") == {"one": 1}
            assert db.given_up == 1
        finally:
            await db.close()


async def test_whoever_is_cancelled_on_a_silent_connection_comes_back(database_url: str) -> None:
    """To give a statement up takes no answer of the connection that has none."""
    async with silenced(database_url) as (proxy, url):
        db = Database(url, pool_size=2)
        await db.open()
        try:
            await db.run("one", one)
            proxy.freeze()
            asking = asyncio.create_task(db.run("one", one))
            await asyncio.sleep(0)
            asking.cancel()
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(asyncio.CancelledError):
                    await asking
        finally:
            await db.close()


async def test_the_listener_hears_again(
    database_url: str,
) -> None:
    """It asks for a word when it has heard none for a while, and listens anew without an answer."""
    async with silenced(database_url) as (proxy, url):
        db = Database(url)
        await db.open()
        signals = Signals(db, asks_after_s=1)
        listening = asyncio.create_task(signals.listen())
        try:
            while not signals.answered_s:
                await asyncio.sleep(0.01)
            proxy.freeze()
            heard, _ = signals.watch("a" * 32)
            async with asyncio.timeout(PATIENCE_S):
                while not heard.is_set():
                    with psycopg.connect(database_url, autocommit=True) as other:
                        other.execute(f"NOTIFY {CHANNEL}, '{'a' * 32}'".encode())
                    await asyncio.sleep(0.2)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await db.close()


async def test_money_moves_again_within_a_minute(database_url: str, tmp_path: Path) -> None:
    """A job that is paid while every connection is silent comes to its end over new ones."""
    async with (
        silenced(database_url) as (proxy, url),
        instance_of(url, tmp_path, HEALTH_S=1) as instance,
    ):
        made = await instance.create("hello")
        assert proxy.freeze() > 4
        async with asyncio.timeout(PATIENCE_S):
            # Whoever asks meanwhile is told to come again.
            while True:
                answer = await instance.http.post(
                    f"/api/dev/stub/pay/{made['evalInvoice']['paymentHash']}", json={}
                )
                if answer.status_code == 200:
                    break
                assert answer.status_code == 503 and answer.headers["retry-after"]
            while True:
                answer = await instance.http.get(f"/api/jobs/{made['jobId']}")
                if "workInvoice" in answer.text:
                    break
                await asyncio.sleep(0.2)
        await until_ready_is(instance, 200, "database")


async def test_a_worker_hears_of_promises_again(database_url: str) -> None:
    """It listens anew however often it can't: nothing else tells it of a promise for an hour."""
    kept = asyncio.Queue[str]()

    async def keep(promise: Promise, _: int) -> None:
        kept.put_nowait(promise.key)

    db = Database(database_url, pool_size=2)
    outbox = Outbox(db)
    await db.open()
    await outbox.open()
    pace = WorkerPace(poll_s=3_600, heartbeat_s=0.2)
    work = asyncio.create_task(outbox.work(keep, pace, Lane.PROMISES))

    async def heard(begins: str) -> None:
        number = 0
        async for _ in patiently("no promise is heard of", pause_s=0.2):
            if not kept.empty():
                break
            number += 1
            promise = Judge(begins + f"{number:x}".rjust(31, "0"))
            await db.run("promise", partial(outbox.stage, promise=promise))
        while not kept.empty():
            kept.get_nowait()

    url = sqlalchemy.make_url(database_url)
    name, others = url.database, url.set(database="postgres")
    try:
        await heard("a")
        with (
            capture_logs() as logs,
            psycopg.connect(others.render_as_string(hide_password=False), autocommit=True) as admin,
        ):
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            async for _ in patiently("the worker does not find out", pause_s=0.1):
                if sum(each["event"] == "promises_not_heard" for each in logs) > 1:
                    break
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        await heard("b")
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await outbox.close()
        await db.close()


async def test_a_promise_that_was_taken_and_never_arrived_is_kept(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> None:
    """Its worker lives, so nobody takes it over: that worker itself sees that it has it not."""
    async with instance_of(
        database_url, tmp_path, agent=scripted_agent, WORKER_CONCURRENCY=1
    ) as instance:
        scripted_agent.go.clear()
        one, other = await instance.create("one"), await instance.create("other")
        await instance.pay(one["evalInvoice"])
        await scripted_agent.begun.wait()
        await instance.pay(other["evalInvoice"])
        await instance.until(other["jobId"], "evaluating")
        with psycopg.connect(database_url, autocommit=True) as admin:
            # What the worker's own claim does, whose answer is lost on its way.
            taken = admin.execute(
                "SELECT (claim_promise('promises', worker_id)).id FROM procrastinate_jobs"
                " WHERE status = 'doing'"
            ).fetchone()
        assert taken is not None and taken[0] is not None
        scripted_agent.go.set()
        for made in (one, other):
            await instance.until(made["jobId"], "awaiting_work_payment", field="workInvoice")


async def test_a_server_that_was_written_to_before_is_left(database_url: str) -> None:
    """Sessions that may only read, as after a failover, are given up; new ones write."""
    name = sqlalchemy.make_url(database_url).database
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        db = Database(database_url, pool_size=4)
        await db.open()
        try:
            await asyncio.gather(*(db.run("one", one) for _ in range(8)))
            with pytest.raises(DatabaseAway):
                await db.run("beat", _beat)
            # The server that may be written to takes over: new sessions are its own.
            admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
            await db.run("beat", _beat)
            assert await db.read_one("SELECT count(*) AS n FROM heartbeat") == {"n": 1}
        finally:
            await db.close()


async def _beat(tx: Tx) -> None:
    await tx.execute("INSERT INTO heartbeat (process, at) VALUES ('a', now())")


async def test_a_buyer_is_told_to_come_again_while_nothing_can_be_written(
    database_url: str, tmp_path: Path
) -> None:
    """503 with Retry-After, and not ready; once another server takes writes, 201 and ready."""
    name = sqlalchemy.make_url(database_url).database
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        async with instance_of(database_url, tmp_path, HEALTH_S=1) as instance:
            answer = await instance.post("/api/jobs", {"request": "hello"})
            assert answer.status_code == 503 and answer.headers["retry-after"]
            await until_ready_is(instance, 503, "database")
            admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
            await instance.create("hello")
            await until_ready_is(instance, 200, "database")


@asynccontextmanager
async def _listened_to(url: str) -> AsyncIterator[Database]:
    """An open database whose listener has been answered."""
    db = Database(url, pool_size=2)
    await db.open()
    signals = Signals(db)
    listening = asyncio.create_task(signals.listen())
    try:
        while not signals.answered_s:
            await asyncio.sleep(0.01)
        yield db
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await db.close()


async def test_who_waits_on_a_silent_connection_is_told_when_a_newer_one_was_answered(
    database_url: str,
) -> None:
    """However long it may wait: what listens finds out within seconds that no answer will come,
    and has Postgres let go of what was locked."""
    async with silenced(database_url) as (proxy, url), _listened_to(url) as db:
        with patient(3600):
            asking = asyncio.create_task(db.run("sleep", _sleep))
        while not await db.read_one("SELECT 1 AS one FROM pg_locks WHERE objid = 7"):
            await asyncio.sleep(0.01)
        proxy.freeze()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(DatabaseAway):
                await asking
        assert await db.run("one", one) == 1
        # Postgres has not heard of it: what is locked there would be for an hour.
        async with asyncio.timeout(PATIENCE_S):
            while await db.read_one("SELECT 1 AS one FROM pg_locks WHERE objid = 7"):
                await asyncio.sleep(0.05)


async def _sleep(tx: Tx) -> None:
    await tx.execute("SET LOCAL statement_timeout = 0")
    await tx.execute("SELECT pg_advisory_xact_lock(7)")
    await tx.execute("SELECT pg_sleep(3600)")


async def test_a_slow_statement_is_no_silence(database_url: str) -> None:
    """As long as what listens is answered, nobody else's connection is suspected."""
    async with _listened_to(database_url) as db:
        assert await db.read_one("SELECT 1 AS one FROM pg_sleep(4)") == {"one": 1}
        assert db.given_up == 0


async def test_a_promise_that_can_not_be_staged_for_silence_is_no_fault_of_ours(
    database_url: str, tmp_path: Path
) -> None:
    """The task engine has errors of its own: a transaction that they break still tells whose."""
    async with instance_of(database_url, tmp_path, worker=False) as instance:
        outbox = instance.built.outbox

        async def stage(tx: Tx) -> None:
            row = await tx.one("SELECT pg_backend_pid() AS pid")
            assert row is not None
            with psycopg.connect(database_url, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(%s, 5000)", [row["pid"]])
            await outbox.stage(tx, Judge("a" * 32))

        with pytest.raises(DatabaseAway):
            await instance.built.db.run("stage", stage)


async def test_a_payment_that_is_told_while_nothing_can_be_written_is_booked_afterwards(
    database_url: str, tmp_path: Path
) -> None:
    """The rail tells it once, and it may be asked again only after an hour: it is kept in mind."""
    name = sqlalchemy.make_url(database_url).database
    with psycopg.connect(database_url, autocommit=True) as admin:
        async with instance_of(database_url, tmp_path, SWEEP_S=3600) as instance:
            made = await instance.create("hello")
            admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
            admin.execute(
                b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                b" WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            with capture_logs() as lines:
                await instance.pay(made["evalInvoice"])
                async with asyncio.timeout(PATIENCE_S):
                    while not any(line["event"] == "push_kept" for line in lines):
                        await asyncio.sleep(0.05)
            admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
            await instance.until(made["jobId"], "evaluating", "awaiting_work_payment", "complete")
