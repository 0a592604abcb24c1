"""What time does to a job: invoices lapse, late money comes back, lost promises are made again."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.plant import loops_of
from db import ledger
from payments.stub import StubRail
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance, instance_of
from tests.world.scripted_agent import ScriptedAgent


@pytest.fixture
def clock() -> Clock:
    """A clock that a test moves."""
    return Clock()


@pytest.fixture
async def timed(
    database_url: str, tmp_path: Path, clock: Clock, scripted_agent: ScriptedAgent
) -> AsyncIterator[Instance]:
    """An instance that lives by the test's clock."""
    rail = StubRail(tmp_path / "stub.sqlite3", clock)
    async with instance_of(
        database_url, tmp_path, rail=rail, clock=clock, agent=scripted_agent
    ) as running:
        yield running


async def test_an_invoice_that_nobody_pays_lapses(timed: Instance, clock: Clock) -> None:
    """The job fails, says why, and nothing was charged."""
    made = await timed.create()
    clock.forward(hours=2)
    job = await timed.until(made["jobId"], "failed")
    assert "not paid in time" in job["errorMessage"]
    assert "evalInvoice" not in job and "refunds" not in job
    assert await ledger.trial_balance(timed.built.db) == []


async def test_a_payment_in_the_last_moment_counts(timed: Instance, clock: Clock) -> None:
    """Paid before its expiry and seen after it: the job goes on."""
    job = await timed.to_work_invoice()
    await timed.pay(job["workInvoice"])
    clock.forward(hours=2)
    job = await timed.until(job["jobId"], "complete")
    assert job["result"] == "done: hello"


@pytest.mark.parametrize("purpose", ["eval", "work"])
async def test_a_late_payment_is_owed_back(timed: Instance, clock: Clock, purpose: str) -> None:
    """Money for an invoice that lapsed is its payer's, shown as such, and claimable."""
    if purpose == "eval":
        made = await timed.create()
        invoice, job_id = made["evalInvoice"], made["jobId"]
    else:
        job = await timed.to_work_invoice()
        invoice, job_id = job["workInvoice"], job["jobId"]
    clock.forward(hours=2)
    await timed.until(job_id, "failed")
    version = (await timed.http.get(f"/api/jobs/{job_id}")).headers["etag"]
    await timed.pay(invoice, late=True)
    job = await timed.job(job_id)
    while "refunds" not in job:  # the push is on its way
        changed, stop = timed.built.signals.watch(job_id)
        await timed.built.signals.wait(changed, 0.2)
        stop()
        job = await timed.job(job_id)
    assert version != (await timed.http.get(f"/api/jobs/{job_id}")).headers["etag"]
    assert [(r["reason"], r["amountSats"]) for r in job["refunds"]] == [
        ("unawaited", invoice["amountSats"])
    ]
    mine = await timed.post("/api/dev/stub/invoice", {"amountSats": invoice["amountSats"]})
    claim = {"invoice": mine.json()["paymentRequest"]}
    paid = await timed.post(f"/api/jobs/{job_id}/refund", claim)
    assert paid.status_code == 200, paid.text


async def test_a_job_ends_though_the_rail_does_not_say(timed: Instance, clock: Clock) -> None:
    """LNbits never calls an expired invoice unpaid: after an hour more, the job fails."""
    made = await timed.create()
    assert timed.built.stub is not None
    await timed.built.stub.script_fault("look_up_invoice", "5xx", times=1_000_000)
    clock.forward(minutes=90)
    await loops_of(timed.built).expiry.turn()
    assert (await timed.job(made["jobId"]))["state"] == "awaiting_eval_payment"
    clock.forward(minutes=45)
    job = await timed.until(made["jobId"], "failed")
    assert "not paid in time" in job["errorMessage"]


async def test_a_promise_that_was_lost_is_made_again(
    timed: Instance, clock: Clock, scripted_agent: ScriptedAgent
) -> None:
    """A job whose task is gone altogether is found by the sweep, and ends."""
    scripted_agent.go.clear()
    made = await timed.create()
    await timed.pay(made["evalInvoice"])
    await scripted_agent.begun.wait()
    async with timed.built.db.reads.connection() as connection:
        await connection.execute("DELETE FROM procrastinate_jobs")
    clock.forward(minutes=5)
    scripted_agent.go.set()
    await timed.until(made["jobId"], "awaiting_work_payment")


async def test_without_a_price_a_job_is_refused_and_a_paid_one_waits(
    database_url: str, tmp_path: Path
) -> None:
    """No source and no fallback: 503 with Retry-After, and the readiness page says which part."""
    from pricing.oracle import Oracle, parse_sources

    sources = parse_sources("nobody=http://127.0.0.1:9/#usd")
    oracle = Oracle(
        sources, clock=lambda: datetime.now(UTC), fallback_microusd=None, development_microusd=None
    )
    async with instance_of(database_url, tmp_path, oracle=oracle) as running:
        answer = await running.post("/api/jobs", {"request": "hello"})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "price" in answer.json()["error"]
        ready = await running.http.get("/api/readyz")
        assert ready.status_code == 503
        assert ready.json()["price"]["status"] == "unavailable"
        assert ready.json()["database"]["status"] == "ok"
