"""The same job, bought through a real LNbits: its invoices, its payments, its refund."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db import ledger
from payments.bolt11 import decode
from payments.lnbits import LnbitsRail
from payments.lnbits_wallet import shown_key
from statemachine.entries import Asset
from statemachine.public_id import public_id
from tests.world.fault_proxy import FaultProxy
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lnbits_server import LnbitsServer
from tests.world.patience import patiently
from tests.world.rail_fixtures import buy


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


@pytest.fixture
async def on_lnbits(
    database_url: str, tmp_path: Path, lnbits: LnbitsServer, fault_proxy: FaultProxy
) -> AsyncIterator[Instance]:
    """An instance whose rail is the real LNbits, seen through the fault proxy."""
    rail = LnbitsRail(fault_proxy.url, lnbits.us.adminkey, clock=utc_now)
    async with instance_of(database_url, tmp_path, rail=rail) as running:
        await until_told(rail)
        yield running


@pytest.fixture
async def swept_seldom(
    database_url: str, tmp_path: Path, lnbits: LnbitsServer, fault_proxy: FaultProxy
) -> AsyncIterator[Instance]:
    """The same, where a job is over long before the sweep would ask about its open invoices."""
    rail = LnbitsRail(fault_proxy.url, lnbits.us.adminkey, clock=utc_now)
    async with instance_of(database_url, tmp_path, rail=rail, SWEEP_S=600) as running:
        await until_told(rail)
        yield running


async def until_told(rail: LnbitsRail) -> None:
    """Wait until LNbits tells of payments by itself: what was made before is asked about."""
    async for _ in patiently("LNbits tells of no payments"):
        if rail.push_is_up:
            return


async def test_a_job_through_lnbits_ends_with_both_balances_right(
    swept_seldom: Instance, lnbits: LnbitsServer, fault_proxy: FaultProxy
) -> None:
    """The buyer pays, takes the refund into the same wallet, and no sat is missing anywhere."""
    ours = await lnbits.balance_msat(lnbits.us)
    theirs = await lnbits.balance_msat(lnbits.buyer)
    made = await swept_seldom.create("haiku")
    assert "paymentHash" not in made["evalInvoice"]  # only the stub rail shows it
    fault_proxy.calls.clear()
    job = await buy(swept_seldom, lnbits, "haiku")
    for _ in range(20):  # polls cost the rail nothing
        await swept_seldom.job(job["jobId"])
    costs = job["costLedger"]
    invoice = await lnbits.create_invoice(lnbits.buyer, costs["refundAmountSats"])
    paid = await swept_seldom.post(f"/api/jobs/{job['jobId']}/refund", {"invoice": invoice})
    assert paid.status_code == 200, paid.text
    calls = {key: n for key, n in fault_proxy.calls.items() if "fee-reserve" not in key[1]}
    assert sum(calls.values()) <= 3, calls
    kept_sats = 5 + costs["actualAmountSats"]
    assert await lnbits.balance_msat(lnbits.us) == ours + kept_sats * 1000
    assert await lnbits.balance_msat(lnbits.buyer) == theirs - kept_sats * 1000
    assert (
        await ledger.balance(swept_seldom.built.db, "rail:lightning", Asset.MSAT)
        == kept_sats * 1000
    )
    told = await swept_seldom.job(job["jobId"])
    assert told["costLedger"]["refundState"] == "paid"


async def test_lnbits_is_shown_no_id_that_opens_anything(
    swept_seldom: Instance, lnbits: LnbitsServer
) -> None:
    """Neither the memo nor what lies beside an invoice holds the id of its job: whoever keeps the
    wallet sees public names."""
    made = await swept_seldom.create("haiku")
    payment_hash = decode(made["evalInvoice"]["paymentRequest"]).payment_hash
    shown = json.dumps(await lnbits.payment(lnbits.us, payment_hash))
    assert '"key"' in shown and made["jobId"] not in shown
    assert public_id(made["jobId"])[:8] in shown


@pytest.mark.parametrize("key", [f"{'a' * 32}:eval", "transfer:7"])
def test_a_name_that_lnbits_is_shown_is_the_same_for_a_retry(key: str) -> None:
    """And another for another invoice; nothing of ours stands in it."""
    assert shown_key(key) == shown_key(key) != shown_key(f"{key}2")
    assert len(shown_key(key)) == 32 and not set(key.split(":")) & {shown_key(key)}


@pytest.mark.parametrize("trouble", ["down", "503", "200 with HTML", "truncated JSON"])
async def test_while_lnbits_is_in_trouble_jobs_wait_and_then_go_on(
    on_lnbits: Instance, lnbits: LnbitsServer, fault_proxy: FaultProxy, trouble: str
) -> None:
    """Creating a job answers 503 with Retry-After; what is paid for is kept, and ends."""
    made = await on_lnbits.create("kept")
    await trouble_begins(fault_proxy, trouble)
    answer = await on_lnbits.post("/api/jobs", {"request": "not now"})
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert "Nothing was charged" in answer.json()["error"]
    await lnbits.pay(lnbits.buyer, made["evalInvoice"]["paymentRequest"])
    await trouble_ends(fault_proxy)
    job = await on_lnbits.until(made["jobId"], "awaiting_work_payment", field="workInvoice")
    await lnbits.pay(lnbits.buyer, job["workInvoice"]["paymentRequest"])
    job = await on_lnbits.until(made["jobId"], "complete")
    assert job["result"] == "done: kept"


async def trouble_begins(proxy: FaultProxy, trouble: str) -> None:
    """Have LNbits be away, or answer nonsense, and cut its push channel."""
    if trouble == "down":
        await proxy.refuse()
    else:
        proxy.inject(trouble, times=1000)
    proxy.cut_websockets()


async def trouble_ends(proxy: FaultProxy) -> None:
    """Have LNbits be itself again."""
    proxy.clear()
    await proxy.listen()


async def test_a_slow_lnbits_is_not_waited_for_for_ever(
    on_lnbits: Instance, fault_proxy: FaultProxy
) -> None:
    """An LNbits that does not answer in time gives 503, within its time limit."""
    fault_proxy.inject("hang", times=1)
    answer = await on_lnbits.post("/api/jobs", {"request": "slow"})
    assert answer.status_code == 503, answer.text


async def test_fifty_polls_at_once_after_a_real_payment(
    on_lnbits: Instance, lnbits: LnbitsServer
) -> None:
    """Polls, the push and the sweep see one payment: it is booked once."""
    made = await on_lnbits.create("only once")
    await lnbits.pay(lnbits.buyer, made["evalInvoice"]["paymentRequest"])
    await asyncio.gather(*(on_lnbits.job(made["jobId"]) for _ in range(50)))
    await on_lnbits.until(made["jobId"], "awaiting_work_payment")
    rows = await on_lnbits.built.db.read_all("SELECT key FROM entry")
    assert len(rows) == 2  # the payment, and the fee that was earned


async def test_a_refund_that_settles_after_a_time_out_is_paid_once(
    on_lnbits: Instance, lnbits: LnbitsServer, fault_proxy: FaultProxy
) -> None:
    """The rail's answer is lost, the money is not: the payout is looked up, never sent again."""
    job = await buy(on_lnbits, lnbits, "refund me")
    sats = job["costLedger"]["refundAmountSats"]
    theirs = await lnbits.balance_msat(lnbits.buyer)
    first = await lnbits.create_invoice(lnbits.buyer, sats)
    other = await lnbits.create_invoice(lnbits.buyer, sats)
    fault_proxy.inject("answer lost", method="POST", prefix="/api/v1/payments")
    path = f"/api/jobs/{job['jobId']}/refund"
    answers = await asyncio.gather(
        on_lnbits.post(path, {"invoice": first}),
        on_lnbits.post(path, {"invoice": other}),
    )
    assert sorted(a.status_code for a in answers) in ([200, 409], [202, 409])
    async for _ in patiently(
        "it is not paid", pause_s=0.2
    ):  # the poll of a final job does not hold
        told = await on_lnbits.job(job["jobId"])
        if told["costLedger"]["refundState"] == "paid":
            break
    assert await lnbits.balance_msat(lnbits.buyer) == theirs + sats * 1000
