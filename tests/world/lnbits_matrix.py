"""The LNbits fault matrix: a story for each fault, in which every call meets it in turn.

A story returns what a job or a payout came to in each cell, and only when all of it ended well.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from app.plant import books_of, loops_of
from payments.lnbits import LnbitsRail
from payments.rail import Settled
from tests.runs.crash_buyer import LONG
from tests.runs.crash_server import MovableClock
from tests.runs.crash_world import PAYMENTS, Books, LnbitsSide, audit
from tests.world.fault_proxy import never_accepting
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lnbits_server import LnbitsServer
from tests.world.lnbits_table import CALLS, FOR_EVER, HEARD, NOBODY_THERE, NONE
from tests.world.patience import patiently

PAST_EXPIRY_S = 4200
# How long an answer without an end is waited for. A busy machine is sure to have sent the question
# by half of it; who has sent nothing would be told to send it later.
ENDS_S = 6.0


class Switch:
    """A rail that stands for one of several: the good one, or one that finds nobody."""

    def __init__(self, good: LnbitsRail) -> None:
        self.good, self.now = good, good
        self.name, self.identity, self.network = good.name, good.identity, good.network
        self.least_fee_limit_msat = good.least_fee_limit_msat
        self.creates = asyncio.Event()  # not set: who makes an invoice waits until it is
        self.creates.set()

    def __getattr__(self, call: str) -> Any:
        if not inspect.iscoroutinefunction(getattr(self.good, call)):
            return getattr(self.now, call)

        async def asked(*given: Any, **named: Any) -> Any:
            if call == "create_invoice":
                await self.creates.wait()
            return await getattr(self.now, call)(*given, **named)  # whichever it is by then

        return asked

    @property
    def push_is_up(self) -> bool:
        """See Rail."""
        return self.good.push_is_up

    def pushes(self) -> AsyncIterator[Settled | None]:
        """See Rail."""
        return self.good.pushes()


class Stage:
    """One instance on the real LNbits, the trouble between them, and what is seen of it."""

    def __init__(
        self, instance: Instance, side: LnbitsSide, switch: Switch, books: Books, fault: str
    ) -> None:
        self.instance, self.side, self.switch, self.books = instance, side, switch, books
        self.proxy, self.fault = side.proxy, fault
        assert isinstance(instance.built.clock, MovableClock)
        self.clock = instance.built.clock
        self.loops = loops_of(instance.built)
        self.rails: dict[str, LnbitsRail] = {}  # others than the good one, by the fault they have

    async def begin(self, call: str) -> None:
        """Let this call go wrong from now on."""
        method, prefix, holding = CALLS[call]
        if self.fault == "refused":
            await self.proxy.refuse()
        elif self.fault in self.rails:
            self.switch.now = self.rails[self.fault]
        times = 1 if self.fault == "previous answer" else FOR_EVER  # asked twice it would be right
        if self.fault not in NOBODY_THERE:
            self.proxy.inject(self.fault, method, prefix, times, holding)

    async def end(self) -> None:
        """Let all be well."""
        self.proxy.clear()
        await self.proxy.listen()
        self.switch.now = self.switch.good

    def mute(self) -> None:
        """Cut the push channel, and keep it from coming back until `end`."""
        self.proxy.inject("503", "GET", "/api/v1/ws/", FOR_EVER)
        self.proxy.cut_websockets()

    async def broken_job(self) -> dict[str, Any]:
        """Return a job whose evaluation broke: its fee is owed back."""
        made = await self.instance.create("BREAK-JUDGE")
        await self.side.pay(made["evalInvoice"]["paymentRequest"])
        return await self.instance.until(made["jobId"], "failed", field="refunds")

    async def buyers_invoice(self, sats: int) -> str:
        """Return an invoice of the buyer's that holds for an hour of our clock."""
        return await self.side.make_invoice(sats, 3600 + self.clock.ahead_s)

    def claim(self, job: dict[str, Any], bolt11: str) -> "asyncio.Task[httpx2.Response]":
        """Begin to claim a refund."""
        path = f"/api/jobs/{job['jobId']}/refund"
        return asyncio.create_task(self.instance.post(path, {"invoice": bolt11}))

    async def tried(self, task: str, key: str) -> bool:
        """Wait until a promise was tried; say whether it is to be tried again."""
        async for _ in patiently(f"{task} {key} was not tried"):
            rows = await self.books.ask(
                "SELECT status, attempts FROM procrastinate_jobs"
                f" WHERE task_name = '{task}' AND lock LIKE '{key}%'"
            )
            begun = await self.books.ask(
                f"SELECT 1 FROM payout_attempt WHERE payout_id LIKE '{key}%'"
                " AND called_at IS NOT NULL"
            )
            again = bool(rows and rows[0]["attempts"] > 0 and rows[0]["status"] == "todo")
            if again or (begun and not rows):
                break
        return again

    async def hurry(self) -> None:
        """Have the worker try again now what it would try after a pause."""
        await self.books.ask("UPDATE procrastinate_jobs SET scheduled_at = now()")

    async def payout(self, job: dict[str, Any]) -> str:
        """Return the state of a job's payout."""
        [row] = await self.books.ask(f"SELECT state FROM payout WHERE job_id = '{job['jobId']}'")
        return str(row["state"])

    def pay_calls(self, bolt11: str) -> int:
        """Return how often LNbits was asked to pay this."""
        return sum(b'"out":true' in raw and bolt11.encode() in raw for raw in self.proxy.heard)


