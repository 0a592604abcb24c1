"""Several hosts of one Postgres: the one that takes writes is found, and found again."""

import asyncio
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict

from app.commands.doctor_hosts import about_hosts
from app.commands.findings import Level
from db.audit import audit
from db.connection import END, LASTING, lasting, patient
from db.engine import Database, DatabaseAway, Tx
from db.hosts import SOON_S, Hosts
from db.reach import Member, Unfit, members, reached, why
from db.replica import Replica
from tests.world.database_fixtures import at
from tests.world.house_fixtures import instance_of, until_ready_is
from tests.world.in_memory import memory
from tests.world.patience import patiently
from tests.world.silent_proxy import SilentProxy
from tests.world.standby import Couple, coupled, follows, shown

BOTH = "postgresql://u:p@a:5433,b/d?target_session_attrs=read-write"


@pytest.fixture(scope="module")
def couple(made_data: Path) -> Iterator[Couple]:
    """A leader and its standby, for all tests here; the last one has them fail over."""
    with tempfile.TemporaryDirectory(prefix="boltwork-hosts-", dir=memory()) as name:
        Path(name).chmod(0o711)  # as root, the servers are another user and must get in
        with coupled(made_data, Path(name)) as running:
            yield running


def asked(hosts: Hosts) -> str:
    """Return which hosts are asked, in what order."""
    said = conninfo_to_dict(hosts.conninfo())
    assert (said["user"], said["password"], said["dbname"]) == ("u", "p", "d")
    return f"{said['host']} {said['port']}"


def test_who_let_somebody_in_is_asked_first() -> None:
    """And who fell silent, or may not be written to, last."""
    hosts = Hosts(BOTH)
    assert asked(hosts) == "a,b 5433,5432"
    hosts.found(("b", 5432))
    assert asked(hosts) == "b,a 5432,5433"
    hosts.found(("c", 1))
    hosts.left(("b", 5432))
    assert asked(hosts) == "a,b 5433,5432"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@a:5433/d",
        "postgresql:///d",
        "postgresql://u@a,b/d?hostaddr=127.0.0.1,127.0.0.2",
    ],
)
def test_what_has_no_order_is_left_as_it_is(url: str) -> None:
    """One host, the one of this machine, and names that go together with addresses."""
    hosts = Hosts(url)
    hosts.found(("b", 5432))
    assert hosts.conninfo() == url


def test_one_of_several_that_says_nothing_is_given_up_soon() -> None:
    """Unless the URL says how long; a single one is waited for."""
    assert lasting(BOTH)["connect_timeout"] == SOON_S
    assert "connect_timeout" not in lasting(f"{BOTH}&connect_timeout=7")
    assert lasting("postgresql://a/d")["connect_timeout"] == LASTING["connect_timeout"]


def test_no_leader_has_a_sentence() -> None:
    """It names the hosts, and no password; whoever runs the cluster is to look there."""
    words = "connection failed: Connection refused\nconnection failed: session is read-only"
    said, mend = why(words, conninfo_to_dict(BOTH))
    assert said == "No host of Postgres takes writes now (a:5433, b:5432)"
    assert "leader" in mend


async def test_a_host_that_finishes_nothing_is_left(database_url: str) -> None:
    """It lets everybody in, and answers nothing: so does a leader that lost its standby."""
    url = sqlalchemy.make_url(database_url)
    to = str(url.host), int(url.port or 0)
    async with SilentProxy.before(*to) as first, SilentProxy.before(*to) as second:
        ports = {"host": "127.0.0.1,127.0.0.1", "port": f"{first.port},{second.port}"}
        db = Database(shown(url.set(host=None, port=None, query=ports)), pool_size=2)
        await db.open()
        try:
            assert await db.run("one", one) == 1
            assert first.opened and not second.opened
            first.freeze()
            with patient(0.5), pytest.raises(DatabaseAway):
                await db.run("one", one)
            assert await db.run("one", one) == 1
            assert second.opened
        finally:
            await db.close()


async def one(tx: Tx) -> int:
    """Write nothing, and read a one."""
    row = await tx.one("SELECT 1 AS one")
    return int(row["one"]) if row else 0


async def test_a_commit_that_waits_for_its_standby_is_not_ended(couple: Couple) -> None:
    """Whoever ends it has everybody see what may be lost in the failover that follows."""
    async with (
        await psycopg.AsyncConnection.connect(couple.url, autocommit=True) as newer,
        await psycopg.AsyncConnection.connect(
            couple.url, autocommit=True, application_name="boltwork"
        ) as older,
    ):
        await older.execute("SET synchronous_commit = on")  # as it is where nobody is in a hurry
        pid = older.info.backend_pid
        await newer.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await newer.execute("SELECT pg_reload_conf()")
        goes_on = [True]
        committing = asyncio.create_task(_commits(older, goes_on))
        async for look in patiently("it does not wait"):
            look.saw = await _waits_for(newer, pid)
            if look.saw == ("SyncRep",):
                break
        assert await (await newer.execute(END, {"pids": [pid]})).fetchall() == []
        goes_on.clear()
        await newer.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await newer.execute("SELECT pg_reload_conf()")
        await committing
        assert await (await newer.execute(END, {"pids": [pid]})).fetchall() == [(True,)]


