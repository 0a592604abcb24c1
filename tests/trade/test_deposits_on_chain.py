"""A real chain is read for what is sent to us: what lies deep enough, once, however it moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app.loops.deposits import Deposits
from db import deposits, ledger
from payments.usdc.chain import Chain
from payments.usdc.outcome import Received, Transfer
from statemachine.entries import Asset
from tests.world.account_fixtures import message_for, right, signed
from tests.world.deposit_fixtures import asked, unclaimed
from tests.world.house_fixtures import Instance, instance_of
from tests.world.local_chain import LocalChain
from tests.world.usdc_fixtures import SHOP, Payer, offer_on

FUNDS = 5_000_000
USDC = Asset.MICROUSDC


@asynccontextmanager
async def reading(
    chain: LocalChain, database_url: str, folder: Path, depth: int
) -> AsyncIterator[tuple[Instance, Deposits]]:
    """An instance that is paid on this chain, and reads it from here on."""
    async with instance_of(
        database_url,
        folder,
        FACILITATOR_URL="http://127.0.0.1:9",  # nobody is asked to settle anything here
        USDC_PAY_TO=SHOP,
        USDC_NETWORK=chain.network.caip2,
        CHAIN_RPC_URL=chain.url,
        CHAIN_DEPTH=depth,
    ) as at:
        assert at.built.usdc is not None
        loop = Deposits(at.built.db, at.built.shell, at.built.usdc)
        await loop.turn()
        assert loop.trouble is None, loop.trouble
        yield at, loop


async def payer_with(chain: LocalChain, name: str) -> Payer:
    """Return somebody who has USDC."""
    payer = Payer(name)
    await chain.give(payer.address, FUNDS)
    return payer


async def test_a_transfer_is_taken_in_once_it_lies_deep_enough(
    local_chain: LocalChain, database_url: str, tmp_path: Path
) -> None:
    """Not before; once, however often the chain is read; and what it is asked for opens an
    account, while its sender's own account has what else he sends."""
    known, stranger = [await payer_with(local_chain, name) for name in ("known", "stranger")]
    async with reading(local_chain, database_url, tmp_path, 3) as (at, loop):
        message = await message_for(at, known.key)
        signed_in = await at.post("/api/auth/siwe", signed(message, known.key))
        mine = signed_in.json()["accountId"]
        request, amount = await asked(at.built)
        assert amount is not None
        await local_chain.transfer(known.address, SHOP, 700_000)
        await local_chain.transfer(stranger.address, SHOP, amount)
        await loop.turn()
        assert await ledger.balance(at.built.db, "rail:x402", USDC) == 0
        await local_chain.mine(3)
        for _ in range(3):
            await loop.turn()
        for account_id, has in ((mine, 700_000), (request.account_id, amount)):
            assert await ledger.balance(at.built.db, f"user:{account_id}", USDC) == has
        await right(at)


async def test_what_is_reorganised_away_before_it_is_deep_is_never_taken_in(
    local_chain: LocalChain, database_url: str, tmp_path: Path
) -> None:
    """Sent anew it is taken in once, by whichever block has it in the end."""
    payer = await payer_with(local_chain, "payer")
    async with reading(local_chain, database_url, tmp_path, 3) as (at, loop):
        await local_chain.mine(5)
        await local_chain.transfer(payer.address, SHOP, 600_000)
        await loop.turn()
        await local_chain.rpc("anvil_reorg", 1, [])
        await local_chain.mine(5)
        await loop.turn()
        assert loop.trouble is None and await unclaimed(at.built) == []
        txid = await local_chain.transfer(payer.address, SHOP, 600_000)
        await local_chain.mine(3)
        await loop.turn()
        assert [row.txid for row in await unclaimed(at.built)] == [txid]
        await right(at)


async def test_without_depth_what_is_taken_back_is_seen_and_what_comes_again_counts_once(
    local_chain: LocalChain, database_url: str, tmp_path: Path
) -> None:
    """A transaction that the chain takes in anew, in another block and at another place of that, is
    the same deposit; until then it is in the books, and an operator is told that it is gone."""
    payer = await payer_with(local_chain, "payer")
    async with reading(local_chain, database_url, tmp_path, 0) as (at, loop):
        await local_chain.mine(3)
        await loop.turn()
        await local_chain.transfer(payer.address, SHOP, 600_000)
        await loop.turn()
        [first] = await unclaimed(at.built)
        raw = await local_chain.rpc("eth_getTransactionByHash", first.txid)
        assert int(raw["blockNumber"], 16) == first.block
        await local_chain.rpc("anvil_reorg", 2, [])
        for _ in range(2):
            await loop.turn()
        assert loop.trouble is not None and first.txid in loop.trouble
        assert [row.id for row in await deposits.gone(at.built.db, 9)] == [first.id]
        await local_chain.mine(2)
        # Signed by nobody else and with the same number: it is the same transaction again.
        assert await local_chain.transfer(payer.address, SHOP, 600_000) == first.txid
        await loop.turn()
        assert loop.trouble is None
        [again] = await unclaimed(at.built)
        assert (again.id, again.gone_at) == (first.id, None) and again.block > first.block
        assert await ledger.balance(at.built.db, "unclaimed", USDC) == 600_000
        await right(at)


async def test_a_signed_order_is_read_with_its_nonce(local_chain: LocalChain) -> None:
    """So that it is known whose it is; a plain transfer has none, and dust is not told of."""
    payer = await payer_with(local_chain, "payer")
    reader = Chain(local_chain.url, local_chain.network, depth=0, timeout_s=60, span_blocks=2)
    begun = await reader.received(SHOP, None)
    assert isinstance(begun, Received) and begun.is_all and begun.transfers == ()
    paid = payer.pays(offer_on(local_chain.network), await local_chain.now_s())
    assert await local_chain.settle(paid)
    await local_chain.transfer(payer.address, SHOP, 9_999)
    txid = await local_chain.transfer(payer.address, SHOP, 30_000)
    found: list[Transfer] = []
    at = begun
    while True:
        read = await reader.received(SHOP, at.upto)
        assert isinstance(read, Received)
        found += read.transfers
        if read.is_all:
            break
        at = read
    order = paid.authorization
    assert [(t.payer, t.amount_microusdc, t.nonce) for t in found] == [
        (payer.address, order.amount_microusdc, order.nonce),
        (payer.address, 30_000, None),
    ]
    assert found[1].txid == txid
    await reader.close()
