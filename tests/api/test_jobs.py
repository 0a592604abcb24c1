"""A job over HTTP, from the first invoice to the refund (seed 004, and surfaces.md)."""

import asyncio
import re

import pytest

from db import ledger
from statemachine.entries import Asset
from tests.world.house_fixtures import Instance
from tests.world.scripted_agent import ScriptedAgent

pytestmark = pytest.mark.one_instance


@pytest.mark.one_instance(False)
async def test_a_job_is_asked_judged_paid_done_and_refunded(instance: Instance) -> None:
    """The happy path ends complete, charged its true cost, with the rest paid back."""
    job = await instance.to_end("write a haiku")
    assert job["state"] == "complete"
    assert job["result"] == "done: write a haiku"
    costs = job["costLedger"]
    assert costs["workAmountSats"] == costs["actualAmountSats"] + costs["refundAmountSats"]
    assert costs["refundAmountSats"] > 0
    assert costs["refundState"] == "pending"
    mine = await instance.post("/api/dev/stub/invoice", {"amountSats": costs["refundAmountSats"]})
    claim = {"invoice": mine.json()["paymentRequest"]}
    paid = await instance.post(f"/api/jobs/{job['jobId']}/refund", claim)
    assert paid.status_code == 200, paid.text
    assert paid.json()["ok"] is True
    assert paid.json()["paymentHash"] == mine.json()["paymentHash"]
    again = await instance.post(f"/api/jobs/{job['jobId']}/refund", claim)
    assert again.status_code == 409
    job = await instance.job(job["jobId"])
    assert job["costLedger"]["refundState"] == "paid"
    books = {line.account: line for line in await ledger.trial_balance(instance.built.db)}
    assert all(line.kept == line.recomputed for line in books.values())
    held = await instance.built.rail.balance_msat()
    assert books["rail:lightning"].kept == held
    assert books["revenue:work"].kept == costs["actualAmountSats"] * 1000


@pytest.mark.one_instance(False)
async def test_a_rejected_job_costs_the_evaluation_only(instance: Instance) -> None:
    """A rejection keeps the fee, tells the reason, and makes no work invoice."""
    made = await instance.create("REJECT me")
    await instance.pay(made["evalInvoice"])
    job = await instance.until(made["jobId"], "rejected")
    assert "not done here" in job["reason"]
    assert "workInvoice" not in job and "refunds" not in job
    fee_msat = made["evalInvoice"]["amountSats"] * 1000
    assert await ledger.balance(instance.built.db, "revenue:eval", Asset.MSAT) == fee_msat


async def test_an_evaluation_that_breaks_owes_its_fee_back(instance: Instance) -> None:
    """What was paid for an evaluation that could not be done is claimable."""
    made = await instance.create("BREAK-JUDGE")
    await instance.pay(made["evalInvoice"])
    job = await instance.until(made["jobId"], "failed")
    assert job["refunds"][0]["amountSats"] == made["evalInvoice"]["amountSats"]
    assert job["refunds"][0]["refundState"] == "pending"


async def test_work_that_breaks_owes_its_whole_payment_back(instance: Instance) -> None:
    """A failed job answers the refund route, for all that was paid for the work."""
    job = await instance.to_end("BREAK-WORK")
    assert job["state"] == "failed"
    owed = job["refunds"][0]["amountSats"]
    assert owed == job["pricingBreakdown"]["totalSats"]
    mine = await instance.post("/api/dev/stub/invoice", {"amountSats": owed})
    paid = await instance.post(
        f"/api/jobs/{job['jobId']}/refund", {"invoice": mine.json()["paymentRequest"]}
    )
    assert paid.status_code == 200 and paid.json()["refundAmountSats"] == owed


