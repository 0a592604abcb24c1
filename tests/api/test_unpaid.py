"""What nobody paid for leaves nothing behind after a day, and later money is not lost."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from app.plant import loops_of
from db import payouts
from db.audit import audit
from payments.stub import StubRail
from payments.usdc.stub_facilitator import FILE, StubFacilitator
from tests.world.asking import OFFER, ask
from tests.world.batch_doors import ended, sold_by
from tests.world.clock import Clock
from tests.world.contract import refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import patiently
from tests.world.pay_server import PayServer
from tests.world.purging import purge, rows_of, taken_in
from tests.world.refund_fixtures import wallet_of
from tests.world.scripted_maker import ScriptedMaker
from tests.world.session_fixtures import Holder, books_are_right, held, made
from tests.world.usdc_doors import asked_in, signed
from tests.world.usdc_fixtures import Payer

TEXT = "€" * 20_000  # 60 kB


@pytest.fixture
async def lenient_timed(database_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Instance]:
    """An instance that lives by the test's clock and may ask servers on this machine."""
    rail = StubRail(tmp_path / "stub.sqlite3", clock)
    async with instance_of(
        database_url, tmp_path, rail=rail, clock=clock, ALLOW_PRIVATE_DESTINATIONS=True
    ) as running:
        yield running


async def _job(instance: Instance) -> None:
    await instance.create(TEXT)


async def _named_job(instance: Instance) -> None:
    name = {"Idempotency-Key": "0123456789abcdef0123456789abcdef"}
    assert (await instance.post("/api/jobs", {"request": TEXT}, headers=name)).status_code == 201


async def _cancelled_job(instance: Instance) -> None:
    job = await instance.create(TEXT)
    await instance.post(f"/api/jobs/{job['jobId']}/cancel")


async def _offer(instance: Instance) -> None:
    assert (await instance.post("/api/ask", {"request": TEXT})).status_code == 402


async def _session(instance: Instance) -> None:
    await made(instance, 1_000)


UNPAID: dict[str, Callable[[Instance], Awaitable[None]]] = {
    "a job": _job,
    "a job of a name": _named_job,
    "a job that was cancelled": _cancelled_job,
    "an offer": _offer,
    "a session": _session,
}


@pytest.mark.parametrize("what", UNPAID)
async def test_what_nobody_paid_for_is_gone_a_day_after_it_lapsed(
    timed: Instance, clock: Clock, what: str
) -> None:
    """No row of it is left in any table but a slim one, and after a week not even that."""
    before = await rows_of(timed)
    await UNPAID[what](timed)
    clock.forward(hours=24)
    await purge(timed)
    assert (await rows_of(timed))["invoice"] == 1, "it lapsed less than a day ago"
    clock.forward(hours=2)
    await purge(timed)
    assert await rows_of(timed) == before | {"lapsed_invoice": 1}
    clock.forward(days=7)
    await purge(timed)
    await taken_in(timed)  # asked about for the last time
    assert await rows_of(timed) == before
    assert await audit(timed.built.db) == []


async def test_what_was_paid_while_nobody_was_there_to_ask_is_owed_back(
    database_url: str, tmp_path: Path, clock: Clock
) -> None:
    """A server that was off for longer than it remembers asks before it forgets."""
    async with instance_of(
        database_url, tmp_path, rail=StubRail(tmp_path / "stub.sqlite3", clock), clock=clock
    ) as before:
        job = await before.create(TEXT)
        clock.forward(hours=26)
        await purge(before)
    rail = StubRail(tmp_path / "stub.sqlite3", clock)
    await rail.receive(job["evalInvoice"]["paymentHash"], late=True)
    await rail.close()
    clock.forward(days=8)
    async with instance_of(
        database_url, tmp_path, rail=StubRail(tmp_path / "stub.sqlite3", clock), clock=clock
    ) as after:
        await loops_of(after.built).unpaid.turn()
        await taken_in(after)
        shown = await after.until(job["jobId"], "failed", field="refunds")
        assert shown["refunds"][0]["amountSats"] == job["evalInvoice"]["amountSats"]
        await books_are_right(after)


async def test_a_rail_that_never_answers_is_asked_for_two_months(
    lenient_timed: Instance, clock: Clock
) -> None:
    """Then what it was to tell of is forgotten, and not before."""
    timed, loops = lenient_timed, loops_of(lenient_timed.built)
    await timed.create(TEXT)
    clock.forward(hours=26)
    await purge(timed)
    fault = {"call": "look_up_invoice", "fault": "5xx", "times": 1_000}
    assert (await timed.post("/api/dev/stub/faults", fault)).status_code == 200
    for days, kept in ((50, 1), (11, 0)):
        clock.forward(days=days)
        await loops.sweep.turn()
        await loops.unpaid.turn()
        row = await timed.built.db.read_one("SELECT count(*) AS n FROM lapsed_invoice")
        assert row is not None and row["n"] == kept


