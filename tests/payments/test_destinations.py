"""A refund that needs no visit: it goes where its owner said, or says why not."""

import asyncio
from dataclasses import replace

import pytest

from app import advance
from app.main import utc_now
from app.plant import keeper_of
from app.promises.courier import AWAY_PATIENCE
from db import ledger
from db.promises import TryAgain
from statemachine.entries import Asset
from statemachine.promises import FetchInvoice, PayInvoice
from tests.world.house_fixtures import Instance
from tests.world.lnbits_server import LnbitsServer
from tests.world.pay_server import PayServer, invoice, said
from tests.world.refund_fixtures import bought, keep, nothing_is_lost, owed, until_refund, wallet_of

pytestmark = pytest.mark.one_instance

# -------------------------------------------------------------------- every way ends in one place


async def test_a_job_that_fails_after_its_work_was_paid_is_refunded_without_a_visit(
    lenient: Instance, stranger: PayServer
) -> None:
    """With refundTo given, the whole work payment goes back by itself."""
    wallet_of(lenient, stranger)
    job = await lenient.to_end("BREAK-WORK", refundTo=stranger.url)
    assert job["state"] == "failed"
    job = await until_refund(lenient, job["jobId"], refundState="paid")
    [refund] = job["refunds"]
    assert refund["amountSats"] == job["pricingBreakdown"]["totalSats"]
    assert refund["destination"] == "known" and refund["attempts"] == 1
    assert "lnurlWithdraw" not in refund
    await nothing_is_lost(lenient, refunded_sats=refund["amountSats"])


async def test_a_surplus_goes_back_by_itself(lenient: Instance, stranger: PayServer) -> None:
    """What complete work has cost less than its quote needs no claim either."""
    wallet_of(lenient, stranger)
    made = await lenient.to_end("haiku", refundTo=f"you@127.0.0.1:{stranger.port}")
    job = await until_refund(lenient, made["jobId"], refundState="paid")
    assert job["costLedger"]["refundState"] == "paid"
    await nothing_is_lost(lenient, refunded_sats=job["costLedger"]["refundAmountSats"])
    assert len(stranger.asked) == 2  # one offer, one invoice


async def test_what_was_paid_over_goes_back(lenient: Instance, stranger: PayServer) -> None:
    """Over-paid sats go to the destination while the job goes on."""
    wallet_of(lenient, stranger)
    made = await lenient.create("hello", refundTo=stranger.url)
    await lenient.pay(made["evalInvoice"], amountSats=made["evalInvoice"]["amountSats"] + 7)
    job = await until_refund(lenient, made["jobId"], refundState="paid", reason="overpaid")
    assert job["refunds"][0]["amountSats"] == 7
    await nothing_is_lost(lenient, refunded_sats=7)


async def test_what_was_paid_for_a_cancelled_job_goes_back(
    lenient: Instance, stranger: PayServer
) -> None:
    """A payment that arrives after the job was cancelled ends where all the others do."""
    wallet_of(lenient, stranger)
    job = await lenient.to_work_invoice(refundTo=stranger.url)
    job_id, sats = job["jobId"], job["workInvoice"]["amountSats"]
    ended = await lenient.post(f"/api/jobs/{job_id}/cancel")
    assert ended.status_code == 200 and ended.json()["state"] == "failed"
    assert "Cancelled" in ended.json()["errorMessage"]
    await lenient.pay(job["workInvoice"])
    job = await until_refund(lenient, job_id, refundState="paid", reason="unawaited")
    assert job["refunds"][0]["amountSats"] == sats
    await nothing_is_lost(lenient, refunded_sats=sats)


async def test_an_evaluation_that_breaks_gives_its_fee_back(
    lenient: Instance, stranger: PayServer
) -> None:
    """The fee of an evaluation that could not be done goes to the destination."""
    wallet_of(lenient, stranger)
    made = await lenient.create("BREAK-JUDGE", refundTo=stranger.url)
    await lenient.pay(made["evalInvoice"])
    await until_refund(lenient, made["jobId"], refundState="paid", reason="not_evaluated")
    await nothing_is_lost(lenient, refunded_sats=made["evalInvoice"]["amountSats"])


# ------------------------------------------------------------------------------- destinations