# ------------------------------------------------------------------------------- the story


async def story(stage: Stage) -> dict[str, str]:
    """Let every call meet the fault; return what each cell came to. All ends well."""
    first, second = await stage.broken_job(), await stage.broken_job()
    cells = {"create": "", "look up incoming": "", "push": ""}
    job = await _create(stage)
    cells["look up incoming"] = await _look_up_incoming(stage, job)
    cells["create"] = await _create_by_promise(stage, job)
    cells["push"] = await _push(stage, job)
    surplus = await stage.instance.job(job["jobId"])
    bolt11 = await stage.buyers_invoice(surplus["refunds"][0]["amountSats"])
    assert (await stage.claim(job, bolt11)).status_code == 200
    later = await stage.buyers_invoice(second["refunds"][0]["amountSats"])
    cells["pay"] = await _pay(stage, first, later)
    cells["look up outgoing"] = await _look_up_outgoing(stage, second, later)
    cells["health"] = await _health(stage)
    cells["balance"] = await _balance(stage)
    wrong = await audit(stage.books, stage.side)
    assert not wrong, wrong
    return cells


async def _create(stage: Stage) -> dict[str, Any]:
    body, key = {"request": "hello"}, {"headers": {"Idempotency-Key": "k" * 32}}
    await stage.begin("create")
    answer = await stage.instance.post("/api/jobs", body, **key)
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert "Nothing was charged" in answer.json()["error"]
    await stage.end()
    answer = await stage.instance.post("/api/jobs", body, **key)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def _look_up_incoming(stage: Stage, job: dict[str, Any]) -> str:
    stage.mute()
    while stage.switch.push_is_up:
        await asyncio.sleep(0.01)
    await stage.begin("look up incoming")
    await stage.side.pay(job["evalInvoice"]["paymentRequest"])
    told = await stage.instance.job(job["jobId"])
    assert told["state"] == "awaiting_eval_payment" and "evalInvoice" in told
    if stage.fault != "previous answer":
        stage.clock.forward(PAST_EXPIRY_S)  # its time is over, and nobody says it is unpaid
        await stage.loops.expiry.turn()
        told = await stage.instance.job(job["jobId"])
        stage.clock.forward(-PAST_EXPIRY_S)
    return "kept open" if told["state"] == "awaiting_eval_payment" else str(told["state"])


async def _create_by_promise(stage: Stage, job: dict[str, Any]) -> str:
    stage.switch.creates.clear()  # what is paid is seen before the fault begins, the work's is not
    await stage.end()
    await stage.begin("create")
    if stage.fault == "refused":  # or nobody could tell that the evaluation is paid
        await stage.proxy.listen()
        await stage.loops.sweep.turn()
        settled = await stage.loops.booking.look_up(await _hash(stage, job))
        assert not settled
        await stage.proxy.refuse()
    elif stage.fault in stage.rails:
        stage.switch.now = stage.switch.good
        await stage.loops.booking.look_up(await _hash(stage, job))
        stage.switch.now = stage.rails[stage.fault]
    stage.switch.creates.set()
    await stage.instance.until(job["jobId"], "awaiting_work_payment")
    again = await stage.tried("CreateInvoice", f"{job['jobId']}:work")
    told = await stage.instance.job(job["jobId"])
    assert again and "workInvoice" not in told and "pricingBreakdown" in told
    await stage.end()
    await stage.hurry()
    await stage.instance.until(job["jobId"], "awaiting_work_payment", field="workInvoice")
    return "made later"


async def _push(stage: Stage, job: dict[str, Any]) -> str:
    told = await stage.instance.job(job["jobId"])
    if stage.fault not in HEARD:
        await stage.begin("push")
        stage.proxy.cut_websockets()
        while stage.switch.push_is_up:
            await asyncio.sleep(0.01)
        if stage.fault in NOBODY_THERE:
            await stage.end()  # nobody can be asked either: it is seen afterwards
    await stage.side.pay(told["workInvoice"]["paymentRequest"])
    await stage.instance.until(job["jobId"], "complete")
    await stage.end()
    return NONE if stage.fault in HEARD else "seen all the same"


