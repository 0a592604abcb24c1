"""USDC in two worlds, so that one test says what is true of both: the stub, and a real chain with
x402's own facilitator.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from payments.usdc.chain import Chain
from payments.usdc.facilitator import HttpFacilitator
from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.outcome import Ledger, Outcome, Unknown, outcome_of
from payments.usdc.payment import Payment, UsdcOffer
from payments.usdc.stub_chain import FAUCET
from payments.usdc.stub_facilitator import URL, StubFacilitator, StubTransport
from tests.world.local_chain import LocalChain, installed, running
from tests.world.usdc_fixtures import PRICE, WINDOW_S, Payer

FACILITATOR = Path(__file__).parents[1] / "stock_clients" / "x402_facilitator.py"
LONG_S = 100
# The first account of anvil, which has gas; its key is in every manual.
GAS_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
names = count()


@dataclass
class UsdcWorld:
    """A facilitator, and who reads the chain behind it; a payer and a shop that are new to it."""

    name: str
    facilitator: HttpFacilitator
    ledger: Ledger
    payer: Payer = field(default_factory=lambda: Payer(f"payer {next(names)}"))
    shop: Payer = field(default_factory=lambda: Payer(f"shop {next(names)}"))
    stock: "StockWorld | None" = None  # where it is a real chain

    @property
    def offer(self) -> UsdcOffer:
        """What the shop offers."""
        return UsdcOffer(BASE_SEPOLIA, self.shop.address, PRICE, WINDOW_S)

    def pays(self, **changed: object) -> Payment:
        """Return a payment that is signed now."""
        return self.payer.pays(self.offer, int(time.time()), **changed)

    async def became(self, paid: Payment) -> Outcome:
        """Return what the chain says of an order."""
        order = paid.authorization
        return outcome_of(order, await self.ledger.use_of(order))

    async def has(self, holder: Payer) -> int:
        """Return what somebody has."""
        balance = await self.ledger.balance_microusdc(holder.address)
        assert not isinstance(balance, Unknown), balance
        return balance


@dataclass
class StockWorld:
    """A chain, and where x402's facilitator listens that serves it."""

    chain: LocalChain
    url: str


@asynccontextmanager
async def facilitator_of(chain: LocalChain) -> AsyncIterator[str]:
    """x402's own facilitator, in a process of its own."""
    python = installed() / "venv" / "bin" / "python"
    process = await asyncio.create_subprocess_exec(
        python, FACILITATOR, chain.url, GAS_KEY, chain.network.caip2,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(LONG_S):
            url = (await process.stdout.readline()).decode().strip()
        assert url.startswith("http://127.0.0.1:"), "the facilitator has ended"
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.fixture(scope="session")
async def stock_usdc() -> AsyncIterator[StockWorld]:
    """A chain with x402's facilitator, one for the whole run."""
    async with running(BASE_SEPOLIA) as chain, facilitator_of(chain) as url:
        yield StockWorld(chain, url)


@asynccontextmanager
async def on_stock(stock: StockWorld) -> AsyncIterator[UsdcWorld]:
    """The real chain, as a payer and a shop that are new to it see it."""
    facilitator = HttpFacilitator(stock.url, BASE_SEPOLIA, timeout_s=LONG_S)
    ledger = Chain(stock.chain.url, BASE_SEPOLIA, depth=0, timeout_s=LONG_S)
    world = UsdcWorld("stock", facilitator, ledger, stock=stock)
    for each in (world.payer, world.shop):
        await stock.chain.give(each.address, FAUCET)
    yield world
    await facilitator.close()
    await ledger.close()


@asynccontextmanager
async def on_stub(path: Path) -> AsyncIterator[UsdcWorld]:
    """The stub, whose newcomers have as much."""
    stub = StubFacilitator(path, lambda: datetime.now(UTC))
    facilitator = HttpFacilitator(
        URL, BASE_SEPOLIA, timeout_s=LONG_S, transport=StubTransport(stub)
    )
    yield UsdcWorld("stub", facilitator, stub.ledger(BASE_SEPOLIA))
    await facilitator.close()
    await stub.close()


@pytest.fixture(params=["stub", "stock"])
async def usdc_world(
    request: pytest.FixtureRequest, tmp_path: Path, stock_usdc: StockWorld
) -> AsyncIterator[UsdcWorld]:
    """Both worlds, by turns."""
    made = on_stub(tmp_path / "usdc.sqlite3") if request.param == "stub" else on_stock(stock_usdc)
    async with made as world:
        yield world