@pytest.mark.one_instance(False)
@pytest.mark.parametrize(
    ("refund_to", "says"),
    [
        ("nobody", "no refund destination"),
        ("you@10.0.0.1", "not a public one"),
        ("lnbcrt130n1p4s9zn0pp5wf40v2teh", "an invoice"),
        ("", "at least 1 character"),
        (7, "'refundTo'"),
        ("you@x.org\x00", "plain letters"),
    ],
)
async def test_a_wrong_destination_is_told_at_once(
    instance: Instance, refund_to: object, says: str
) -> None:
    """A job is not made for a destination that is none; the sentence says why."""
    answer = await instance.post("/api/jobs", {"request": "hello", "refundTo": refund_to})
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["error"]
    assert await instance.built.db.read_all("SELECT id FROM job") == []


async def test_loopback_is_no_destination_unless_it_is_allowed(
    instance: Instance, stranger: PayServer
) -> None:
    """Without the development setting this machine can't be asked."""
    answer = await instance.post("/api/jobs", {"request": "x", "refundTo": stranger.url})
    assert answer.status_code == 400 and "not https" in answer.json()["error"]


@pytest.mark.parametrize("body", [{}, {"invoice": "lnbc1", "refundTo": "you@example.org"}])
async def test_a_claim_names_one_of_both(instance: Instance, body: dict[str, str]) -> None:
    """An invoice or a destination, not both and not neither."""
    made = await instance.create()
    answer = await instance.post(f"/api/jobs/{made['jobId']}/refund", body)
    assert answer.status_code == 400 and "refundTo" in answer.json()["error"]


async def test_a_destination_can_be_named_when_it_is_owed(
    lenient: Instance, stranger: PayServer
) -> None:
    """POST refund with refundTo sends what waits, answers when it is there, and only once."""
    wallet_of(lenient, stranger)
    job = await lenient.to_end("BREAK-WORK")
    job_id, [refund] = job["jobId"], job["refunds"]
    assert refund["destination"] == "needed" and refund["lnurlWithdraw"].startswith("LNURL1")
    path = f"/api/jobs/{job_id}/refund"
    sent = await lenient.post(path, {"refundTo": stranger.url})
    assert sent.status_code == 200, sent.text
    assert sent.json()["ok"] is True and sent.json()["refundAmountSats"] == refund["amountSats"]
    again = await lenient.post(path, {"refundTo": stranger.url})
    assert again.status_code == 409 and "paid already" in again.json()["error"]
    await nothing_is_lost(lenient, refunded_sats=refund["amountSats"])


async def test_nothing_owed_needs_no_destination(lenient: Instance, stranger: PayServer) -> None:
    """Naming one for a job that owes nothing is a 409."""
    made = await lenient.create()
    answer = await lenient.post(f"/api/jobs/{made['jobId']}/refund", {"refundTo": stranger.url})
    assert answer.status_code == 409
    assert stranger.asked == []


async def test_everything_that_is_owed_goes_to_it(lenient: Instance, stranger: PayServer) -> None:
    """Two refunds of one job go with one word."""
    made = await lenient.create("BREAK-JUDGE")
    fee_sats = made["evalInvoice"]["amountSats"]
    await lenient.pay(made["evalInvoice"], amountSats=fee_sats + 3)
    job = await lenient.until(made["jobId"], "failed")
    assert sorted(r["amountSats"] for r in job["refunds"]) == [3, fee_sats]
    wallet_of(lenient, stranger)
    sent = await lenient.post(f"/api/jobs/{made['jobId']}/refund", {"refundTo": stranger.url})
    assert sent.status_code == 200 and sent.json()["refundAmountSats"] == fee_sats + 3
    await nothing_is_lost(lenient, refunded_sats=fee_sats + 3)