async def test_a_thousand_bytes_of_what_nobody_paid_for_are_kept_at_most(
    timed: Instance, clock: Clock
) -> None:
    """However long the request was, and wherever the refund should have gone."""
    await timed.create(TEXT)
    clock.forward(hours=26)
    await purge(timed)
    row = await timed.built.db.read_one("SELECT pg_column_size(l.*) AS n FROM lapsed_invoice l")
    assert row is not None and row["n"] < 1_000


async def test_what_was_paid_for_stays(timed: Instance, clock: Clock) -> None:
    """A job whose evaluation was paid and whose work was not; a session with an unpaid top-up."""
    job = await timed.to_work_invoice()
    holder = await held(timed)
    await holder.top_up(500)
    clock.forward(hours=26)
    await purge(timed)
    assert (await timed.job(job["jobId"]))["state"] == "failed"
    status = await holder.status()
    assert status["refunds"][0]["amountSats"] == 2_000 and "pendingTopup" not in status
    assert (await rows_of(timed))["lapsed_invoice"] == 1
    await books_are_right(timed)


async def test_a_payment_of_a_purged_job_is_owed_back_under_its_id(
    timed: Instance, clock: Clock
) -> None:
    """Its payer finds it where he left it, and takes it as any refund."""
    job = await timed.create(TEXT)
    clock.forward(hours=26)
    await purge(timed)
    assert (await timed.http.get(f"/api/jobs/{job['jobId']}")).status_code == 404
    await timed.pay(job["evalInvoice"], late=True)
    await taken_in(timed)
    shown = await timed.until(job["jobId"], "failed", field="refunds")
    assert "deleted a day later" in shown["errorMessage"]
    [refund] = shown["refunds"]
    sats = job["evalInvoice"]["amountSats"]
    assert (refund["reason"], refund["amountSats"]) == ("unawaited", sats)
    mine = await timed.post("/api/dev/stub/invoice", {"amountSats": sats})
    claim = {"invoice": mine.json()["paymentRequest"]}
    taken = await timed.post(f"/api/jobs/{job['jobId']}/refund", claim)
    assert taken.status_code == 200, taken.text
    await purge(timed)  # it was paid: it stays
    assert (await timed.job(job["jobId"]))["refunds"][0]["refundState"] == "paid"
    await books_are_right(timed)


async def test_it_goes_where_the_job_said(
    lenient_timed: Instance, clock: Clock, stranger: PayServer
) -> None:
    """The destination outlives the job."""
    wallet_of(lenient_timed, stranger)
    job = await lenient_timed.create(TEXT, refundTo=stranger.url)
    clock.forward(hours=26)
    await purge(lenient_timed)
    await lenient_timed.pay(job["evalInvoice"], late=True)
    clock.forward(hours=7)  # without a push the rail is asked
    await taken_in(lenient_timed)
    shown = await lenient_timed.until(job["jobId"], "failed", field="refunds")
    while shown["refunds"][0]["refundState"] != "paid":
        shown = await lenient_timed.job(job["jobId"])
    await books_are_right(lenient_timed)


async def test_a_purged_sessions_deposit_is_taken_back_by_its_preimage(
    timed: Instance, clock: Clock
) -> None:
    """The credential that nobody was ever shown is shown to who proves the payment."""
    session = await made(timed, 150)
    clock.forward(hours=26)
    await purge(timed)
    paid = await timed.post(
        f"/api/dev/stub/pay/{session['invoice']['paymentHash']}", {"late": True}
    )
    clock.forward(hours=7)
    await taken_in(timed)
    proof = {"X-Payment-Preimage": paid.json()["preimage"]}
    shown = (await timed.http.get(f"/api/sessions/{session['sessionId']}", headers=proof)).json()
    assert shown["state"] == "expired"
    assert shown["refunds"][0]["reason"] == "unawaited"
    holder = Holder(timed, session["sessionId"], shown["macaroon"])
    mine = await timed.post("/api/dev/stub/invoice", {"amountSats": 150})
    taken = await holder.post("refund", {"invoice": mine.json()["paymentRequest"]})
    assert taken.status_code == 200, taken.text
    await books_are_right(timed)


async def test_a_purged_offer_that_was_paid_is_shown_to_its_proof(
    timed: Instance, clock: Clock
) -> None:
    """It failed, nothing of it is kept by the house, and no new invoice is asked for."""
    offer = await ask(timed, "hello")
    clock.forward(hours=26)
    await purge(timed)
    paid = await timed.post(f"/api/dev/stub/pay/{offer.json()['paymentHash']}", {"late": True})
    found = OFFER.match(offer.headers["www-authenticate"])
    assert found is not None
    # Its credential has lapsed with the invoice, so the job is found by the id in the offer.
    proof = {"Authorization": f"L402 {found[1]}:{paid.json()['preimage']}"}
    clock.forward(hours=7)
    await taken_in(timed)
    answer = await ask(timed, "hello", **proof)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["state"] == "failed" and said["cost"]["totalSats"] == 0
    assert said["refunds"][0]["amountSats"] == offer.json()["amountSats"]
    await books_are_right(timed)


