"""A real chain is asked what became of an order: only what lies so deep that it stays is told."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
import orjson
import pytest

from payments.usdc.address import keccak
from payments.usdc.authorization import signature_of
from payments.usdc.chain import Chain
from payments.usdc.network import BASE, BASE_SEPOLIA, Network
from payments.usdc.outcome import Failed, Moved, Outcome, Settled, Unknown, outcome_of
from payments.usdc.payment import Payment
from payments.usdc.refund import RefundKey
from tests.world.local_chain import CONTRACTS, LocalChain, called, running
from tests.world.usdc_fixtures import NOW_S, OFFER, PRICE, SHOP, SHOP_KEY, WINDOW_S, Payer, offer_on

LONG_S = 60
SPAN = 10  # blocks of logs that are asked for at once: few, for there are few
FUNDS = 1_000_000


@asynccontextmanager
async def reading(chain: LocalChain, depth: int) -> AsyncIterator[Chain]:
    """A reader of ours, that believes what has so many blocks on top."""
    reader = Chain(chain.url, chain.network, depth=depth, timeout_s=LONG_S, span_blocks=SPAN)
    yield reader
    await reader.close()


async def became(chain: LocalChain, paid: Payment, depth: int = 0) -> Outcome:
    """Return what the chain says of an order."""
    async with reading(chain, depth) as reader:
        order = paid.authorization
        return outcome_of(order, await reader.use_of(order))


@pytest.fixture
async def payer(local_chain: LocalChain) -> Payer:
    """A payer with USDC."""
    payer = Payer()
    await local_chain.give(payer.address, FUNDS)
    return payer


@pytest.mark.parametrize("name", ["local_usdc", "local_wallet", "multicall"])
def test_a_contract_is_what_its_source_makes(name: str) -> None:
    """The code was made of this source: its hash stands before it."""
    source, code = ((CONTRACTS / f"{name}.{kind}").read_bytes() for kind in ("sol", "hex"))
    assert code.split()[0].decode() == hashlib.sha256(source).hexdigest()


@pytest.mark.parametrize("network", [BASE, BASE_SEPOLIA], ids=lambda network: network.title)
async def test_the_contract_takes_what_we_sign(network: Network) -> None:
    """On each chain, under the name that it has there: our hash is the contract's, to the bit, and
    the money moves; what is signed for the other chain is refused."""
    async with running(network) as chain:
        payer, now_s = Payer(), await chain.now_s()
        await chain.give(payer.address, FUNDS)
        call = {"to": network.token, "data": called("DOMAIN_SEPARATOR()")}
        separator = await chain.rpc("eth_call", call, "latest")
        assert separator == "0x" + network.domain_separator.hex()
        abroad = payer.pays(offer_on(BASE if network is BASE_SEPOLIA else BASE_SEPOLIA), now_s)
        assert not await chain.settle(abroad)
        for _ in range(8):  # signatures with either v
            assert await chain.settle(payer.pays(offer_on(network), now_s))
        async with reading(chain, 0) as reader:
            assert await reader.balance_microusdc(SHOP) == 8 * PRICE
            assert await reader.balance_microusdc(payer.address) == FUNDS - 8 * PRICE


async def test_a_payment_is_settled_once_it_lies_deep_enough(
    local_chain: LocalChain, payer: Payer
) -> None:
    """Before it is used, and under too few blocks, nobody knows; then it is, with the transaction,
    and it stays so."""
    paid = payer.pays(OFFER, await local_chain.now_s())
    assert isinstance(await became(local_chain, paid), Unknown)
    assert await local_chain.settle(paid)
    assert not await local_chain.settle(paid)  # the contract's own law: once
    assert isinstance(await became(local_chain, paid, depth=3), Unknown)
    async with reading(local_chain, 3) as reader:
        assert await reader.balance_microusdc(SHOP) == 0
        await local_chain.mine(3)
        settled = await became(local_chain, paid, depth=3)
        assert isinstance(settled, Settled) and settled.amount_microusdc == PRICE
        receipt = await local_chain.rpc("eth_getTransactionReceipt", settled.transaction)
        assert receipt["status"] == "0x1"
        assert await reader.balance_microusdc(SHOP) == PRICE
    await local_chain.pass_time(WINDOW_S * 2)
    assert await became(local_chain, paid, depth=0) == settled


async def test_an_old_payment_is_found_behind_many_blocks(
    local_chain: LocalChain, payer: Payer
) -> None:
    """Its mark is looked for backwards, by spans of blocks, to the time that it begins."""
    paid = payer.pays(OFFER, await local_chain.now_s())
    assert await local_chain.settle(paid)
    await local_chain.mine(35)
    assert isinstance(await became(local_chain, paid, depth=12), Settled)


async def test_what_is_reorganised_away_was_never_told(
    local_chain: LocalChain, payer: Payer
) -> None:
    """Three blocks deep it was not told; without depth it was, and then is not any more. Settled
    anew, it is told once and for all."""
    paid = payer.pays(OFFER, await local_chain.now_s())
    await local_chain.mine(2)
    assert await local_chain.settle(paid)
    assert isinstance(await became(local_chain, paid, depth=3), Unknown)
    assert isinstance(await became(local_chain, paid, depth=0), Settled)
    await local_chain.rpc("anvil_reorg", 2, [])
    await local_chain.mine(3)
    for depth in (0, 3):
        assert isinstance(await became(local_chain, paid, depth=depth), Unknown)
    assert await local_chain.settle(paid)
    await local_chain.mine(3)
    assert isinstance(await became(local_chain, paid, depth=3), Settled)


async def test_an_order_whose_time_is_over_has_failed(
    local_chain: LocalChain, payer: Payer
) -> None:
    """By the time of a block so deep that it stays, and not by our clock: the contract refuses it
    from then on."""
    paid = payer.pays(OFFER, await local_chain.now_s())
    await local_chain.pass_time(WINDOW_S + 1)
    assert isinstance(await became(local_chain, paid, depth=1), Unknown)
    assert isinstance(await became(local_chain, paid, depth=0), Failed)
    assert not await local_chain.settle(paid)


async def test_a_nonce_that_was_used_otherwise_pays_nothing(
    local_chain: LocalChain, payer: Payer
) -> None:
    """For less, to somebody else, or cancelled: the contract calls the nonce used, and we don't
    call the order settled."""
    now_s = await local_chain.now_s()
    for other in ({"amount_microusdc": 1}, {"payee": payer.address}):
        ours = payer.pays(OFFER, now_s)
        cheap = payer.pays(OFFER, now_s, nonce=ours.authorization.nonce, **other)
        assert await local_chain.settle(cheap) and not await local_chain.settle(ours)
        assert isinstance(await became(local_chain, ours), Failed)
    canceled = payer.pays(OFFER, now_s)
    assert await cancel(local_chain, payer, canceled.authorization.nonce)
    assert not await local_chain.settle(canceled)
    assert isinstance(await became(local_chain, canceled), Failed)
    async with reading(local_chain, 0) as reader:
        assert await reader.balance_microusdc(SHOP) == 1


async def cancel(chain: LocalChain, payer: Payer, nonce: str) -> bool:
    """Let a payer make a nonce useless."""
    kind = keccak(b"CancelAuthorization(address authorizer,bytes32 nonce)")
    words = bytes.fromhex(payer.address[2:]).rjust(32, b"\0") + bytes.fromhex(nonce[2:])
    digest = keccak(b"\x19\x01" + chain.network.domain_separator + keccak(kind + words))
    raw = bytes.fromhex(signature_of(payer.key, digest)[2:])
    return await chain.send(
        called(
            "cancelAuthorization(address,bytes32,uint8,bytes32,bytes32)",
            *(payer.address, nonce, raw[64], raw[:32], raw[32:64]),
        )
    )


async def test_a_refund_moves_once_on_a_real_chain(local_chain: LocalChain) -> None:
    """Handed over twice, with a later window, and to another address: the contract takes one of
    them, and the chain tells which."""
    await local_chain.give(SHOP, FUNDS)
    now = datetime.fromtimestamp(await local_chain.now_s(), UTC)
    key, payer = RefundKey(SHOP_KEY, BASE_SEPOLIA), Payer()
    first, other = (key.refund("p1", each, PRICE, now) for each in (payer.address, OTHER))
    assert await local_chain.settle(first)
    await local_chain.pass_time(60)
    later = datetime.fromtimestamp(await local_chain.now_s(), UTC)
    for again in (first, other, key.refund("p1", payer.address, PRICE, later)):
        assert not await local_chain.settle(again)
    async with reading(local_chain, 0) as reader:
        use = await reader.use_of(other.authorization)
        assert getattr(use, "payee", None) == payer.address
        assert await reader.balance_microusdc(SHOP) == FUNDS - PRICE


OTHER = Payer("another").address


# ------------------------------------------------------------- nodes that can't be believed

TXID, HASH, OTHER_HASH = ("0x" + c * 64 for c in "123")
HIDDEN = "https://node.example/planted-key"


def node_of(answers: dict[str, Any]) -> Chain:
    """Return a reader of a node that answers each method with this, or one after the other."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        method = orjson.loads(request.content)["method"]
        told = answers[method]
        result = told.pop(0) if isinstance(told, list) and len(told) > 1 else told
        result = result[0] if isinstance(result, list) and len(result) == 1 else result
        body = result if isinstance(result, bytes) else orjson.dumps({"id": 1, "result": result})
        return httpx2.Response(200, stream=httpx2.ByteStream(body))

    transport = httpx2.MockTransport(answer)
    return Chain(HIDDEN, BASE_SEPOLIA, depth=2, timeout_s=LONG_S, transport=transport)