async def _commits(line: psycopg.AsyncConnection[tuple[object, ...]], goes_on: list[bool]) -> None:
    """Write again and again: it takes a moment until Postgres waits for whom it was told to."""
    while goes_on:
        await line.execute("SELECT pg_logical_emit_message(true, 'boltwork', '')")


async def _waits_for(line: psycopg.AsyncConnection[tuple[object, ...]], pid: int) -> object:
    asked = await line.execute("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", [pid])
    return await asked.fetchone()


async def follower(db: Database) -> bool:
    """Say whether it is a standby that is asked."""
    row = await db.read_one("SELECT pg_is_in_recovery() AS is_so FROM job HAVING count(*) = 0")
    return bool(row and row["is_so"])


async def test_a_replica_answers_while_it_is_not_behind(couple: Couple) -> None:
    """What was written before the question is in its answer; where it is behind, is another
    database or is not there, the leader is asked.
    """
    await follows(couple)
    db = Database(couple.url, 1)
    await db.open()
    replica, late = (
        Replica(db, couple.standby_url),
        Replica(db, couple.standby_url, behind_s=0),
    )
    other = Replica(db, at(couple.standby_url, database="postgres"))
    gone = Replica(db, "postgresql://u:p@127.0.0.1:1/d")
    try:
        for number in range(2):
            note = f"INSERT INTO switch VALUES ({number}, true, now())"
            await db.run("note", partial(written, note=note))
            assert await replica.ask(switches) == number + 1
            assert replica.is_used
        assert await replica.ask(follower) and await replica.ask(audit) == []
        with psycopg.connect(couple.standby_url, autocommit=True) as standby:
            standby.execute("SELECT pg_wal_replay_pause()")
            try:
                await db.run("note", partial(written, note="DELETE FROM switch"))
                assert await late.ask(switches) == 0 and not late.is_used
            finally:
                standby.execute("SELECT pg_wal_replay_resume()")
        for useless in (other, gone):
            assert not await useless.ask(follower) and not useless.is_used

        async def breaks(which: Database) -> bool:
            if which is not db:
                raise DatabaseAway("it ends what stands in its way")
            return True

        assert await replica.ask(breaks) and not replica.is_used
    finally:
        for each in (replica, late, other, gone):
            await each.close()
        await db.close()


async def written(tx: Tx, note: str) -> None:
    """Write."""
    await tx.execute(note)


async def switches(db: Database) -> int:
    """Return how many switches there are."""
    row = await db.read_one("SELECT count(*)::int AS n FROM switch")
    return int(row["n"]) if row else -1


async def test_money_moves_on_the_new_leader(couple: Couple, tmp_path: Path) -> None:
    """A job that was asked for before a failover is paid and done after it: pools, listener and
    keepers have found who leads now. The standby alone is refused until then.
    """
    await follows(couple)
    with pytest.raises(Unfit, match="takes writes"):
        only = f"{couple.standby_url}?target_session_attrs=read-write"
        with reached(only):
            raise AssertionError("it let us in")
    async with instance_of(couple.url, tmp_path, HEALTH_S=1) as instance:
        made = await instance.create("hello")
        assert levels(couple) == ["ok", "warn"]  # it leads, and waits for nobody
        await couple.fail_over()
        paying = f"/api/dev/stub/pay/{made['evalInvoice']['paymentHash']}"
        async for look in patiently("it can't be paid", pause_s=0.2):
            answer = await instance.http.post(paying, json={})
            look.saw = answer.text
            if answer.status_code == 200:
                break
            assert answer.status_code == 503 and answer.headers["retry-after"]
        await until_ready_is(instance, 200, "database")
        job = await instance.until(made["jobId"], "awaiting_work_payment", field="workInvoice")
        await instance.pay(job["workInvoice"])
        await instance.until(made["jobId"], "complete")
        with psycopg.connect(couple.standby_url) as new:
            assert new.execute("SELECT state FROM job").fetchall() == [("complete",)]
    assert levels(couple) == ["ok", "warn", "warn"]  # and the other one is gone


def levels(couple: Couple) -> list[str]:
    """Return what the doctor finds of the hosts."""
    return [finding.level.value for finding in about_hosts(members(couple.url))]


def test_the_doctor_says_who_leads() -> None:
    """Whom its commits wait for, who can take over, and that there is only one."""
    leads, follows = Member("a:1", leads=True, waits=True), Member("b:1")
    [found] = about_hosts([leads, follows])
    assert found.said == "a:1 leads, b:1 can take over" and found.level == Level.OK
    both = about_hosts([leads, Member("b:1", leads=True)])
    assert both[0].said == "a:1 and b:1 both take writes" and both[0].level == Level.WARN
    nobody = about_hosts([Member("a:1", "Postgres does not answer at a:1"), follows])
    assert [found.said for found in nobody] == [
        "nobody leads, b:1 can take over",
        "a commit that was answered may be lost with the leader",
        "Postgres does not answer at a:1",
    ]
