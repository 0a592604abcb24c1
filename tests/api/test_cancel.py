"""A buyer who wants a job no more: until it is paid for, it ends; afterwards it goes on."""

import asyncio

import pytest

from db import ledger
from tests.world.house_fixtures import Instance
from tests.world.pay_server import PayServer
from tests.world.refund_fixtures import nothing_is_lost, until_refund, wallet_of
from tests.world.scripted_agent import ScriptedAgent

pytestmark = pytest.mark.one_instance


@pytest.mark.one_instance(False)
async def test_a_job_is_cancelled_once(instance: Instance) -> None:
    """Cancelling again answers the same; nothing was charged, nothing is owed."""
    made = await instance.create()
    path = f"/api/jobs/{made['jobId']}/cancel"
    first, second = await instance.post(path), await instance.post(path)
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert first.headers["etag"] == second.headers["etag"]
    assert "refunds" not in first.json() and "evalInvoice" not in first.json()
    assert await ledger.trial_balance(instance.built.db) == []


@pytest.mark.parametrize(
    ("request_", "state", "says"),
    [
        ("hello", "complete", "has ended"),
        ("BREAK-WORK", "failed", "has ended"),
    ],
)
async def test_a_job_that_has_ended_can_not_be_cancelled(
    instance: Instance, request_: str, state: str, says: str
) -> None:
    """Too late is a 409 that says so, and changes nothing."""
    job = await instance.to_end(request_)
    assert job["state"] == state
    answer = await instance.post(f"/api/jobs/{job['jobId']}/cancel")
    assert answer.status_code == 409 and says in answer.json()["error"]
    assert await instance.job(job["jobId"]) == job


async def test_work_that_is_paid_for_can_not_be_cancelled(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """While the agent works, the job goes on."""
    job = await instance.to_work_invoice()
    scripted_agent.go.clear()
    await instance.pay(job["workInvoice"])
    await instance.until(job["jobId"], "executing")
    answer = await instance.post(f"/api/jobs/{job['jobId']}/cancel")
    assert answer.status_code == 409 and "under way" in answer.json()["error"]
    scripted_agent.go.set()
    await instance.until(job["jobId"], "complete")


async def test_a_job_that_is_not_there_can_not_be_cancelled(instance: Instance) -> None:
    """An unknown id is a 404."""
    assert (await instance.post(f"/api/jobs/{'0' * 32}/cancel")).status_code == 404


async def test_a_payment_and_a_cancel_at_once_lose_nothing(
    lenient: Instance, stranger: PayServer
) -> None:
    """Whichever comes first, the money is worked for or goes back."""
    wallet_of(lenient, stranger)
    job = await lenient.to_work_invoice(refundTo=stranger.url)
    job_id = job["jobId"]
    cancelled, _ = await asyncio.gather(
        lenient.post(f"/api/jobs/{job_id}/cancel"), lenient.pay(job["workInvoice"])
    )
    assert cancelled.status_code in (200, 409)
    await lenient.until(job_id, "complete", "failed")
    job = await until_refund(lenient, job_id, refundState="paid")
    await nothing_is_lost(lenient, refunded_sats=job["refunds"][0]["amountSats"])
