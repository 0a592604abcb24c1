"""What is true of every facilitator and every chain: the stub's, and x402's own on a real one."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from payments.usdc.authorization import signature_of
from payments.usdc.network import BASE, BASE_SEPOLIA
from payments.usdc.outcome import Declined, Failed, Settled, Unknown, Used, Valid
from payments.usdc.payment import UsdcOffer
from payments.usdc.refund import RefundKey, what_became
from payments.usdc.stub_chain import FAUCET
from pricing.money import MicroUsdc
from tests.world.usdc_fixtures import PRICE, WINDOW_S, Payer
from tests.world.usdc_world import UsdcWorld


async def test_a_payment_settles_and_the_chain_says_so(usdc_world: UsdcWorld) -> None:
    """Verified, settled, and found: one transaction, one amount, from the payer to the shop."""
    paid = usdc_world.pays()
    assert await usdc_world.facilitator.healthy() is None
    assert await usdc_world.facilitator.verify(paid) == Valid()
    assert isinstance(await usdc_world.became(paid), Unknown)
    settled = await usdc_world.facilitator.settle(paid)
    assert isinstance(settled, Settled) and settled == await usdc_world.became(paid)
    assert await usdc_world.has(usdc_world.payer) == FAUCET - PRICE
    assert await usdc_world.has(usdc_world.shop) == FAUCET + PRICE


async def test_an_order_that_was_used_is_never_settled_again(usdc_world: UsdcWorld) -> None:
    """A second time the facilitator does not say yes, and knows the nonce when it is asked to
    verify; the money has moved once."""
    paid = usdc_world.pays()
    settled = await usdc_world.facilitator.settle(paid)
    assert isinstance(settled, Settled)
    assert isinstance(await usdc_world.facilitator.settle(paid), Declined)
    assert isinstance(await usdc_world.facilitator.verify(paid), Used)
    assert await usdc_world.became(paid) == settled
    assert await usdc_world.has(usdc_world.shop) == FAUCET + PRICE


async def test_one_order_sent_many_times_at_once_moves_the_money_once(
    usdc_world: UsdcWorld,
) -> None:
    """However many of the answers say yes, no or nothing: the chain knows."""
    paid = usdc_world.pays()
    said = await asyncio.gather(*(usdc_world.facilitator.settle(paid) for _ in range(5)))
    assert {type(each) for each in said} <= {Settled, Declined, Used, Unknown}
    assert isinstance(await usdc_world.became(paid), Settled)
    assert await usdc_world.has(usdc_world.shop) == FAUCET + PRICE


@pytest.mark.parametrize("kind", ["forged", "abroad", "long", "spent", "soon", "late"])
async def test_what_the_contract_would_refuse_is_declined_and_moves_nothing(
    usdc_world: UsdcWorld, kind: str
) -> None:
    """Signed by another or for another chain, for more than there is, before or after its time: by
    /verify and /settle alike, with a reason."""
    now_s, paid = int(time.time()), usdc_world.pays()
    if kind == "forged":
        paid = replace(paid, signature=usdc_world.pays().signature)
    if kind == "abroad":
        digest = paid.authorization.digest(BASE)
        paid = replace(paid, signature=signature_of(usdc_world.payer.key, digest))
    if kind == "spent":
        offer = replace(usdc_world.offer, amount_microusdc=MicroUsdc(FAUCET + 1))
        paid = usdc_world.payer.pays(offer, now_s)
    if kind == "soon":
        paid = usdc_world.pays(valid_after_s=now_s + 200)
    if kind == "late":
        paid = usdc_world.pays(valid_before_s=now_s + 2)
    if kind == "long":
        paid = replace(paid, signature="0x" + "00" * 64 + "1b")
    for said in (
        await usdc_world.facilitator.verify(paid),
        await usdc_world.facilitator.settle(paid),
    ):
        assert isinstance(said, Declined) and not isinstance(said, Used)
        assert said.is_early == (said.code != "transaction_failed"), said
    assert await usdc_world.has(usdc_world.shop) == FAUCET


async def test_a_nonce_that_its_payer_used_for_itself_pays_nothing(usdc_world: UsdcWorld) -> None:
    """Two orders of one nonce, the cheap one settled first: the facilitator calls the nonce used,
    and only the chain tells that ours was not it."""
    ours = usdc_world.pays()
    own = UsdcOffer(BASE_SEPOLIA, Payer("own").address, PRICE, WINDOW_S)
    theirs = usdc_world.payer.pays(own, int(time.time()), nonce=ours.authorization.nonce)
    assert isinstance(await usdc_world.facilitator.settle(theirs), Settled)
    assert isinstance(await usdc_world.facilitator.settle(ours), Declined)
    assert isinstance(await usdc_world.facilitator.verify(ours), Used)
    assert isinstance(await usdc_world.became(ours), Failed)
    assert await usdc_world.has(usdc_world.shop) == FAUCET


async def test_a_refund_moves_once_on_every_chain(usdc_world: UsdcWorld) -> None:
    """Twice, with a later window, to two addresses: one of them is paid, and each order is told
    that the debt is."""
    now = datetime.now(UTC)
    key = RefundKey(usdc_world.shop.key, BASE_SEPOLIA)
    ways = ((usdc_world.payer, 0), (usdc_world.payer, 60), (Payer("elsewhere"), 30))
    orders = [
        key.refund("a payout", who.address, PRICE, now + timedelta(seconds=by)) for who, by in ways
    ]
    assert isinstance(await usdc_world.facilitator.settle(orders[0]), Settled)
    for each in orders:
        assert not isinstance(await usdc_world.facilitator.settle(each), Settled)
        for ledger in (usdc_world.ledger, None):
            became = await what_became(each, ledger, usdc_world.facilitator)
            assert isinstance(became, Settled) and became.amount_microusdc == PRICE
    assert await usdc_world.has(usdc_world.shop) == FAUCET - PRICE
    assert await usdc_world.has(usdc_world.payer) == FAUCET + PRICE