async def _pay(stage: Stage, job: dict[str, Any], other: str) -> str:
    bolt11 = await stage.buyers_invoice(job["refunds"][0]["amountSats"])
    await stage.begin("pay")
    claim = stage.claim(job, bolt11)
    again = await stage.tried("PayInvoice", job["jobId"])
    [refund] = (await stage.instance.job(job["jobId"]))["refunds"]
    assert refund["refundState"] == "pending" and "on its way" in refund["lastOutcome"]
    refused = await stage.claim(job, other)
    assert refused.status_code == 409 and "on its way" in refused.json()["error"]
    await stage.end()
    if again:
        await stage.hurry()
        assert (await claim).status_code in (200, 202)
        while await stage.payout(job) != "paid":
            await asyncio.sleep(0.05)
        return "sent later"
    stage.clock.forward(10)
    await stage.loops.payouts.turn()
    if await stage.payout(job) == "paid":
        await claim
        assert stage.pay_calls(bolt11) == 1
        return "found"
    stage.clock.forward(LONG)
    await stage.loops.payouts.turn()
    assert await stage.payout(job) == "owed" and stage.pay_calls(bolt11) == 1
    await claim
    bolt11 = await stage.buyers_invoice(job["refunds"][0]["amountSats"])
    assert (await stage.claim(job, bolt11)).status_code == 200
    assert stage.pay_calls(bolt11) == 1 and stage.pay_calls(other) == 0
    return "owed again"


async def _look_up_outgoing(stage: Stage, job: dict[str, Any], bolt11: str) -> str:
    if stage.clock.ahead_s:  # the one that was made before is expired by now
        bolt11 = await stage.buyers_invoice(job["refunds"][0]["amountSats"])
    stage.proxy.inject("answer lost", "POST", PAYMENTS, holding=b'"out":true')
    claim = stage.claim(job, bolt11)
    assert not await stage.tried("PayInvoice", job["jobId"])
    await stage.begin("look up outgoing")
    stage.clock.forward(10)
    await stage.loops.payouts.turn()
    state = await stage.payout(job)
    if stage.fault not in ("previous answer", "says failed"):
        stage.clock.forward(LONG)  # even when it could not arrive any more: it has arrived
        await stage.loops.payouts.turn()
        state = await stage.payout(job)
    await stage.end()
    stage.clock.forward(400)
    await stage.loops.payouts.turn()
    await claim
    assert await stage.payout(job) == "paid" and stage.pay_calls(bolt11) == 1
    return "in flight" if state == "in_flight" else state


async def _health(stage: Stage) -> str:
    seen = stage.loops.readiness
    await stage.begin("health")
    await seen.look("rail")
    in_trouble = seen.trouble("rail")
    await stage.end()
    await seen.look("rail")
    assert seen.trouble("rail") is None
    return "not ready" if in_trouble else NONE


async def _balance(stage: Stage) -> str:
    await stage.switch.good.look_up_invoice("ab" * 32)  # the answer to the previous call
    await stage.begin("balance")
    in_trouble = await books_of(stage.instance.built).review()
    await stage.end()
    well = await books_of(stage.instance.built).review()
    assert well.rail.is_done and not well.findings and not in_trouble.findings
    return NONE if in_trouble.rail.is_done else "not compared"


async def _hash(stage: Stage, job: dict[str, Any]) -> str:
    query = f"SELECT payment_hash FROM invoice WHERE id = '{job['jobId']}:eval'"
    return str((await stage.books.ask(query))[0]["payment_hash"])


# ------------------------------------------------------------------------------- the stage


@asynccontextmanager
async def stage_for(
    fault: str, server: LnbitsServer, database_url: str, folder: Path
) -> AsyncIterator[Stage]:
    """Give a stage with a wallet, a proxy, a database and an instance of its own."""
    side, clock = await LnbitsSide.on(server), MovableClock(folder / "clock")
    key = side.environment()["LNBITS_API_KEY"]
    with never_accepting() as nowhere:
        urls = {
            "no such name": ("http://lnbits.invalid", 5.0),
            "connect timeout": (nowhere, 0.6),
            "hang": (side.proxy.url, ENDS_S),
            "slow drip": (side.proxy.url, 0.8),
        }
        rails = {
            name: LnbitsRail(url, key, clock=clock, timeout_s=timeout_s)
            for name, (url, timeout_s) in urls.items()
            if name == fault
        }
        switch = Switch(LnbitsRail(side.proxy.url, key, clock=clock, timeout_s=20))
        async with instance_of(
            database_url, folder, rail=switch, clock=clock, SWEEP_S=60, RECONCILE_S=0,
            DATABASE_POOL=3,
        ) as instance:  # fmt: skip
            while not switch.push_is_up:
                await asyncio.sleep(0.01)
            books = Books(database_url)
            stage = Stage(instance, side, switch, books, fault)
            stage.rails = rails
            yield stage
            await books.close()
        for rail in rails.values():
            await rail.close()
        await side.close()
