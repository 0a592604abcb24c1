"""A town: one job in every place that a job can rest in, and a person with SQL who breaks it."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg
import sqlalchemy

from db.audit import Finding, audit
from db.engine import Database
from payments.lnurl import decode
from tests.world.house_fixtures import Instance

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Town:
    """A database in which every kind of job has been, and the ids of those jobs."""

    url: str
    jobs: dict[str, str]


async def refund(instance: Instance, job: dict[str, Any]) -> None:
    """Have the stub's wallet withdraw the one refund of a job."""
    shown = (await instance.http.get(f"/api/jobs/{job['jobId']}")).json()
    [owed] = shown["refunds"]
    url = decode(owed["lnurlWithdraw"])
    assert url is not None
    path = urlsplit(url).path
    offer = (await instance.http.get(path)).json()
    made = await instance.post(
        "/api/dev/stub/invoice", {"amountSats": offer["minWithdrawable"] // 1000}
    )
    taken = {"k1": offer["k1"], "pr": made.json()["paymentRequest"]}
    assert (await instance.http.get(f"{path}/callback", params=taken)).json() == {"status": "OK"}


async def refund_is(instance: Instance, job_id: str, *states: str) -> None:
    """Wait until the only payout of a job is in one of these states."""
    changed, stop = instance.built.signals.watch(job_id)
    while True:
        changed.clear()
        query = "SELECT p.state, a.called_at FROM payout p LEFT JOIN payout_attempt a"
        query += " ON a.payout_id = p.id WHERE job_id = %(id)s"
        row = await instance.built.db.read_one(query, id=job_id)
        assert row is not None
        if row["state"] in states and row["called_at"] is not None:
            break
        await instance.built.signals.wait(changed, 0.2)
    stop()


async def build(instance: Instance) -> dict[str, str]:
    """Bring a job to every place that a job can rest in; return their ids."""
    paid, flying = await instance.to_end("paid"), await instance.to_end("flying")
    await refund(instance, paid)
    await refund_is(instance, paid["jobId"], "paid")
    await instance.post("/api/dev/stub/faults", {"call": "pay", "fault": "pending"})
    await refund(instance, flying)
    await refund_is(instance, flying["jobId"], "in_flight")
    done, undone = await instance.to_end("done", maxSats=1000), await instance.to_end("BREAK-WORK")
    rejected, unjudged = await instance.create("REJECT"), await instance.create("BREAK-JUDGE")
    for made, state in ((rejected, "rejected"), (unjudged, "failed")):
        await instance.pay(made["evalInvoice"])
        await instance.until(made["jobId"], state)
    unpaid, over = await instance.create("unpaid"), await instance.create("over")
    await instance.pay(over["evalInvoice"], amountSats=over["evalInvoice"]["amountSats"] + 3)
    await instance.until(over["jobId"], "awaiting_work_payment", field="workInvoice")
    waiting = await instance.create("waiting")
    broken = {"call": "create_invoice", "fault": "5xx", "times": 1000}
    await instance.post("/api/dev/stub/faults", broken)
    await instance.pay(waiting["evalInvoice"])
    await instance.until(waiting["jobId"], "awaiting_work_payment")
    made = {
        "paid": paid,
        "flying": flying,
        "done": done,
        "undone": undone,
        "rejected": rejected,
        "unjudged": unjudged,
        "unpaid": unpaid,
        "over": over,
        "waiting": waiting,
    }
    return {name: job["jobId"] for name, job in made.items()}


@contextmanager
def copied(url: str) -> Iterator[str]:
    """Give a copy of a database, to be broken."""
    source = sqlalchemy.make_url(url)
    name = f"{source.database}_{next(_numbers)}"
    admin = source.set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {source.database}".encode())
    yield source.set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def found(url: str) -> list[Finding]:
    """Audit a database."""
    db = Database(url)
    await db.open()
    findings = await audit(db)
    await db.close()
    return findings


def tamper(url: str, *statements: str) -> None:
    """Do what a person with SQL can do: no trigger and no foreign key stands in the way."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in statements:
            assert connection.execute(statement.encode()).rowcount != 0, statement