async def test_a_late_topup_that_was_purged_is_the_sessions(timed: Instance, clock: Clock) -> None:
    """Its balance, while it is open, as with any other."""
    holder = await held(timed)
    invoice = await holder.top_up(500)
    for _ in range(3):
        clock.forward(hours=12)
        await holder.asked()
    await purge(timed)
    assert (await rows_of(timed))["lapsed_invoice"] == 1
    before = (await holder.status())["balanceSats"]
    await holder.top_up(200)
    await timed.pay(invoice, late=True)
    clock.forward(hours=7)
    await taken_in(timed)
    assert (await holder.status())["balanceSats"] == before + 500
    await books_are_right(timed)


async def test_our_own_purged_invoice_is_no_destination(timed: Instance, clock: Clock) -> None:
    """It is ours for as long as it is known."""
    job = await timed.create()
    clock.forward(hours=26)
    await purge(timed)
    known = await payouts.hash_is_known(timed.built.db, job["evalInvoice"]["paymentHash"])
    assert known == "invoice"


# ----------------------------------------------------------------------------- bytes


@pytest.fixture
async def weighed(database_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Instance]:
    """An instance that takes 200 kB of requests an hour of one caller, and 300 kB of all."""
    async with instance_of(
        database_url,
        tmp_path,
        clock=clock,
        TRUSTED_PROXIES=1,
        REQUEST_KB_PER_HOUR=200,
        REQUEST_KB_PER_HOUR_ALL=300,
    ) as running:
        yield running


async def test_a_caller_sends_so_many_bytes_an_hour_and_no_more(
    weighed: Instance, clock: Clock
) -> None:
    """Short requests count little; the limit ends with the hour, and says so."""
    body, ours = {"request": TEXT}, {"X-Forwarded-For": "198.51.100.7"}
    for _ in range(3):
        assert (await weighed.post("/api/jobs", body, headers=ours)).status_code == 201
    answer = await weighed.post("/api/ask", body, headers=ours)
    refused(answer, 429, "200 kB")
    assert 0 < int(answer.headers["retry-after"]) <= 3_600
    clock.forward(hours=1, seconds=1)
    assert (await weighed.post("/api/jobs", body, headers=ours)).status_code == 201


async def test_all_callers_together_have_a_limit_too(weighed: Instance) -> None:
    """From however many addresses: then nobody can be sold to for a while."""
    body = {"request": TEXT}
    for number in range(4):
        ours = {"X-Forwarded-For": f"198.51.100.{number}"}
        assert (await weighed.post("/api/jobs", body, headers=ours)).status_code == 201
    others = {"X-Forwarded-For": "203.0.113.9"}
    refused(await weighed.post("/api/jobs", body, headers=others), 503, "Too many unpaid")


async def test_an_order_in_usdc_that_never_paid_leaves_nothing(
    database_url: str, tmp_path: Path, clock: Clock
) -> None:
    """Whoever signs without money leaves no batch, no item, no order and no account; what was not
    paid is counted in bytes as any unpaid request, and what was paid is not."""
    body = {"images": [{"prompt": "a cat " * 600}] * 50}  # 180 kB
    async with sold_by(
        database_url, tmp_path, ScriptedMaker(), clock=clock, REQUEST_KB_PER_HOUR=600
    ) as shop:
        settings, db = shop.built.settings, shop.built.db
        stub = StubFacilitator(settings.data / FILE, clock)
        asked = asked_in(await shop.post("/api/jobs", body))
        for name in ("one", "two", "three"):
            paid = await shop.post("/api/jobs", body, headers=signed(shop, Payer(name), asked))
            await ended(shop, paid.json()["jobId"], token=paid.json()["sessionToken"])
        clock.forward(days=8)  # the logins of these are over, and the offer is purged
        await purge(shop)
        await taken_in(shop)
        async for _ in patiently("a lane that is empty keeps turns", pause_s=0.01):
            if not await db.read_all("SELECT payer FROM lane_turn"):
                break
        before, codes = await rows_of(shop), []
        for name in ("poor", "poorer"):  # a new offer is made for each, too
            await stub.script_fault("settle", "declined")
            told = await shop.post("/api/jobs", body, headers=signed(shop, Payer(name), asked))
            codes.append(told.status_code)
        assert codes == [402, 429]
        clock.forward(hours=1)
        async for _ in patiently("the chain never says that they failed", pause_s=0.01):
            if not await db.read_all("SELECT id FROM usdc_authorization WHERE state = 'claimed'"):
                break
        assert (await rows_of(shop))["usdc_authorization"] > before["usdc_authorization"]
        for _ in range(2):  # first what was asked for, then the slim rows of the offers
            clock.forward(days=8)
            await purge(shop)
            await taken_in(shop)
        assert await rows_of(shop) == before
        assert await audit(db) == []
        await stub.close()
