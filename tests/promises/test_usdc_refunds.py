"""Refunds in USDC: a debt's own nonce is used once, whatever is forgotten."""

import asyncio

import orjson

from payments.usdc.network import BASE, BASE_SEPOLIA
from payments.usdc.outcome import Failed, Settled, Unknown
from payments.usdc.refund import RefundKey, refund_nonce, what_became
from payments.usdc.stub_chain import FAUCET
from tests.world.clock import Clock
from tests.world.usdc_fixtures import PRICE, SHOP, SHOP_KEY, Payer
from tests.world.usdc_street import Street

PAYOUT = "0123456789abcdef"


async def test_a_refund_moves_once_however_it_is_handed_over(street: Street) -> None:
    """Twice, signed again with a later window, to another address, five at once: the debt's own
    nonce is used once, and each of these orders is told that the debt is paid."""
    key, payer = RefundKey(SHOP_KEY, BASE_SEPOLIA), street.payer.address
    first = key.refund(PAYOUT, payer, PRICE, street.clock())
    street.clock.forward(seconds=60)
    later = key.refund(PAYOUT, payer, PRICE, street.clock())
    other = key.refund(PAYOUT, Payer("another").address, PRICE, street.clock())
    assert later.authorization != first.authorization
    assert len({each.authorization.nonce for each in (first, later, other)}) == 1
    orders = [first, later, other, first, later]
    for each in orders:
        assert not isinstance(await what_became(each, street.ledger, street.facilitator), Settled)
    await asyncio.gather(*(street.facilitator.settle(each) for each in orders))
    assert await street.has(SHOP) == FAUCET - PRICE
    for each in orders:
        for ledger in (street.ledger, None):
            became = await what_became(each, ledger, street.facilitator)
            assert isinstance(became, Settled) and became.amount_microusdc == PRICE


async def test_a_refund_that_was_not_sent_in_its_time_is_signed_again(street: Street) -> None:
    """Its end passes without use: Failed, by the chain's own time. The next one moves the money,
    and the first can't any more."""
    key, payer = RefundKey(SHOP_KEY, BASE_SEPOLIA), street.payer.address
    first = key.refund(PAYOUT, payer, PRICE, street.clock())
    await street.stub.script_fault("settle", "5xx")
    assert isinstance(await street.facilitator.settle(first), Unknown)
    assert isinstance(await what_became(first, street.ledger, street.facilitator), Unknown)
    street.clock.forward(seconds=700)
    assert isinstance(await what_became(first, street.ledger, street.facilitator), Failed)
    # Without a chain nobody can say that it was never sent.
    assert isinstance(await what_became(first, None, street.facilitator), Unknown)
    second = key.refund(PAYOUT, payer, PRICE, street.clock())
    assert isinstance(await street.facilitator.settle(second), Settled)
    assert not isinstance(await street.facilitator.settle(first), Settled)
    assert await street.has(SHOP) == FAUCET - PRICE


async def test_a_facilitator_that_would_still_send_a_refund_has_not_sent_it(
    street: Street,
) -> None:
    """Without a chain, "valid" is no proof that it will not be sent."""
    refund = RefundKey(SHOP_KEY, BASE_SEPOLIA).refund(
        PAYOUT, street.payer.address, PRICE, street.clock()
    )
    assert isinstance(await what_became(refund, None, street.facilitator), Unknown)


def test_a_refund_is_named_by_the_debt_and_the_network() -> None:
    """The nonce is a hash of both, the same for ever, and another one for another debt."""
    told = "0x5a9d1eac06837f69d8c887be48c3913adbf12d3d929899ea1683d3e59c2848a4"
    nonces = [refund_nonce(n, p) for n in (BASE, BASE_SEPOLIA) for p in (PAYOUT, PAYOUT + "0")]
    assert refund_nonce(BASE, PAYOUT) == told and len(set(nonces)) == 4


def test_the_key_of_refunds_shows_its_address_alone() -> None:
    """Neither its text nor that of what it signs holds the key."""
    key = RefundKey(SHOP_KEY, BASE_SEPOLIA)
    refund = key.refund(PAYOUT, Payer().address, PRICE, Clock().now)
    assert repr(key) == f"RefundKey({SHOP}, eip155:84532)"
    assert SHOP_KEY.hex() not in repr([key, refund]) + str(orjson.dumps(refund.asked()))
