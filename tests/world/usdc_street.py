"""A stub facilitator with its chain, a payer before it, and our client and reader of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from payments.usdc.address import Address
from payments.usdc.facilitator import HttpFacilitator
from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.outcome import Outcome, Unknown, outcome_of
from payments.usdc.payment import Payment
from payments.usdc.stub_facilitator import URL, StubFacilitator, StubLedger, StubTransport
from pricing.money import MicroUsdc
from tests.world.clock import Clock
from tests.world.usdc_fixtures import Payer

LONG_S = 60  # no answer of a stub takes so long


@dataclass
class Street:
    """A payer, a stub, and our client and reader of it."""

    stub: StubFacilitator
    facilitator: HttpFacilitator
    ledger: StubLedger
    clock: Clock
    payer: Payer

    async def has(self, holder: Address) -> MicroUsdc | Unknown:
        """Return what somebody holds."""
        return await self.ledger.balance_microusdc(holder)

    async def became(self, paid: Payment) -> Outcome:
        """Return what the chain says of an order."""
        order = paid.authorization
        return outcome_of(order, await self.ledger.use_of(order))


def client_of(stub: StubFacilitator, timeout_s: float = LONG_S) -> HttpFacilitator:
    """Return our client, whose questions reach a stub."""
    return HttpFacilitator(URL, BASE_SEPOLIA, timeout_s=timeout_s, transport=StubTransport(stub))


@asynccontextmanager
async def street_at(path: Path, timeout_s: float = LONG_S) -> AsyncIterator[Street]:
    """A stub whose chain is this file."""
    clock = Clock()
    stub = StubFacilitator(path, clock)
    facilitator = client_of(stub, timeout_s)
    yield Street(stub, facilitator, stub.ledger(BASE_SEPOLIA), clock, Payer())
    await facilitator.close()
    await stub.close()


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    """A stub with a chain of its own."""
    async with street_at(tmp_path / "chain.sqlite3") as made:
        yield made
