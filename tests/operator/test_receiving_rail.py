"""The rail over several wallets of the real LNbits: what is heard, found, paid and summed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from payments.bolt11 import decode
from payments.lnbits import LnbitsRail
from payments.rail import Absent, KnownWallet, NewWallet, Settled, Unavailable, Unknown
from pricing.money import Msat
from tests.world.patience import PATIENCE_S
from tests.world.rail_fixtures import no_more, wall_clock
from tests.world.receiving_fixtures import OPENING, Stage


@pytest.fixture
async def rail(stage: Stage) -> AsyncIterator[LnbitsRail]:
    """A rail with two wallets, of which the second is used and both are heard."""
    rail = stage.rail()
    opened = await rail.open_wallet("Boltwork 2")
    assert isinstance(opened, NewWallet)
    first = KnownWallet(rail.identity, "", is_heard=True)
    rail.use([first, KnownWallet(opened.identity, opened.key, is_heard=True)], Msat(0))
    yield rail
    await rail.close()


async def test_pushes_come_from_every_wallet_that_is_heard(stage: Stage, rail: LnbitsRail) -> None:
    """Also from one that is told of while somebody listens; not from one that is heard no more."""
    second = rail.wallet
    pushes = rail.pushes()
    assert [await anext(pushes), await anext(pushes)] == [None, None] and rail.push_is_up
    made = await rail.create_invoice("two", Msat(2_000), "x", 600)
    assert not isinstance(made, Unavailable) and made.wallet == second
    await stage.server.pay(stage.server.buyer, made.bolt11)
    first_bolt11 = await stage.server.create_invoice(stage.account.first, 3)
    await stage.server.pay(stage.server.buyer, first_bolt11)
    expected = {made.payment_hash, decode(first_bolt11).payment_hash}
    heard: set[str] = set()
    async with asyncio.timeout(PATIENCE_S):
        while heard != expected:
            if (push := await anext(pushes)) is not None:
                heard.add(push.payment_hash)
    opened = await rail.open_wallet("Boltwork 3")
    assert isinstance(opened, NewWallet)
    waiting = asyncio.ensure_future(anext(pushes))
    quiet = [KnownWallet(rail.identity, "", is_heard=False)]
    quiet += [KnownWallet(second, "", is_heard=False)]
    rail.use([*quiet, KnownWallet(opened.identity, opened.key, is_heard=True)], Msat(0))
    assert not rail.push_is_up
    async with asyncio.timeout(PATIENCE_S):
        while await waiting is not None:  # a push may come twice
            waiting = asyncio.ensure_future(anext(pushes))
    assert rail.push_is_up and rail.wallet == opened.identity
    await stage.server.pay(
        stage.server.buyer, await stage.server.create_invoice(stage.account.first, 4)
    )
    third = await rail.create_invoice("three", Msat(5_000), "x", 600)
    assert not isinstance(third, Unavailable)
    await stage.server.pay(stage.server.buyer, third.bolt11)
    async with asyncio.timeout(PATIENCE_S):
        push = await anext(pushes)
    assert push is not None and push.payment_hash == third.payment_hash
    await no_more(pushes)
    assert not rail.push_is_up


async def test_each_wallet_speaks_for_its_own(stage: Stage, rail: LnbitsRail) -> None:
    """An invoice is found wherever it is; a payment only where it was sent."""
    second, first = rail.wallet, rail.identity
    made = await rail.create_invoice("k", Msat(9_000), "x", 600)
    assert not isinstance(made, Unavailable)
    await stage.server.pay(stage.server.buyer, made.bolt11)
    theirs = await stage.server.create_invoice(stage.server.buyer, 4)
    sent = await rail.pay(theirs, Msat(2_000), second)
    assert isinstance(sent, Settled)
    for wallet in (None, second, "a wallet that nobody knows"):
        assert isinstance(await rail.look_up_invoice(made.payment_hash, wallet), Settled)
    assert isinstance(await rail.look_up_invoice(made.payment_hash, first), Absent)
    for known in (None, second):
        assert await rail.look_up_payment(sent.payment_hash, known) == sent
    assert isinstance(await rail.look_up_payment(sent.payment_hash, first), Absent)
    assert isinstance(await rail.look_up_payment("ab" * 32), Absent)
    for strange in ("", "nobody's"):
        outcome = await rail.look_up_payment(sent.payment_hash, strange or "?")
        assert isinstance(outcome, Unknown) and not isinstance(outcome, Absent)
    refused = await rail.pay(theirs, Msat(2_000), "nobody's")
    assert isinstance(refused, Unknown) and not isinstance(refused, Absent)
    assert await rail.balance_of(second) == await rail.balance_msat() == 5_000
    assert isinstance(await rail.balance_of("nobody's"), Unknown)


async def test_one_wallet_that_does_not_answer_leaves_the_sum_unknown(
    stage: Stage, rail: LnbitsRail
) -> None:
    """Half a balance is none."""
    stage.proxy.inject("503", "GET", OPENING)
    assert isinstance(await rail.balance_msat(), Unknown)
    assert await rail.balance_msat() == 0


async def test_a_token_that_may_write_wallets_is_enough(stage: Stage) -> None:
    """To open one and to delete one: LNbits' operator need allow nothing else."""
    token = await stage.server.api_token(stage.account)
    key = stage.account.first.adminkey
    rail = LnbitsRail(stage.proxy.url, key, clock=wall_clock, token=token)
    assert await rail.may_open_wallets() is None
    opened = await rail.open_wallet("Boltwork 2")
    assert isinstance(opened, NewWallet)
    first = KnownWallet(rail.identity, "", is_heard=False)
    rail.use([first, KnownWallet(opened.identity, opened.key, is_heard=False)], Msat(0))
    before = len(await stage.server.wallets_of(stage.account))
    for _ in range(2):  # what is gone is gone
        assert await rail.delete_wallet(opened.identity) is None
    assert len(await stage.server.wallets_of(stage.account)) == before - 1
    assert isinstance(await rail.delete_wallet("nobody's"), Unavailable)
    await rail.close()


async def test_a_token_is_tried_without_opening_anything(stage: Stage, rail: LnbitsRail) -> None:
    """It may write wallets, or it is said what is wrong; it stands in no reason."""
    before = len(await stage.server.wallets_of(stage.account))
    assert await rail.may_open_wallets() is None
    for token in ("", "nobody's", stage.account.token[:-3]):
        other = LnbitsRail(
            stage.server.url, stage.account.first.adminkey, clock=wall_clock, token=token
        )
        for answer in (await other.may_open_wallets(), await other.open_wallet("x")):
            assert isinstance(answer, Unavailable) and "LNBITS_TOKEN" in answer.reason
            assert not token or token not in answer.reason
        await other.close()
    assert len(await stage.server.wallets_of(stage.account)) == before


async def test_a_wallet_is_the_same_wherever_lnbits_is_reached(
    stage: Stage, rail: LnbitsRail
) -> None:
    """An LNbits that is moved to another address holds the same money, under the same names."""
    moved = LnbitsRail(stage.server.url, f" {stage.account.first.adminkey}\n", clock=wall_clock)
    assert stage.server.url != stage.proxy.url and moved.identity == rail.identity
    await moved.close()