def told_of(paid: Payment) -> dict[str, Any]:
    """Return what an honest node says of an order that was settled."""
    order = paid.authorization
    payer, payee = ("0x" + each[2:].lower().rjust(64, "0") for each in (order.payer, order.payee))
    at = {"blockNumber": "0x10", "transactionHash": TXID, "address": BASE_SEPOLIA.token}
    mark = {**at, "logIndex": "0x4", "topics": [USED, payer, order.nonce], "data": "0x"}
    amount = "0x" + order.amount_microusdc.to_bytes(32, "big").hex()
    moved = {**at, "logIndex": "0x5", "topics": [TRANSFER, payer, payee], "data": amount}
    return {
        "eth_chainId": "0x14a34",
        "eth_blockNumber": "0x12",
        "eth_getBlockByNumber": {"number": "0x10", "hash": HASH, "timestamp": hex(NOW_S)},
        "eth_call": "0x" + "1".rjust(64, "0"),
        "eth_getLogs": [[mark]],
        "eth_getTransactionReceipt": {"status": "0x1", "logs": [mark, moved]},
    }


USED, TRANSFER = (
    "0x" + keccak(event).hex()
    for event in (b"AuthorizationUsed(address,bytes32)", b"Transfer(address,address,uint256)")
)


async def use_at(answers: dict[str, Any], paid: Payment) -> Any:
    """Return what a node says that the nonce of an order was used for."""
    reader = node_of(answers)
    use = await reader.use_of(paid.authorization)
    await reader.close()
    return use