async def test_a_destination_that_cheats_is_asked_three_times_and_then_another_one(
    idle: Instance, stranger: PayServer
) -> None:
    """Each failure is told and counted; nothing is sent; the money stays visibly theirs."""

    async def cheat(amount_msat: int) -> str:
        return invoice(amount_msat + 1000)

    stranger.make = cheat
    payout_id, job_id = await owed(idle, stranger.url)
    for failures in range(3):
        refund = (await idle.job(job_id))["refunds"][0]
        assert (refund["destination"], refund["attempts"]) == ("known", 0)
        await keep(idle, FetchInvoice(payout_id, failures))
        await keep(idle, FetchInvoice(payout_id, failures))  # a replay counts nothing
    refund = (await idle.job(job_id))["refunds"][0]
    assert refund["destination"] == "needed" and refund["refundState"] == "pending"
    assert "asks for 6 sats" in refund["lastOutcome"]
    assert "Name another destination." in refund["lastOutcome"]
    assert len(stranger.asked) == 6
    wallet_of(idle, stranger)
    path = f"/api/jobs/{job_id}/refund"
    claim = asyncio.create_task(idle.post(path, {"refundTo": stranger.url}))
    await until_refund(idle, job_id, destination="known")
    await keep(idle, FetchInvoice(payout_id, 0))
    await keep(idle, PayInvoice(payout_id, 1))
    answer = await claim
    assert answer.status_code == 200 and answer.json()["ok"] is True


async def test_a_destination_that_is_away_is_waited_for(
    idle: Instance, stranger: PayServer
) -> None:
    """Trouble that may pass counts nothing, with growing pauses; after half an hour it is one."""
    stranger.raw = {"/pay": said({}, 503)}
    payout_id, job_id = await owed(idle, stranger.url)
    promise, pauses = FetchInvoice(payout_id, 0), []
    for tries in range(12):
        with pytest.raises(TryAgain) as again:
            await keep(idle, promise, tries)
        pauses.append(again.value.after_s)
    assert pauses == sorted(pauses) and pauses[0] < 10 and pauses[-1] == 300
    refund = (await idle.job(job_id))["refunds"][0]
    assert "lastOutcome" not in refund and refund["destination"] == "known"
    late = replace(idle.built, clock=lambda: utc_now() + AWAY_PATIENCE)
    await keeper_of(late).keep(promise, 0)  # however few of its tries have asked anybody
    refund = (await idle.job(job_id))["refunds"][0]
    assert "answered HTTP 503" in refund["lastOutcome"]
    assert "tried again" in refund["lastOutcome"]
    stranger.raw = {}
    wallet_of(idle, stranger)
    await keep(idle, FetchInvoice(payout_id, 1))
    await keep(idle, PayInvoice(payout_id, 1))
    assert (await idle.job(job_id))["refunds"][0]["refundState"] == "paid"
    await nothing_is_lost(idle, refunded_sats=5)


async def test_two_keepers_of_one_promise_send_once(idle: Instance, stranger: PayServer) -> None:
    """However many ask the destination at once, one invoice is paid."""
    wallet_of(idle, stranger)
    payout_id, job_id = await owed(idle, stranger.url)
    await asyncio.gather(*(keep(idle, FetchInvoice(payout_id, 0)) for _ in range(20)))
    rows = await idle.built.db.read_all("SELECT number FROM payout_attempt")
    assert [row["number"] for row in rows] == [1]
    await keep(idle, PayInvoice(payout_id, 1))
    await until_refund(idle, job_id, refundState="paid", attempts=1)
    await nothing_is_lost(idle, refunded_sats=5)


@pytest.mark.parametrize("known", ["ours", "used"])
async def test_a_destination_can_not_have_us_pay_ourselves_or_twice(
    idle: Instance, stranger: PayServer, known: str
) -> None:
    """An invoice of our own, and one whose hash was used before, are refused like any other."""
    payout_id, job_id = await owed(idle, stranger.url)
    if known == "ours":
        bolt11 = str((await idle.create("five"))["evalInvoice"]["paymentRequest"])
    else:
        wallet_of(idle, stranger)
        bolt11 = await stranger.make(5000)
        other_id, other_job = await owed(idle, stranger.url)
        path = f"/api/jobs/{other_job}/refund"
        claim = asyncio.create_task(idle.post(path, {"invoice": bolt11}))
        await until_refund(idle, other_job, attempts=1)
        await keep(idle, PayInvoice(other_id, 1))
        assert (await claim).status_code == 200

    async def cheat(amount_msat: int) -> str:
        return bolt11

    stranger.make = cheat
    await keep(idle, FetchInvoice(payout_id, 0))
    refund = (await idle.job(job_id))["refunds"][0]
    assert refund["attempts"] == 0 and refund["refundState"] == "pending"
    said_ = {"ours": "one of our own invoices", "used": "used for a refund before"}
    assert said_[known] in refund["lastOutcome"]


