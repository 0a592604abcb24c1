"""The auditor: whatever is broken by hand is found and named, and healthy books give no finding."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from app.plant import books_of
from db.audit import audit
from db.migrate import migrate
from payments.stub import StubRail
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance, instance_of
from tests.world.scripted_agent import ScriptedAgent
from tests.world.town import Town, build, copied, found, tamper

_numbers = itertools.count(1)


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
        assert await audit(instance.built.db) == []
    yield Town(url, jobs)


@pytest.fixture
def copy(town: Town) -> Iterator[Town]:
    """A copy of the town, to be broken."""
    with copied(town.url) as url:
        yield Town(url, town.jobs)


async def test_healthy_books_give_no_finding(copy: Town) -> None:
    """Complete, rejected, failed, unpaid, over-paid, refunded, and in flight: nothing is wrong."""
    assert await found(copy.url) == []


CHARGED = "(SELECT id FROM entry WHERE key = 'job:{done}:charged')"
ATTEMPT = (
    "INSERT INTO payout_attempt (payment_hash, payout_id, number, bolt11, fee_limit_msat,"
    " sent_msat, borne_msat, free_msat, expires_at, outcome, fee_msat, checks)"
    " VALUES ({hash}, '{payout}', 2, 'x', 0, 0, 0, 0, now(),"
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
            "INSERT INTO job_history (job_id, version, event, state, at)"
            " SELECT id, version, 'x', state, now() FROM job WHERE id = '{done}'",
        ],
        [(6, "{done}"), (7, "job:{done}"), (8, "{done}:do")],
    ),
    "a second line of one version": (
        [
            "INSERT INTO job_history (job_id, version, event, state, at)"
            " SELECT id, version, 'x', state, now() FROM job WHERE id = '{done}'"
        ],
        [(6, "{done}")],
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
            " task_name, lock, args FROM procrastinate_jobs, generate_series(1, 2)"
            " WHERE lock = '{waiting}:work'"
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
        assert await audit(instance.built.db) == []
        clock.forward(hours=2)
        await instance.until(late["jobId"], "failed")
        for invoice, job_id in (
            (late["evalInvoice"], late["jobId"]),
            (job["workInvoice"], job["jobId"]),
        ):
            await instance.pay(invoice, late=True)
            while "refunds" not in await instance.job(job_id):  # the push is on its way
                await asyncio.sleep(0.05)
        assert await audit(instance.built.db) == []
        review = await books_of(instance.built).review()
        assert review.findings == () and review.rail.is_done


async def test_a_job_under_way_is_in_the_books(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """While an agent reads or works, its promise is being kept; deleted, it is found lost."""
    scripted_agent.go.clear()
    made = await instance.create("slow")
    await instance.pay(made["evalInvoice"])
    await scripted_agent.begun.wait()
    assert await audit(instance.built.db) == []
    async with instance.built.db.reads.connection() as connection:
        await connection.execute("DELETE FROM procrastinate_jobs")
    assert [(each.invariant, each.who) for each in await audit(instance.built.db)] == [
        (8, f"{made['jobId']}:judge")
    ]
    scripted_agent.go.set()
