"""Payouts have hands of their own: who holds his payment up holds up nobody's work."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.promises.payees import Payees
from db.promises import TryAgain
from payments.rail import Outcome
from payments.stub import StubRail
from pricing.money import Msat
from tests.world.house_fixtures import Instance, instance_of
from tests.world.rail_fixtures import wall_clock
from tests.world.refund_fixtures import until_refund

CLAIMS = 28


class HeldRail(StubRail):
    """The stub, where whoever is paid by us holds each payment until the test lets go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, wall_clock)
        self.held, self.most_held = 0, 0
        self.go = asyncio.Event()
        self.full = asyncio.Event()  # as many are held as the test waits for
        self.wanted = 0

    async def pay(self, bolt11: str, fee_limit_msat: Msat, wallet: str | None = None) -> Outcome:
        """See Rail."""
        self.held += 1
        self.most_held = max(self.most_held, self.held)
        if self.held >= self.wanted:
            self.full.set()
        await self.go.wait()
        self.held -= 1
        return await super().pay(bolt11, fee_limit_msat, wallet)


@dataclass
class Siege:
    """An instance whose refunds are all held by one payee."""

    house: Instance
    rail: HeldRail
    claims: "list[asyncio.Task[object]]"
    jobs: list[str]


async def begin(house: Instance, rail: HeldRail) -> Siege:
    """Have many refunds claimed at once, none of which is answered."""
    jobs, claims = [], []
    for _ in range(CLAIMS):
        made = await house.create("hello")
        due_sats = made["evalInvoice"]["amountSats"]
        await house.pay(made["evalInvoice"], amountSats=due_sats + 100)
        await until_refund(house, made["jobId"], refundState="pending")
        invoice = await house.post("/api/dev/stub/invoice", {"amountSats": 100})
        body = {"invoice": invoice.json()["paymentRequest"]}
        claim = house.post(f"/api/jobs/{made['jobId']}/refund", body)
        claims.append(asyncio.create_task(claim))
        jobs.append(made["jobId"])
    await rail.full.wait()
    return Siege(house, rail, list(claims), jobs)


@pytest.fixture(params=[(4, 4), (CLAIMS, 16)], ids=["one payee", "many payees"])
async def siege(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> AsyncIterator[Siege]:
    """A siege by one payee, and one in which each may hold as many as there are hands."""
    each, held = request.param
    rail = HeldRail(tmp_path / "stub.sqlite3")
    rail.wanted = held
    async with instance_of(database_url, tmp_path, rail=rail, PAYOUTS_EACH=each) as house:
        yield await begin(house, rail)


async def test_held_payments_hold_up_no_work(siege: Siege) -> None:
    """An honest job is judged and done before any of the payments that a payee holds is let go."""
    job = await siege.house.to_end("not held up")
    assert job["state"] == "complete"
    assert siege.rail.held == siege.rail.most_held == siege.rail.wanted  # and no more at once
    siege.rail.go.set()
    await asyncio.gather(*siege.claims)
    for job_id in siege.jobs:
        await until_refund(siege.house, job_id, refundState="paid")


def test_a_payee_who_holds_enough_is_asked_again_later() -> None:
    """The limit is each payee's own; whoever answers makes room for his next one."""
    payees = Payees(2)
    with payees.one_more("slow"), payees.one_more("slow"):
        with pytest.raises(TryAgain), payees.one_more("slow"):
            pass
        with payees.one_more("another"):
            pass
    with payees.one_more("slow"):
        pass
