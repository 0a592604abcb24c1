"""The pages in a real browser: a whole purchase, by code and by form, with and without a script."""

import json
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from app.keys.receipt_check import keys_in, verify
from db.audit import audit
from payments.lnurl import decode
from pricing.money import Msat
from statemachine.public_id import public_id
from tests.world.house_fixtures import Instance
from tests.world.lnbits_server import LnbitsServer
from tests.world.page_fixtures import Visitor, order
from tests.world.patience import PATIENCE_S
from tests.world.refund_fixtures import until_refund
from tests.world.scripted_agent import ScriptedAgent

pytestmark = pytest.mark.one_instance
Come = Callable[..., Awaitable[Visitor]]


def invoice_in(code: str) -> str:
    """Return the invoice or LNURL that a wallet makes of a QR code."""
    assert code.startswith("LIGHTNING:") and code.isupper()
    return code.removeprefix("LIGHTNING:").lower()


async def test_a_job_is_bought_with_a_wallet_that_scans_codes(
    lenient_on_lnbits: Instance, lnbits: LnbitsServer, visit: Come
) -> None:
    """Both invoices are paid from their codes through LNbits, the page follows by itself, and the
    refund's code is taken by another wallet's LNURL client: no sat is missing anywhere.
    """
    wallet = await lnbits.new_wallet()
    visitor = await visit(lenient_on_lnbits.url)
    page = visitor.page
    job_id = await order(visitor, "Write *one* line.")
    await lnbits.pay(lnbits.buyer, invoice_in(await visitor.code()))
    await visitor.headline("Pay for the work")
    link = await page.get_attribute(".qr-link", "href") or ""
    scanned = invoice_in(await visitor.code())
    assert link == f"lightning:{scanned}"
    await lnbits.pay(lnbits.buyer, scanned)
    await visitor.headline("Done")
    assert await page.inner_text("[data-result]") == "done: Write one line."  # Markdown
    async with page.expect_download() as downloading:
        await page.click("text=Signed receipt")
    receipt = json.loads((await (await downloading.value).path()).read_text())
    jwks = (await lenient_on_lnbits.http.get("/.well-known/jwks.json")).json()
    assert verify(receipt["receipt"], keys_in(jwks))["publicId"] == public_id(job_id)

    lnurl = invoice_in(await visitor.code("#refunds .qr"))
    assert decode(lnurl) is not None
    offer = await lnbits.scan(wallet, lnurl)
    await lnbits.withdraw(wallet, offer)
    await page.locator("#refunds .ok").wait_for()  # by itself
    job = await until_refund(lenient_on_lnbits, job_id, refundState="paid")
    assert await lnbits.balance_msat(wallet) == job["refunds"][0]["amountSats"] * 1000
    assert await audit(lenient_on_lnbits.built.db) == []


async def test_a_job_is_bought_without_a_script(instance: Instance, visit: Come) -> None:
    """Forms and reloads do all of it, also the refund to an invoice."""
    visitor = await visit(instance.url, java_script_enabled=False)
    page = visitor.page
    job_id = await order(visitor, "Say hello.")
    assert await page.locator("[data-copy]").first.is_hidden()
    invoice = (await page.locator("[data-invoice]").text_content() or "").strip()
    assert f"LIGHTNING:{invoice.upper()}" == await visitor.code()
    await page.click("[data-stub-pay]")
    await visitor.reloaded_until("Pay for the work")
    await page.locator("noscript").first.wait_for(state="attached")
    await page.click("[data-stub-pay]")
    await visitor.reloaded_until("Done")
    assert await page.inner_text("[data-result]") == "done: Say hello."
    sats = (await instance.job(job_id))["refunds"][0]["amountSats"]
    await page.fill("#to", "nobody")
    await page.click("#refunds .row .button >> nth=0")
    assert "Lightning address" in await page.inner_text("#refunds [role=alert]")
    assert await page.input_value("#to") == "nobody"
    assert instance.built.stub is not None
    mine = await instance.built.stub.buyer_invoice(Msat(sats * 1000), "mine", 600)
    await page.fill("#to", f"lightning:{mine.bolt11}")
    await page.click("#refunds .row .button >> nth=0")
    assert "It has arrived" in await page.inner_text("#refunds")
    assert page.url == f"{instance.url}/jobs/{job_id}#refunds"
    assert (await instance.job(job_id))["refunds"][0]["refundState"] == "paid"
    assert await audit(instance.built.db) == []


