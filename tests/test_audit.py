"""The auditor: whatever is broken by hand is found and named, and healthy books give no finding."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy

from app.books import Books
from db.audit import Finding, audit
from db.engine import Database
from db.migrate import migrate
from payments.lnbits import LnbitsRail
from payments.rail import Opened
from payments.stub import StubRail
from pricing.money import sats_to_msat
from tests.fault_proxy import FaultProxy
from tests.house_fixtures import Instance, instance_of
from tests.lnbits_server import LnbitsServer
from tests.rail_fixtures import wall_clock
from tests.scripted_agent import ScriptedAgent
from tests.test_lnbits_job import buy
from tests.test_time import Clock

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Town:
    """A database in which every kind of job has been, and the ids of those jobs."""

    url: str
    jobs: dict[str, str]


async def refund(instance: Instance, job: dict[str, Any], reason: str = "surplus") -> None:
    """Have the stub's wallet withdraw a refund of a job."""
    path = f"/api/lnurl/withdraw/{job['jobId']}/{reason}"
    offer = (await instance.http.get(path)).json()
    made = await instance.post(
        "/api/dev/stub/invoice", {"amountSats": offer["minWithdrawable"] // 1000}
    )
    taken = {"k1": offer["k1"], "pr": made.json()["paymentRequest"]}
    assert (await instance.http.get(f"{path}/callback", params=taken)).json() == {"status": "OK"}


async def refund_is(instance: Instance, job_id: str, *states: str) -> None:
    """Wait until the only payout of a job is in one of these states."""
    changed, stop = instance.parts.signals.watch(job_id)
    while True:
        changed.clear()
        query = "SELECT p.state, a.called_at FROM payout p LEFT JOIN payout_attempt a"
        query += " ON a.payout_id = p.id WHERE job_id = %(id)s"
        row = await instance.parts.db.read_one(query, id=job_id)
        assert row is not None
        if row["state"] in states and row["called_at"] is not None:
            break
        await instance.parts.signals.wait(changed, 0.2)
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


@pytest.fixture(scope="module")
async def town(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """The town, built once; each test gets a copy of its database."""
    name = f"town_{next(_numbers)}"
    template = sqlalchemy.make_url(postgres)
    admin = template.set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template.database}".encode())
    url = template.set(database=name).render_as_string(hide_password=False)
    migrate(url)
    folder = tmp_path_factory.mktemp("town")
    async with instance_of(url, folder, agent=ScriptedAgent()) as instance:
        jobs = await build(instance)
        assert await audit(instance.parts.db) == []
    yield Town(url, jobs)


@pytest.fixture
def copy(town: Town) -> Iterator[Town]:
    """A copy of the town, to be broken."""
    source = sqlalchemy.make_url(town.url)
    name = f"{source.database}_{next(_numbers)}"
    admin = source.set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {source.database}".encode())
    yield Town(source.set(database=name).render_as_string(hide_password=False), town.jobs)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def tamper(url: str, *statements: str) -> None:
    """Do what a person with SQL can do: no trigger and no foreign key stands in the way."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in statements:
            assert connection.execute(statement.encode()).rowcount != 0, statement


async def found(url: str) -> list[Finding]:
    """Audit a database."""
    db = Database(url)
    await db.open()
    findings = await audit(db)
    await db.close()
    return findings


async def test_healthy_books_give_no_finding(copy: Town) -> None:
    """Complete, rejected, failed, unpaid, over-paid, refunded, and in flight: nothing is wrong."""
    assert await found(copy.url) == []


CHARGED = "(SELECT id FROM entry WHERE key = 'job:{done}:charged')"
ATTEMPT = (
    "INSERT INTO payout_attempt (payment_hash, payout_id, number, bolt11, fee_limit_msat,"
    " expires_at, outcome, fee_msat, checks) VALUES ({hash}, '{payout}', 2, 'x', 0, now(),"
    " 'settled', 0, 0)"
)
# What was done by hand → the invariants that name it, and what they name.
BROKEN: dict[str, tuple[list[str], list[tuple[int, str]]]] = {
    "a balance edited": (
        ["UPDATE account SET balance = balance + 1000 WHERE name = 'refund:{done}:surplus'"],
        [(1, "refund:{done}:surplus"), (7, "refund:{done}:surplus"), (7, "{done}:surplus")],
    ),
    "the balance of the rail edited": (
        ["UPDATE account SET balance = balance - 1 WHERE name = 'rail:lightning'"],
        [(1, "rail:lightning"), (1, "the books in msat")],
    ),
    "an entry deleted": (
        [
            f"DELETE FROM posting WHERE entry_id = {CHARGED}",
            "DELETE FROM entry WHERE key = 'job:{done}:charged'",
        ],
        [(1, "job:{done}"), (1, "revenue:work"), (6, "job:{done}:charged")],
    ),
    "an entry deleted, and its postings left": (
        ["DELETE FROM entry WHERE key = 'job:{done}:charged'"],
        [(1, "job:{done}"), (1, "revenue:work"), (6, "job:{done}:charged")],
    ),
    "a posting deleted": (
        [f"DELETE FROM posting WHERE entry_id = {CHARGED} AND account = 'revenue:work'"],
        [(1, "job:{done}:charged"), (6, "job:{done}:charged"), (1, "revenue:work")],
    ),
    "a posting changed": (
        [f"UPDATE posting SET amount = amount - 1 WHERE entry_id = {CHARGED} AND amount > 0"],
        [(1, "job:{done}:charged"), (1, "job:{done}"), (6, "job:{done}:charged")],
    ),
    "a charge raised by a thief who keeps the books in balance": (
        [
            f"UPDATE posting SET amount = amount - 1000 WHERE entry_id = {CHARGED}"
            " AND account = 'revenue:work'",
            f"UPDATE posting SET amount = amount + 1000 WHERE entry_id = {CHARGED}"
            " AND account LIKE 'refund:%'",
            "UPDATE account SET balance = balance + 1000 WHERE name = 'revenue:work'",
            "UPDATE account SET balance = balance - 1000 WHERE name = 'refund:{done}:surplus'",
        ],
        [(6, "job:{done}:charged"), (7, "refund:{done}:surplus")],
    ),
    "a liability below zero": (
        [
            "ALTER TABLE account DROP CONSTRAINT ck_account_no_negative_liability",
            "UPDATE account SET balance = -5 WHERE name = 'job:{done}'",
        ],
        [(2, "job:{done}"), (1, "job:{done}")],
    ),
    "a job set to complete without its payment": (
        ["UPDATE job SET state = 'complete', completed_at = now() WHERE id = '{over}'"],
        [(4, "{over}"), (6, "{over}")],
    ),
    "a job set to evaluating without its payment": (
        ["UPDATE job SET state = 'evaluating' WHERE id = '{unpaid}'"],
        [(4, "{unpaid}"), (6, "{unpaid}"), (8, "{unpaid}:judge")],
    ),
    "a payment taken back from under its job": (
        ["UPDATE invoice SET state = 'expired' WHERE id = '{done}:work'"],
        [(4, "{done}"), (6, "{done}")],
    ),
    "an invoice set to settled by hand": (
        ["UPDATE invoice SET state = 'settled', received_msat = 5000 WHERE id = '{unpaid}:eval'"],
        [(5, "invoice:{unpaid_hash}:settled"), (6, "{unpaid}")],
    ),
    "a payment credited twice": (
        [
            "INSERT INTO entry (id, key, asset, at)"
            " VALUES (99999, 'invoice:{unpaid_hash}:settled', 'msat', now())",
            "INSERT INTO posting VALUES (99999, 'rail:lightning', 5000),"
            " (99999, 'job:{done}', -5000)",
        ],
        [(5, "invoice:{unpaid_hash}:settled"), (1, "job:{done}")],
    ),
    "a payout paid twice": (
        [
            "DROP INDEX uq_payout_attempt_one_live",
            ATTEMPT.replace("{hash}", "'again'").replace("{payout}", "{paid}:surplus"),
        ],
        [(5, "{paid}:surplus"), (5, "payout:{paid}:surplus:2:sent")],
    ),
    "a payout set to paid by hand": (
        ["UPDATE payout SET state = 'paid', paid_at = now() WHERE id = '{done}:surplus'"],
        [(5, "{done}:surplus"), (7, "refund:{done}:surplus")],
    ),
    "a payout in flight set to owed by hand": (
        ["UPDATE payout SET state = 'owed' WHERE id = '{flying}:surplus'"],
        [(5, "{flying}:surplus"), (7, "sending:{flying}:surplus"), (7, "{flying}:surplus")],
    ),
    "a refund paid to an invoice of our own": (
        [
            "DROP INDEX uq_payout_attempt_one_live",
            ATTEMPT.replace("{hash}", "'{unpaid_hash}'").replace("{payout}", "{paid}:surplus"),
        ],
        [(5, "{paid}:surplus")],
    ),
    "a payout deleted": (
        ["DELETE FROM payout WHERE id = '{undone}:undone'"],
        [(7, "refund:{undone}:undone"), (5, "payout:{undone}:undone:owed"), (6, "{undone}")],
    ),
    "a final state changed": (
        [
            "UPDATE job SET state = 'executing', version = version + 1 WHERE id = '{done}'",
            "INSERT INTO job_history (id, job_id, version, event, state, at)"
            " SELECT 99999, id, version, 'x', state, now() FROM job WHERE id = '{done}'",
        ],
        [(6, "{done}"), (7, "job:{done}"), (8, "{done}:do")],
    ),
    "a charge above its quote": (
        [
            "UPDATE job SET charge = jsonb_set(charge, '{{total_msat}}', '99000000')"
            " WHERE id = '{done}'"
        ],
        [(6, "{done}"), (6, "job:{done}:charged")],
    ),
    "a quote above the buyer's maximum": (
        ["UPDATE job SET max_msat = 1000 WHERE id = '{done}'"],
        [(6, "{done}")],
    ),
    "an invoice that asks for more than was quoted": (
        ["UPDATE invoice SET amount_msat = amount_msat + 1000 WHERE id = '{over}:work'"],
        [(6, "{over}")],
    ),
    "an over-payment kept": (
        ["UPDATE invoice SET received_msat = received_msat + 9000 WHERE id = '{over}:eval'"],
        [(5, "invoice:{over_hash}:settled"), (6, "{over}")],
    ),
    "money that is nobody's": (
        [
            "INSERT INTO entry (id, key, asset, at) VALUES (99999, 'stray', 'msat', now())",
            "INSERT INTO posting VALUES (99999, 'rail:lightning', 7), (99999, 'unclaimed', -7)",
            "INSERT INTO account VALUES ('unclaimed', 'msat', 'liability', 7)",
            "UPDATE account SET balance = balance + 7 WHERE name = 'rail:lightning'",
        ],
        [(7, "unclaimed"), (5, "stray")],
    ),
    "a promise lost": (
        ["DELETE FROM procrastinate_jobs WHERE lock = '{waiting}:work'"],
        [(8, "{waiting}:work")],
    ),
    "a promise staged twice": (
        [
            "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args) SELECT queue_name,"
            " task_name, lock, args FROM procrastinate_jobs WHERE lock = '{waiting}:work'"
        ],
        [(8, "{waiting}:work")],
    ),
    "a refund that goes by itself, and does not": (
        ["UPDATE payout SET refund_to = 'me@example.org' WHERE id = '{done}:surplus'"],
        [(8, "{done}:surplus:fetch:0")],
    ),
    "a payout in flight that nobody asks about": (
        ["UPDATE payout_attempt SET check_at = NULL WHERE payout_id = '{flying}:surplus'"],
        [(8, "{flying}:surplus:pay:1")],
    ),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_what_is_broken_by_hand_is_found_and_named(copy: Town, what: str) -> None:
    """Each invariant, broken in SQL: the finding has its number and names what is wrong."""
    words = dict(copy.jobs)
    with psycopg.connect(copy.url) as connection:
        for name in ("unpaid", "over"):
            query = "SELECT payment_hash FROM invoice WHERE id = %s"
            row = connection.execute(query, [f"{copy.jobs[name]}:eval"]).fetchone()
            assert row is not None
            words[f"{name}_hash"] = row[0]
    statements, expected = BROKEN[what]
    tamper(copy.url, *(statement.format(**words) for statement in statements))
    findings = await found(copy.url)
    named = {(finding.invariant, finding.who) for finding in findings}
    assert {(number, who.format(**words)) for number, who in expected} <= named, findings
    touched = [name for name in copy.jobs if any(copy.jobs[name] in who for _, who in named)]
    assert len(touched) <= 2, findings  # what is healthy is not accused
    assert all(finding.what and str(finding.invariant) in finding.line for finding in findings)


async def test_a_late_payment_is_in_the_books(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> None:
    """Money that came for a job that had lapsed or was cancelled leaves the books right."""
    clock = Clock()
    rail = StubRail(tmp_path / "stub.sqlite3", clock)
    async with instance_of(
        database_url, tmp_path, rail=rail, clock=clock, agent=scripted_agent
    ) as instance:
        late, job = await instance.create("late"), await instance.to_work_invoice("cancelled")
        await instance.post(f"/api/jobs/{job['jobId']}/cancel")
        assert await audit(instance.parts.db) == []
        clock.forward(hours=2)
        await instance.until(late["jobId"], "failed")
        for invoice, job_id in (
            (late["evalInvoice"], late["jobId"]),
            (job["workInvoice"], job["jobId"]),
        ):
            await instance.pay(invoice, late=True)
            while "refunds" not in await instance.job(job_id):  # the push is on its way
                await asyncio.sleep(0.05)
        assert await audit(instance.parts.db) == []
        review = await Books(instance.parts).review()
        assert review.findings == () and review.rail.is_done


async def test_a_job_under_way_is_in_the_books(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """While an agent reads or works, its promise is being kept; deleted, it is found lost."""
    scripted_agent.go.clear()
    made = await instance.create("slow")
    await instance.pay(made["evalInvoice"])
    await scripted_agent.begun.wait()
    assert await audit(instance.parts.db) == []
    async with instance.parts.db.reads.connection() as connection:
        await connection.execute("DELETE FROM procrastinate_jobs")
    assert [(each.invariant, each.who) for each in await audit(instance.parts.db)] == [
        (8, f"{made['jobId']}:judge")
    ]
    scripted_agent.go.set()


async def test_the_rail_is_held_against_the_books_to_the_msat(
    instance: Instance, tmp_path: Path
) -> None:
    """What the operator had is set aside; a sat that goes missing is found, or more than one."""
    rail, stub, books = instance.parts.rail, instance.parts.stub, Books(instance.parts)
    own = await rail.create_invoice("the operator's own", sats_to_msat(50), "own", 600)
    assert isinstance(own, Opened) and stub is not None
    await stub.receive(own.payment_hash)
    assert "with 50000 msat beyond the books" in (await books.compare()).said
    await build(instance)
    await instance.http.request("DELETE", "/api/dev/stub/faults")
    while True:  # the payment that hung has settled, and the sweep will hear of it
        review = await books.review()
        assert review.findings == ()
        if "to the msat" in review.rail.said:
            break
        await asyncio.sleep(0.2)
    store = sqlite3.connect(tmp_path / "stub.sqlite3", isolation_level=None)
    for change, which in ((-1, "1 msat less"), (3000, "2999 msat more")):
        store.execute("UPDATE receipts SET amount_msat = amount_msat + ? WHERE seq = 1", [change])
        review = await books.review()
        [finding] = review.findings
        assert (finding.invariant, finding.who) == (3, "rail stub")
        assert which in finding.what
    accepted = await books.accept("the operator paid in 2999 msat")
    assert "to the msat" in accepted.said and (await books.review()).findings == ()
    store.close()


async def test_a_payment_that_is_not_booked_yet_is_not_a_finding(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> None:
    """Between a payment and its entry the rail holds more; it says so, and is asked about it."""
    slow = {"SWEEP_S": 3600}
    async with instance_of(database_url, tmp_path, agent=scripted_agent, **slow) as instance:
        books = Books(instance.parts)
        await books.compare()
        made = await instance.create("paid and not heard")
    # Nothing runs any more that could hear of the payment.
    wallet = StubRail(tmp_path / "stub.sqlite3", wall_clock)
    await wallet.receive(made["evalInvoice"]["paymentHash"])
    await wallet.close()
    deaf = _Deaf(tmp_path / "stub.sqlite3")
    async with instance_of(
        database_url, tmp_path, agent=scripted_agent, rail=deaf, **slow
    ) as instance:
        compared = await Books(instance.parts).compare()
        assert compared.finding is None and "not booked yet" in compared.said


class _Deaf(StubRail):
    """A rail that does not tell of payments until it is asked about one of them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, wall_clock)

    async def pushes(self) -> AsyncIterator[None]:  # type: ignore[override]
        """Tell of nothing, for ever."""
        await asyncio.Event().wait()
        yield None