async def test_a_node_that_tells_it_all_is_believed() -> None:
    """The next tests spoil one of these answers each."""
    paid = Payer().pays(OFFER)
    assert await use_at(told_of(paid), paid) == Moved(TXID, SHOP, PRICE)


@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("eth_chainId", "0x1"),
        ("eth_chainId", 84_532),
        ("eth_chainId", b"<html>"),
        ("eth_chainId", b'{"id":1,"error":{"code":-32000,"message":"planted"}}'),
        ("eth_chainId", b'{"id":2,"result":"0x14a34"}'),
        ("eth_chainId", b'{"id":1}'),
        ("eth_chainId", b"[]"),
        ("eth_blockNumber", None),
        ("eth_blockNumber", "0x" + "f" * 60),
        ("eth_getBlockByNumber", None),
        ("eth_getBlockByNumber", {"number": "0x10", "hash": 7, "timestamp": "0x1"}),
        ("eth_getBlockByNumber", {"number": "0x10", "hash": HASH}),
        ("eth_call", "0x"),
        ("eth_call", "0x1"),
        ("eth_call", None),
        ("eth_getLogs", {}),
        ("eth_getLogs", [[7]]),
        ("eth_getLogs", [[{"removed": False}]]),
        ("eth_getLogs", [[]]),
        ("eth_getTransactionReceipt", None),
        ("eth_getTransactionReceipt", {"status": "0x0", "logs": []}),
        ("eth_getTransactionReceipt", {"status": "0x1", "logs": []}),
        ("eth_getTransactionReceipt", {"status": "0x1", "logs": None}),
    ],
    ids=range(23),
)
async def test_an_answer_that_proves_nothing_is_unknown(method: str, result: Any) -> None:
    """Another chain, an error, other JSON, what has the wrong form or is not there: no answer of a
    node raises, settles or fails anything, or shows the node's address."""
    paid = Payer().pays(OFFER)
    use = await use_at({**told_of(paid), method: result}, paid)
    assert isinstance(use, Unknown) and "planted" not in use.reason and use.reason


async def test_logs_of_others_prove_nothing() -> None:
    """A transfer by another contract, before the mark, of another payer, or taken back."""
    paid = Payer().pays(OFFER)
    for place, value in (
        ("address", SHOP),
        ("logIndex", "0x3"),
        ("logIndex", "0x6"),
        ("blockNumber", "0x11"),
        ("removed", True),
        ("topics", [TRANSFER, "0x" + "0" * 64, "0x" + "0" * 64]),
        ("topics", [USED]),
        ("data", "0x1"),
    ):
        told = told_of(paid)
        told["eth_getTransactionReceipt"]["logs"][1][place] = value
        assert isinstance(await use_at(told, paid), Unknown), place


async def test_a_chain_that_moves_while_it_is_read_is_unknown() -> None:
    """The block that all was read at must be there yet when all has been read."""
    paid = Payer().pays(OFFER)
    told = told_of(paid)
    before = told["eth_getBlockByNumber"]
    told["eth_getBlockByNumber"] = [before, {**before, "hash": OTHER_HASH}]
    use = await use_at(told, paid)
    assert isinstance(use, Unknown) and "reorganised" in use.reason


async def test_a_node_that_is_away_is_unknown() -> None:
    """So is what somebody holds."""
    reader = Chain("http://127.0.0.1:9", BASE_SEPOLIA, depth=2, timeout_s=LONG_S)
    assert isinstance(await reader.use_of(Payer().pays(OFFER).authorization), Unknown)
    assert isinstance(await reader.balance_microusdc(SHOP), Unknown)
    await reader.close()
