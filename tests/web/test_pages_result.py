"""What a buyer can do with a job that has ended, and what its page says that it cost."""

from collections.abc import Awaitable, Callable

import pytest

from db.audit import audit
from tests.world.house_fixtures import Instance
from tests.world.page_fixtures import Visitor

pytestmark = pytest.mark.one_instance
Come = Callable[..., Awaitable[Visitor]]


async def total(visitor: Visitor) -> int:
    """Return the sats of the bill's last sum."""
    return int(await visitor.page.inner_text("[data-total] dd > .n >> nth=0"))


async def test_a_result_is_copied_and_asked_for_again(instance: Instance, visit: Come) -> None:
    """One button puts it on the clipboard as it was written, one edits the request, one begins
    another; the total holds the evaluation too.
    """
    job = await instance.to_end("Write *two*\nlines.")
    visitor = await visit(instance.url, permissions=["clipboard-read", "clipboard-write"])
    page = visitor.page
    await page.goto(f"/jobs/{job['jobId']}")
    await page.click("text=Copy result")
    await page.locator("text=Copied").wait_for()
    assert await page.evaluate("navigator.clipboard.readText()") == job["result"]
    said = await page.inner_text("#part-price")
    receipt = (await instance.http.get(f"/api/jobs/{job['jobId']}/receipt")).json()
    paid = sum(p["receivedMsat"] for p in receipt["payload"]["payments"]) // 1000
    back = sum(refund["amountSats"] for refund in job["refunds"])
    assert await total(visitor) == paid - back and "Evaluation" in said
    await page.click("text=Edit and ask again")
    await page.locator(".estimate").wait_for()
    assert await page.input_value("#request") == "Write *two*\nlines."
    await page.go_back()
    await page.click("text=Ask something else")
    await page.locator("#buy").wait_for()


@pytest.mark.parametrize("scripted", [True, False])
async def test_the_demo_wallet_takes_a_refund(
    instance: Instance, visit: Come, scripted: bool
) -> None:
    """Where the payments are simulated, so are those that go back: one button, no invoice."""
    job = await instance.to_end()
    visitor = await visit(instance.url, java_script_enabled=scripted)
    await visitor.page.goto(f"/jobs/{job['jobId']}")
    await visitor.page.click("[data-stub-refund]")
    await visitor.page.locator("#refunds .ok").wait_for()
    assert (await instance.job(job["jobId"]))["refunds"][0]["refundState"] == "paid"
    assert await audit(instance.built.db) == []


async def test_a_declined_job_says_that_its_fee_is_kept(instance: Instance, visit: Come) -> None:
    """And that nothing else was charged."""
    made = await instance.create("REJECT")
    await instance.pay(made["evalInvoice"])
    await instance.until(made["jobId"], "rejected")
    visitor = await visit(instance.url)
    await visitor.page.goto(f"/jobs/{made['jobId']}")
    await visitor.headline("Declined")
    fee = made["evalInvoice"]["amountSats"]
    said = await visitor.page.inner_text("[data-say]")
    assert f"The evaluation fee of {fee} sats is kept; nothing else was charged." in said
    assert await total(visitor) == fee


async def test_a_cancelled_job_says_so(instance: Instance, visit: Come) -> None:
    """Before the fee was paid it has cost nothing, and after that the fee alone."""
    unpaid, read = await instance.create("hello"), await instance.to_work_invoice("hello")
    visitor = await visit(instance.url)
    for job, fee in ((unpaid, 0), (read, 5)):
        await visitor.page.goto(f"/jobs/{job['jobId']}")
        await visitor.page.click("text=Cancel this job")
        await visitor.headline("Cancelled")
        assert await total(visitor) == fee


async def test_a_failed_job_says_whose_fault_it_is(instance: Instance, visit: Come) -> None:
    """What it has cost is what is kept: the evaluation, as the work is refunded."""
    job = await instance.to_end("BREAK-WORK")
    visitor = await visit(instance.url)
    await visitor.page.goto(f"/jobs/{job['jobId']}")
    await visitor.headline("Failed")
    assert "Your refund is below" in await visitor.page.inner_text("[data-say]")
    assert await total(visitor) == 5