@pytest.fixture
async def on_lnbits(
    database_url: str, tmp_path: Path, lnbits: LnbitsServer, fault_proxy: FaultProxy
) -> AsyncIterator[Instance]:
    """An instance whose rail is the real LNbits, seen through the fault proxy."""
    rail = LnbitsRail(fault_proxy.url, lnbits.us.adminkey, clock=wall_clock, timeout_s=3)
    async with instance_of(database_url, tmp_path, rail=rail) as running:
        yield running


async def test_the_books_agree_with_a_real_lnbits(
    on_lnbits: Instance, lnbits: LnbitsServer, fault_proxy: FaultProxy
) -> None:
    """After whole jobs and a refund whose answer was lost: to the msat; 7 sats gone are named."""
    books = Books(on_lnbits.parts)
    assert "first time" in (await books.compare()).said
    done = await buy(on_lnbits, lnbits, "done")
    await buy(on_lnbits, lnbits, "BREAK-WORK")
    made = await on_lnbits.create("REJECT")
    await lnbits.pay(lnbits.buyer, made["evalInvoice"]["paymentRequest"])
    await on_lnbits.until(made["jobId"], "rejected")
    review = await books.review()
    assert review.findings == () and "to the msat" in review.rail.said
    sats = done["costLedger"]["refundAmountSats"]
    invoice = await lnbits.create_invoice(lnbits.buyer, sats)
    fault_proxy.inject("answer lost", method="POST", prefix="/api/v1/payments")
    claim = asyncio.create_task(
        on_lnbits.post(f"/api/jobs/{done['jobId']}/refund", {"invoice": invoice})
    )
    await refund_is(on_lnbits, done["jobId"], "in_flight", "paid")
    assert (await books.review()).findings == ()  # whether it is known already or not
    await claim
    await refund_is(on_lnbits, done["jobId"], "paid")
    review = await books.review()
    assert review.findings == () and "to the msat" in review.rail.said
    await lnbits.pay(lnbits.us, await lnbits.create_invoice(lnbits.buyer, 7))
    [finding] = (await books.review()).findings
    assert (finding.invariant, finding.who) == (3, "rail lnbits")
    assert "7000 msat less" in finding.what


