"""What networks and gateways do to a facilitator and a chain's node, between us and real ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from payments.rail import Unavailable
from payments.usdc.chain import Chain
from payments.usdc.facilitator import HttpFacilitator
from payments.usdc.network import BASE, BASE_SEPOLIA
from payments.usdc.outcome import Moved, Settled, Unknown, Unused, Used
from payments.usdc.payment import Payment
from payments.usdc.stub_chain import FAUCET
from tests.world.fault_proxy import LOST, UNHEARD, FaultProxy
from tests.world.usdc_fixtures import PRICE
from tests.world.usdc_world import LONG_S, StockWorld, UsdcWorld, on_stock

SOON_S = 4  # for what never ends
ENDLESS = {"hang", "slow drip"}
METHODS = (
    b"eth_chainId", b"eth_blockNumber", b"eth_getBlockByNumber", b"eth_call", b"eth_getLogs",
    b"eth_getTransactionReceipt",
)  # fmt: skip


@pytest.fixture
async def world(stock_usdc: StockWorld) -> AsyncIterator[UsdcWorld]:
    """The real chain, with a payer and a shop that are new to it."""
    async with on_stock(stock_usdc) as world:
        yield world


@asynccontextmanager
async def through_a_proxy(
    stock_usdc: StockWorld, timeout_s: float
) -> AsyncIterator[tuple[HttpFacilitator, FaultProxy]]:
    """x402's facilitator, with a proxy before it."""
    async with FaultProxy.before(stock_usdc.url) as proxy:
        facilitator = HttpFacilitator(proxy.url, BASE_SEPOLIA, timeout_s=timeout_s)
        yield facilitator, proxy
        await facilitator.close()


async def settles(world: UsdcWorld, paid: Payment) -> None:
    """Wait until the chain tells of an order: the facilitator may be at it."""
    async with asyncio.timeout(LONG_S):
        while not isinstance(await world.became(paid), Settled):
            await asyncio.sleep(0.05)  # the chain tells nobody by itself


@pytest.mark.parametrize("fault", [*UNHEARD, *LOST])
async def test_a_settlement_whose_answer_does_not_come_whole_is_unknown(
    stock_usdc: StockWorld, world: UsdcWorld, fault: str
) -> None:
    """Refused, hung, cut, dripped, or with another's page: it is Unknown, whether the money moved
    or not. The chain tells that; handed over again, the order moves it once in all."""
    paid = world.pays()
    timeout_s = SOON_S if fault in ENDLESS else LONG_S
    async with through_a_proxy(stock_usdc, timeout_s) as (facilitator, proxy):
        proxy.inject(fault, "POST", "/settle")
        said = await facilitator.settle(paid)
        assert type(said) is Unknown, said
        assert proxy.calls["POST", "/settle"] <= 1  # nothing is asked twice by itself
    if fault in LOST:
        await settles(world, paid)
        assert not isinstance(await world.facilitator.settle(paid), Settled)
        assert isinstance(await world.facilitator.verify(paid), Used)
    else:
        assert isinstance(await world.became(paid), Unknown)
        assert isinstance(await world.facilitator.settle(paid), Settled)
    assert await world.has(world.shop) == FAUCET + PRICE


@pytest.mark.parametrize("fault", ["reset", "503", "redirect", "200 with HTML", "gzip"])
async def test_a_facilitator_behind_a_bad_gateway_is_not_healthy(
    stock_usdc: StockWorld, world: UsdcWorld, fault: str
) -> None:
    """Nor does it verify; both are as before when the gateway is well."""
    async with through_a_proxy(stock_usdc, LONG_S) as (facilitator, proxy):
        proxy.inject(fault, times=2)
        assert isinstance(await facilitator.healthy(), Unavailable)
        assert type(await facilitator.verify(world.pays())) is Unknown
        assert await facilitator.healthy() is None


@pytest.mark.parametrize("fault", [*UNHEARD, *LOST])
async def test_a_chain_that_is_not_heard_whole_is_unknown(
    stock_usdc: StockWorld, world: UsdcWorld, fault: str
) -> None:
    """Whichever question of all that are asked goes wrong. Asked again, it tells what it knows."""
    paid = world.pays()
    assert isinstance(await world.facilitator.settle(paid), Settled)
    async with FaultProxy.before(stock_usdc.chain.url) as proxy:
        for method in METHODS if fault not in ENDLESS else METHODS[3:4]:
            if (fault, method) == ("a megabyte", b"eth_getLogs"):
                continue  # of a block full of transfers, an answer is longer than that
            timeout_s = SOON_S if fault in ENDLESS else LONG_S
            chain = Chain(proxy.url, BASE_SEPOLIA, depth=0, timeout_s=timeout_s)
            proxy.inject(fault, "POST", holding=method)
            assert isinstance(await chain.use_of(paid.authorization), Unknown), method
            await chain.close()
        chain = Chain(proxy.url, BASE_SEPOLIA, depth=0, timeout_s=LONG_S)
        use = await chain.use_of(paid.authorization)
        assert isinstance(use, Moved) and use.payee == world.shop.address
        assert isinstance(await chain.use_of(world.pays().authorization), Unused)
        await chain.close()


async def test_a_node_of_another_chain_is_not_believed(
    stock_usdc: StockWorld, world: UsdcWorld
) -> None:
    """The same orders and addresses mean something else there."""
    paid = world.pays()
    assert isinstance(await world.facilitator.settle(paid), Settled)
    chain = Chain(stock_usdc.chain.url, BASE, depth=0, timeout_s=LONG_S)
    use = await chain.use_of(paid.authorization)
    assert isinstance(use, Unknown) and "CHAIN_RPC_URL" in use.reason
    assert isinstance(await chain.balance_microusdc(world.shop.address), Unknown)
    await chain.close()