async def test_an_agent_that_breaks_once_is_asked_again(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """A passing fault of an agent is retried, and the job ends complete."""
    job = await instance.to_end("FLAKY")
    assert job["state"] == "complete"
    assert scripted_agent.calls["judge", "FLAKY"] == 2
    assert scripted_agent.calls["work", "FLAKY"] == 2


@pytest.mark.one_instance(False)
async def test_fifty_polls_at_once_see_one_payment_once(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """However many polls see a payment, there is one evaluation, one work invoice, one charge."""
    made = await instance.create("only once")
    job_id = made["jobId"]
    await instance.pay(made["evalInvoice"])
    answers = await asyncio.gather(*(instance.job(job_id) for _ in range(50)))
    assert all(answer["jobId"] == job_id for answer in answers)
    job = await instance.until(job_id, "awaiting_work_payment", field="workInvoice")
    await instance.pay(job["workInvoice"])
    await asyncio.gather(*(instance.job(job_id) for _ in range(50)))
    job = await instance.until(job_id, "complete")
    assert scripted_agent.calls == {("judge", "only once"): 1, ("work", "only once"): 1}
    rows = await instance.built.db.read_all("SELECT key FROM entry ORDER BY id")
    assert [row["key"].split(":")[-1] for row in rows] == [
        "settled",
        "eval_earned",
        "settled",
        "charged",
    ]
    invoices = await instance.built.db.read_all("SELECT purpose FROM invoice ORDER BY purpose")
    assert [row["purpose"] for row in invoices] == ["eval", "work"]


@pytest.mark.one_instance(False)
async def test_a_limit_below_the_least_price_costs_nothing(instance: Instance) -> None:
    """What is certain to be declined for its price is refused before anything can be paid: 409
    with the least price, and that much is taken."""
    body = {"request": "too dear", "maxSats": 1}
    answer = await instance.post("/api/jobs", body)
    said = answer.json()
    assert (answer.status_code, said["code"]) == (409, "over_max_sats")
    least = said["leastSats"]
    assert least > 1 and f"at least {least} sats" in said["error"]
    assert await instance.built.db.read_all("SELECT id FROM job") == []
    under = await instance.post("/api/jobs", body | {"maxSats": least - 1})
    assert under.status_code == 409
    assert (await instance.post("/api/jobs", body | {"maxSats": least})).status_code == 201
    estimate = (await instance.post("/api/estimate", {"request": "too dear"})).json()
    assert least <= estimate["workSats"]


@pytest.mark.one_instance(False)
async def test_the_buyers_limit_is_law(instance: Instance, scripted_agent: ScriptedAgent) -> None:
    """A job whose work would cost more than maxSats is rejected before its invoice exists."""
    refused = await instance.post("/api/jobs", {"request": "too dear", "maxSats": 1})
    scripted_agent.reads = 1_000_000
    made = await instance.create("too dear", maxSats=refused.json()["leastSats"])
    await instance.pay(made["evalInvoice"])
    job = await instance.until(made["jobId"], "rejected")
    assert "maxSats" in job["reason"]
    rows = await instance.built.db.read_all("SELECT purpose FROM invoice")
    assert [row["purpose"] for row in rows] == ["eval"]


async def test_a_poll_says_nothing_new_with_304(instance: Instance) -> None:
    """The ETag changes when the job does, and If-None-Match saves the body."""
    made = await instance.create()
    path = f"/api/jobs/{made['jobId']}"
    first = await instance.http.get(path)
    same = await instance.http.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert same.status_code == 304 and same.content == b""
    assert int(first.headers["retry-after"]) >= 1
    await instance.pay(made["evalInvoice"])
    await instance.until(made["jobId"], "awaiting_work_payment")
    other = await instance.http.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200 and other.headers["etag"] != first.headers["etag"]


async def test_a_waiting_poll_answers_as_soon_as_something_changes(instance: Instance) -> None:
    """GET with wait= holds until the job changes."""
    made = await instance.create()
    path = f"/api/jobs/{made['jobId']}"
    first = await instance.http.get(path)
    held = asyncio.create_task(
        instance.http.get(
            path, params={"wait": "55"}, headers={"If-None-Match": first.headers["etag"]}
        )
    )
    await asyncio.sleep(0)
    await instance.pay(made["evalInvoice"])
    answer = await held
    assert answer.status_code == 200
    assert answer.json()["state"] != "awaiting_eval_payment"


async def test_one_idempotency_key_makes_one_job(instance: Instance) -> None:
    """Fifty equal requests with one key make one job and get one answer; another body is 409."""
    headers = {"Idempotency-Key": "the same, fifty times"}
    answers = await asyncio.gather(
        *(instance.post("/api/jobs", {"request": "once"}, headers=headers) for _ in range(50))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    other = await instance.post("/api/jobs", {"request": "twice"}, headers=headers)
    assert other.status_code == 409


async def test_money_that_nobody_awaits_is_owed_back(instance: Instance) -> None:
    """An overpaid invoice credits its amount; the rest is owed back at once."""
    made = await instance.create()
    sats = made["evalInvoice"]["amountSats"]
    await instance.pay(made["evalInvoice"], amountSats=sats + 7)
    job = await instance.until(made["jobId"], "awaiting_work_payment")
    assert [(r["reason"], r["amountSats"]) for r in job["refunds"]] == [("overpaid", 7)]


@pytest.mark.one_instance(False)
async def test_an_estimate_is_free_and_keeps_its_word(instance: Instance) -> None:
    """The quote of a job is never above its estimate, and an estimate writes nothing."""
    estimate = await instance.post("/api/estimate", {"request": "hello"})
    assert estimate.status_code == 200
    assert await instance.built.db.read_all("SELECT id FROM job") == []
    job = await instance.to_work_invoice("hello")
    assert job["workInvoice"]["amountSats"] <= estimate.json()["workSats"]
    assert "fixed" in job["pricingBreakdown"]["priceNote"]


async def test_an_answer_from_memory_is_never_stale(instance: Instance) -> None:
    """A job is answered from memory only while Postgres says that it is the same."""
    job = await instance.to_end("BREAK-WORK")
    path = f"/api/jobs/{job['jobId']}"
    owed = job["refunds"][0]["amountSats"]
    mine = await instance.post("/api/dev/stub/invoice", {"amountSats": owed})
    await instance.post(f"{path}/refund", {"invoice": mine.json()["paymentRequest"]})
    first, second = await instance.http.get(path), await instance.http.get(path)
    assert first.json() == second.json() and first.headers["etag"] == second.headers["etag"]
    assert second.json()["refunds"][0]["refundState"] == "paid"
    same = await instance.http.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert same.status_code == 304
    async with instance.built.db.reads.connection() as connection:
        await connection.execute("UPDATE job SET version = version + 1, error = 'changed'")
    assert (await instance.http.get(path)).json()["errorMessage"] == "changed"


async def test_a_job_says_its_fee_and_what_it_costs_in_all(instance: Instance) -> None:
    """`evalFeeSats` from the first; `totalSats` is the most it can cost once the work is quoted,
    and what it did cost when it is complete. Reasons of refunds are single words."""
    made = await instance.create("hello")
    fee = made["evalInvoice"]["amountSats"]
    first = (await instance.http.get(f"/api/jobs/{made['jobId']}")).json()
    assert first["evalFeeSats"] == fee and "totalSats" not in first
    await instance.pay(made["evalInvoice"])
    quoted = await instance.until(made["jobId"], "awaiting_work_payment")
    assert quoted["totalSats"] == fee + quoted["pricingBreakdown"]["totalSats"]
    done = await instance.to_end("hello again")
    assert done["totalSats"] == fee + done["costLedger"]["actualAmountSats"]
    assert all(re.fullmatch("[a-z_]+", refund["reason"]) for refund in done["refunds"])