async def test_the_page_reloads_itself_where_there_is_no_script(
    instance: Instance, scripted_agent: ScriptedAgent, visit: Come
) -> None:
    """While something goes on it looks again by itself; a script takes that over."""
    scripted_agent.go.clear()
    made = await instance.create("hello")
    await instance.pay(made["evalInvoice"])
    await instance.until(made["jobId"], "evaluating")
    visitor = await visit(instance.url, java_script_enabled=False)
    await visitor.page.goto(f"/jobs/{made['jobId']}")
    assert "Evaluating" in await visitor.page.inner_text("h1")
    scripted_agent.go.set()
    await visitor.headline("Pay for the work")


async def test_the_page_follows_its_job_by_one_stream(instance: Instance, visit: Come) -> None:
    """It reads the job's events and asks nothing again and again; the state is told aloud."""
    visitor = await visit(instance.url)
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    job_id = await order(visitor, "hello")
    await instance.pay((await instance.job(job_id))["evalInvoice"])
    await visitor.headline("Pay for the work")
    assert "The agent accepted your request" in await visitor.page.inner_text("[role=status]")
    assert not [url for url in asked if "wait=" in url]
    job = await instance.until(job_id, "awaiting_work_payment", field="workInvoice")
    await instance.pay(job["workInvoice"])
    await visitor.headline("Done")
    assert len([url for url in asked if "/events?" in url]) == 1


async def test_the_demo_answers_on_the_page(instance: Instance, visit: Come) -> None:
    """With a script the answer stands below the question; without one it is a page of its own."""
    for scripted in (True, False):
        visitor = await visit(instance.url, java_script_enabled=scripted)
        await visitor.page.goto("/")
        await visitor.page.fill("#demo-request", "what is **rain**?")
        await visitor.page.click("#demo button")
        await visitor.page.locator("#answer .prose strong", has_text="rain").wait_for()
        assert (visitor.page.url == f"{instance.url}/") is scripted


async def test_what_it_would_cost_is_said_before(instance: Instance, visit: Come) -> None:
    """The estimate is the API's, what was written stays, and a wrong limit is told."""
    visitor = await visit(instance.url)
    page = visitor.page
    await page.goto("/")
    await page.fill("#request", "hello there")
    await page.click("text=What would it cost?")
    said = await page.inner_text(".estimate")
    estimated = (await instance.post("/api/estimate", {"request": "hello there"})).json()
    assert f"{estimated['totalSats']} sats at most in total" in said
    assert await page.input_value("#request") == "hello there"
    await page.click("summary >> nth=0")
    await page.fill("#refundTo", "not an address")
    await page.click("text=Get an invoice")
    await page.locator("[role=alert]").wait_for()
    assert await page.input_value("#refundTo") == "not an address"


async def test_a_form_sent_twice_is_one_job(instance: Instance) -> None:
    """A second click changes nothing; another text is another job."""
    async with httpx2.AsyncClient(base_url=instance.url, timeout=PATIENCE_S) as http:
        form = {"request": "hello", "key": "0" * 32}
        places = [(await http.post("/jobs", data=form)).headers["location"] for _ in range(2)]
        other = (await http.post("/jobs", data=form | {"request": "bye"})).headers["location"]
    assert places[0] == places[1] != other


async def test_a_job_is_cancelled_on_its_page(instance: Instance, visit: Come) -> None:
    """As long as it is not paid for."""
    visitor = await visit(instance.url)
    job_id = await order(visitor, "hello")
    await visitor.page.click("text=Cancel this job")
    await visitor.headline("Cancelled")
    assert (await instance.job(job_id))["state"] == "failed"


@pytest.mark.parametrize(
    ("request_text", "headline"), [("REJECT", "Declined"), ("BREAK-WORK", "Failed")]
)
async def test_how_a_job_ends_is_said(
    instance: Instance, visit: Come, request_text: str, headline: str
) -> None:
    """A declined one has its reason, a broken one its error and what is owed."""
    made = await instance.create(request_text)
    await instance.pay(made["evalInvoice"])
    job = await instance.until(made["jobId"], "rejected", "awaiting_work_payment")
    if job["state"] != "rejected":
        job = await instance.until(made["jobId"], "awaiting_work_payment", field="workInvoice")
        await instance.pay(job["workInvoice"])
        job = await instance.until(made["jobId"], "failed")
    visitor = await visit(instance.url)
    await visitor.page.goto(f"/jobs/{made['jobId']}")
    await visitor.headline(headline)
    told = await visitor.page.inner_text("main")
    assert (job.get("reason") or job["errorMessage"]) in told
    assert ("work that wasn’t done" in told) is ("refunds" in job)
