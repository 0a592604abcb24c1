"""Refunds for the tests: instances that may ask this machine, and the steps to a refund."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.plant import keeper_of
from db import ledger
from payments.lnbits import LnbitsRail
from pricing.money import Msat
from statemachine.promises import Promise
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lnbits_server import LnbitsServer
from tests.world.patience import patiently
from tests.world.pay_server import PayServer
from tests.world.rail_fixtures import wall_clock
from tests.world.scripted_agent import ScriptedAgent


@pytest.fixture
async def lenient(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> AsyncIterator[Instance]:
    """An instance on the stub rail that may ask servers on this machine."""
    async with instance_of(
        database_url, tmp_path, agent=scripted_agent, ALLOW_PRIVATE_DESTINATIONS=True
    ) as running:
        yield running


@pytest.fixture
async def idle(database_url: str, tmp_path: Path) -> AsyncIterator[Instance]:
    """The same without a worker: promises are kept when a test says so."""
    async with instance_of(
        database_url, tmp_path, ALLOW_PRIVATE_DESTINATIONS=True, worker=False
    ) as running:
        yield running


@pytest.fixture
async def lenient_on_lnbits(
    database_url: str, tmp_path: Path, lnbits: LnbitsServer, scripted_agent: ScriptedAgent
) -> AsyncIterator[Instance]:
    """An instance whose rail is the real LNbits."""
    rail = LnbitsRail(lnbits.url, lnbits.us.adminkey, clock=wall_clock)
    async with instance_of(
        database_url, tmp_path, rail=rail, agent=scripted_agent, ALLOW_PRIVATE_DESTINATIONS=True
    ) as running:
        yield running


def wallet_of(house: Instance, stranger: PayServer) -> None:
    """Have the stranger's server make its invoices with the stub's buyer wallet."""
    stub = house.built.stub
    assert stub is not None

    async def make(amount_msat: int) -> str:
        return (await stub.buyer_invoice(Msat(amount_msat), "a refund", 600)).bolt11

    stranger.make = make


async def until_refund(house: Instance, job_id: str, **wanted: Any) -> dict[str, Any]:
    """Return the job when its first refund is as wanted, woken by its changes."""
    changed, stop = house.built.signals.watch(job_id)
    try:
        async for look in patiently(f"it is not {wanted} but", pause_s=0):
            changed.clear()
            job = await house.job(job_id)
            look.saw = refunds = job.get("refunds") or [{}]
            if all(refunds[0].get(name) == value for name, value in wanted.items()):
                break
            await house.built.signals.wait(changed, 1)
    finally:
        stop()
    return job


async def nothing_is_lost(house: Instance, *, refunded_sats: int) -> None:
    """Hold the books to what the rail holds, and to what is owed to nobody any more."""
    lines = {line.account: line for line in await ledger.trial_balance(house.built.db)}
    assert all(line.kept == line.recomputed for line in lines.values())
    assert lines["rail:lightning"].kept == await house.built.rail.balance_msat()
    owed = [n for n, line in lines.items() if n.startswith(("refund:", "sending:")) and line.kept]
    assert owed == []
    rows = await house.built.db.read_all("SELECT sum(amount) AS msat FROM payout")
    assert rows[0]["msat"] == refunded_sats * 1000


async def owed(idle: Instance, refund_to: str) -> tuple[str, str]:
    """Return (payout, job): five sats, overpaid, that go to a destination."""
    made = await idle.create("hello", refundTo=refund_to)
    sats = made["evalInvoice"]["amountSats"]
    await idle.pay(made["evalInvoice"], amountSats=sats + 5)
    await until_refund(idle, made["jobId"], refundState="pending")
    return f"{made['jobId']}:eval:overpaid", made["jobId"]


async def keep(idle: Instance, promise: Promise, tries: int = 0) -> None:
    """Keep a promise now, as a worker would."""
    await keeper_of(idle.built).keep(promise, tries)


async def bought(house: Instance, lnbits: LnbitsServer, **more: Any) -> dict[str, Any]:
    """Buy a job that fails, the buyer's wallet paying through LNbits' own API."""
    made = await house.create("BREAK-WORK", **more)
    await lnbits.pay(lnbits.buyer, made["evalInvoice"]["paymentRequest"])
    job = await house.until(made["jobId"], "awaiting_work_payment", field="workInvoice")
    await lnbits.pay(lnbits.buyer, job["workInvoice"]["paymentRequest"])
    return await house.until(made["jobId"], "failed")
