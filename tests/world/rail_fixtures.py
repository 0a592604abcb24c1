"""Rails for the tests: the stub with a clock of its own, a real LNbits, and a buyer for each.

`world` is both rails by turns, so that one test says what is true of every rail.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from payments.bolt11 import decode
from payments.lnbits import LnbitsRail
from payments.rail import Opened, Rail, Settled
from payments.stub import StubRail
from pricing.money import Msat, sats_to_msat
from tests.world.fault_proxy import FaultProxy
from tests.world.house_fixtures import Instance
from tests.world.lnbits_server import LnbitsServer
from tests.world.patience import PATIENCE_S

FUNDS_MSAT = sats_to_msat(100_000)


class RailClock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move it."""
        self.now += timedelta(seconds=seconds)


@dataclass
class World:
    """A rail, and the buyer on its other side."""

    rail: Rail
    buyer_pays: Callable[[str], Awaitable[object]]  # our BOLT11
    buyer_invoice: Callable[[int], Awaitable[str]]  # sats → the buyer's BOLT11
    buyer_has_msat: Callable[[str], Awaitable[int]]  # what one of the buyer's invoices brought


def wall_clock() -> datetime:
    """Return the real time, as LNbits lives in it."""
    return datetime.now(UTC)


@pytest.fixture(scope="session")
async def lnbits() -> AsyncIterator[LnbitsServer]:
    """One real LNbits for the whole run."""
    async with LnbitsServer.running() as server:
        yield server


@pytest.fixture
async def lnbits_rail(lnbits: LnbitsServer) -> AsyncIterator[LnbitsRail]:
    """Our rail over the real LNbits."""
    rail = LnbitsRail(lnbits.url, lnbits.us.adminkey, clock=wall_clock)
    yield rail
    await rail.close()


@pytest.fixture
async def fault_proxy(lnbits: LnbitsServer) -> AsyncIterator[FaultProxy]:
    """A fault proxy that stands before the real LNbits."""
    async with FaultProxy.before(lnbits.url) as proxy:
        yield proxy


@pytest.fixture
def rail_clock() -> RailClock:
    """The clock of `stub_rail`."""
    return RailClock()


@pytest.fixture
async def stub_rail(tmp_path: Path, rail_clock: RailClock) -> AsyncIterator[StubRail]:
    """A stub rail with a new store and no money."""
    rail = StubRail(tmp_path / "stub.sqlite", rail_clock)
    yield rail
    await rail.close()


async def fund(rail: StubRail, amount_msat: Msat = FUNDS_MSAT) -> None:
    """Let the stub's node receive something to pay with."""
    opened = await rail.create_invoice(f"funds {amount_msat}", amount_msat, "funds", 3_600)
    assert isinstance(opened, Opened)
    assert isinstance(await rail.receive(opened.payment_hash), Settled)


def stub_world(rail: StubRail) -> World:
    """Return the stub with its buyer's wallet as the other side."""

    async def buyer_invoice(amount_sat: int) -> str:
        return (await rail.buyer_invoice(sats_to_msat(amount_sat), "refund", 600)).bolt11

    return World(
        rail=rail,
        buyer_pays=lambda bolt11: rail.receive(decode(bolt11).payment_hash),
        buyer_invoice=buyer_invoice,
        buyer_has_msat=lambda bolt11: rail.buyer_received_msat(decode(bolt11).payment_hash),
    )


def lnbits_world(rail: LnbitsRail, server: LnbitsServer) -> World:
    """Return LNbits with a wallet of another user as the other side."""

    async def buyer_has_msat(bolt11: str) -> int:
        told = await server.payment(server.buyer, decode(bolt11).payment_hash)
        return int(told["details"]["amount"]) if told["paid"] else 0

    return World(
        rail=rail,
        buyer_pays=lambda bolt11: server.pay(server.buyer, bolt11),
        buyer_invoice=lambda amount_sat: server.create_invoice(server.buyer, amount_sat),
        buyer_has_msat=buyer_has_msat,
    )


@pytest.fixture
async def funded_stub(stub_rail: StubRail) -> StubRail:
    """The stub rail with money in it."""
    await fund(stub_rail)
    return stub_rail


@pytest.fixture(params=["stub", "lnbits"])
def world(request: pytest.FixtureRequest) -> World:
    """Every rail by turns, with money in it."""
    if request.param == "stub":
        return stub_world(request.getfixturevalue("funded_stub"))
    return lnbits_world(request.getfixturevalue("lnbits_rail"), request.getfixturevalue("lnbits"))


async def next_push(
    pushes: AsyncIterator[Settled | None], within_s: float = PATIENCE_S
) -> Settled | None:
    """Return the next thing a rail pushes."""
    async with asyncio.timeout(within_s):
        return await anext(pushes)


async def no_more(pushes: AsyncIterator[Settled | None]) -> None:
    """Stop listening to what a rail pushes."""
    assert isinstance(pushes, AsyncGenerator)
    await pushes.aclose()


async def buy(instance: Instance, lnbits: LnbitsServer, request: str) -> dict[str, Any]:
    """Buy a job, the buyer's wallet paying through LNbits' own API."""
    made = await instance.create(request)
    await lnbits.pay(lnbits.buyer, made["evalInvoice"]["paymentRequest"])
    job = await instance.until(made["jobId"], "awaiting_work_payment", field="workInvoice")
    await lnbits.pay(lnbits.buyer, job["workInvoice"]["paymentRequest"])
    return await instance.until(made["jobId"], "complete", "failed")