async def test_a_rail_that_does_not_answer_is_not_a_finding(
    on_lnbits: Instance, fault_proxy: FaultProxy
) -> None:
    """What could not be compared is said, and is neither right nor wrong."""
    fault_proxy.inject("503", times=1)
    review = await Books(on_lnbits.parts).review()
    assert review.findings == () and not review.rail.is_done
    assert "did not tell" in review.rail.said


async def test_the_review_runs_by_itself_and_is_shown(database_url: str, tmp_path: Path) -> None:
    """Readiness tells of findings and stays ready; the metrics count them by invariant."""
    async with instance_of(
        database_url, tmp_path, agent=ScriptedAgent(), RECONCILE_S=1
    ) as instance:
        job = await instance.to_end("hello")

        async def books_are(status: str) -> dict[str, Any]:
            for _ in range(200):
                answer = await instance.http.get("/api/readyz")
                assert answer.status_code == 200
                if answer.json()["books"]["status"] == status:
                    return dict(answer.json()["books"])
                await asyncio.sleep(0.1)  # the review has no other way to tell
            raise AssertionError(f"the books were never {status}")

        assert (await books_are("ok"))["findings"] == 0
        tamper(database_url, f"UPDATE job SET max_msat = 1000 WHERE id = '{job['jobId']}'")
        told = await books_are("wrong")
        assert told["findings"] == 1 and told["reviewedAt"]
        metrics = (await instance.http.get("/metrics")).text
        for line in (
            'boltwork_books_findings{invariant="6"} 1.0',
            'boltwork_books_findings{invariant="1"} 0.0',
            'boltwork_payouts{standing="owed"} 1.0',
            'boltwork_payouts{standing="stuck"} 0.0',
            f'boltwork_payouts_msat{{standing="owed"}}'
            f" {job['costLedger']['refundAmountSats'] * 1000}.0",
            'boltwork_jobs{state="complete"} 1.0',
            'boltwork_promises_waiting{kind="Work"} 0.0',
        ):
            assert line in metrics, line
        assert job["jobId"] not in metrics