async def test_the_destination_that_was_named_last_counts(
    idle: Instance, stranger: PayServer
) -> None:
    """An answer of the old destination that comes after a new one was named is not used."""
    wallet_of(idle, stranger)
    payout_id, job_id = await owed(idle, stranger.url)
    asked, go = asyncio.Event(), asyncio.Event()
    prompt = stranger.make

    async def slow(amount_msat: int) -> str:
        asked.set()
        await go.wait()
        return await prompt(amount_msat)

    stranger.make = slow
    keeping = asyncio.create_task(keep(idle, FetchInvoice(payout_id, 0)))
    await asked.wait()
    other = f"you@127.0.0.1:{stranger.port}"
    await idle.built.shell.do(advance.payouts.redirect, payout_id, other)
    go.set()
    await keeping
    refund = (await idle.job(job_id))["refunds"][0]
    assert (refund["attempts"], refund["destination"]) == (0, "known")
    await keep(idle, FetchInvoice(payout_id, 0))
    assert stranger.asked[-2].path == "/.well-known/lnurlp/you"
    assert (await idle.job(job_id))["refunds"][0]["attempts"] == 1


async def test_another_destination_does_not_wait_for_the_first_ones_pause(
    lenient: Instance, stranger: PayServer
) -> None:
    """While the old destination is away, a new one is asked at once."""
    async with PayServer().running() as dead:
        refund_to = dead.url
    wallet_of(lenient, stranger)
    payout_id, job_id = await owed(lenient, refund_to)
    assert await lenient.built.outbox.is_staged(FetchInvoice(payout_id, 0).key)
    sent = await lenient.post(f"/api/jobs/{job_id}/refund", {"refundTo": stranger.url})
    assert sent.status_code == 200, sent.text
    await nothing_is_lost(lenient, refunded_sats=5)


async def test_slow_destinations_do_not_stop_the_work_of_others(
    lenient: Instance, stranger: PayServer
) -> None:
    """A destination that never answers holds up no job, however many refunds go there."""
    stranger.hang = {"/pay"}
    for _ in range(10):
        await owed(lenient, stranger.url)
    await stranger.was_asked.wait()
    job = await lenient.to_end("not held up")
    assert job["state"] == "complete"
    assert len(stranger.asked) <= lenient.built.settings.payouts_each


# ---------------------------------------------------------------------- for real, through LNbits


async def test_a_failed_job_is_refunded_into_the_buyers_wallet_without_a_visit(
    lenient_on_lnbits: Instance, lnbits: LnbitsServer
) -> None:
    """The buyer's Lightning address at LNbits gets the whole work payment by itself."""
    theirs = await lnbits.balance_msat(lnbits.buyer)
    ours = await lnbits.balance_msat(lnbits.us)
    job = await bought(lenient_on_lnbits, lnbits, refundTo=lnbits.buyer_address)
    await until_refund(lenient_on_lnbits, job["jobId"], refundState="paid")
    fee_msat = 5_000  # of the evaluation, which was done
    assert await lnbits.balance_msat(lnbits.buyer) == theirs - fee_msat
    assert await lnbits.balance_msat(lnbits.us) == ours + fee_msat
    assert (
        await ledger.balance(lenient_on_lnbits.built.db, "rail:lightning", Asset.MSAT) == fee_msat
    )


async def test_a_refund_by_invoice_and_one_by_lnurl_are_received(
    lenient_on_lnbits: Instance, lnbits: LnbitsServer
) -> None:
    """BOLT11, and LNURL-pay named later, each arrive in the other wallet."""
    for how in ("invoice", "refundTo"):
        job = await bought(lenient_on_lnbits, lnbits)
        sats = job["refunds"][0]["amountSats"]
        before = await lnbits.balance_msat(lnbits.buyer)
        to = lnbits.buyer_lnurl
        if how == "invoice":
            to = await lnbits.create_invoice(lnbits.buyer, sats)
        sent = await lenient_on_lnbits.post(f"/api/jobs/{job['jobId']}/refund", {how: to})
        assert sent.status_code == 200, sent.text
        assert await lnbits.balance_msat(lnbits.buyer) == before + sats * 1000
