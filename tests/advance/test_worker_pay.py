"""Where the pay of a worker goes, and what is known of it: in the transactions that move it."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from app import advance
from app.advance import Applied, Short
from app.advance.pay_destinations import Named, Unsigned
from app.advance.workers import Change, Nowhere
from app.trade.lenders import Lenders
from db import worker_payouts, workers
from db.audit import audit
from db.claims import Hired
from db.payouts import PayoutRow, of_owner
from db.worker_payouts import FROM_THE_NEWEST, Purse, mark_of
from db.workers import NewWorker
from payments.usdc.refund import refund_to_of
from statemachine.entries import Asset
from statemachine.pay_destination import WAITS
from statemachine.payout import MOST_FAILURES
from tests.world.market_fixtures import LANE, NETWORK, PAYER, Market, hashed

MINE, THIEFS = "mine@example.org", "thief@example.org"
WALLET = refund_to_of(NETWORK, PAYER)


async def lends(market: Market, key: str | None = None, usdc_to: str | None = None) -> None:
    """Register a worker."""
    new = NewWorker("w", "w-account", "w", hashed("w"), "wk_…", MINE, usdc_to, key)
    await market.shell.do(advance.workers.register, new)


async def earns(market: Market, batch_id: str, share: int, asset: Asset = Asset.MSAT) -> None:
    """Have the worker deliver an item: half of 70 percent of it is free at once."""
    await (market.bought if asset is Asset.MSAT else market.paid)(batch_id, [share])
    names = [hashed(batch_id)[:32]]
    hired = Hired({LANE: 70}, names)
    [claim] = await market.shell.do(advance.leases.claim, "w", [LANE], 1, hired)
    assert await market.deliver(claim) == Applied()


async def named(market: Market, to: str, signed_as: int | None = None) -> object:
    """Name another destination."""
    change = Change(pay=Named(to, None, signed_as))
    return await market.shell.do(advance.workers.change, "w", change)


async def sent(market: Market, number: int, amount: int | None = None) -> object:
    """Have pay sent."""
    return await market.shell.do(advance.workers.pay_out, "w", number, amount)


async def owed(market: Market) -> list[PayoutRow]:
    """Return what is owed to the worker."""
    return await of_owner(market.db, "w-account")


async def purse(market: Market, asset: Asset = Asset.MSAT) -> Purse:
    """Return what the worker has in an asset."""
    purses = await worker_payouts.purses(market.db, "w")
    assert [each.asset for each in purses] == list(Asset)
    return next(each for each in purses if each.asset is asset)


async def test_pay_goes_where_it_went_until_a_change_has_waited(market: Market) -> None:
    """Then what is owed and has not left goes to the new destination too."""
    await lends(market)
    await earns(market, "b", 100_000)
    assert await named(market, THIEFS) == Applied()
    row = await workers.get(market.db, "w")
    assert row is not None
    assert (row.pay_to, row.next_pay_to, row.next_at) == (MINE, THIEFS, market.clock() + WAITS)
    market.clock.now += WAITS - timedelta(seconds=1)
    assert await sent(market, 1, 5_000) == Applied()
    assert [each.refund_to for each in await owed(market)] == [MINE]
    market.clock.forward(seconds=1)
    assert await sent(market, 2, 5_000) == Applied()
    assert [each.refund_to for each in await owed(market)] == [THIEFS, THIEFS]
    await market.is_right()


async def test_a_key_has_each_change_signed(market: Market) -> None:
    """It is so at once, and a signature is good for one change, of many at one moment too."""
    await lends(market, key="0" * 64)
    assert await named(market, THIEFS) == Unsigned(0)
    assert await named(market, THIEFS, signed_as=1) == Unsigned(0)
    assert await named(market, MINE) == Applied()
    told = await asyncio.gather(*(named(market, f"{n}@example.org", 0) for n in range(4)))
    assert sorted(map(str, told)) == ["Applied()", *["Unsigned(signed=1)"] * 3]
    row = await workers.get(market.db, "w")
    assert row is not None and (row.signed, row.next_at) == (1, None)
    assert row.pay_to == f"{told.index(Applied())}@example.org"


async def test_what_a_destination_refuses_is_sent_anew(market: Market) -> None:
    """Where the next pay is asked for, with nothing more free too; or another one is named."""
    await lends(market, key="0" * 64)
    await earns(market, "b", 10_000)
    assert await sent(market, 1) == Applied()
    [payout] = await owed(market)
    refuse = advance.payouts.refuse
    for failures in range(MOST_FAILURES):
        await market.shell.do(refuse, payout.id, failures, MINE, "It is closed.")
    assert (await owed(market))[0].failures == MOST_FAILURES
    assert await sent(market, 2) == Applied()
    [again] = await owed(market)
    assert (again.refund_to, again.failures) == (MINE, 0)
    assert isinstance(await sent(market, 3), Short)
    assert await named(market, "new@example.org", 0) == Applied()
    assert [each.refund_to for each in await owed(market)] == ["new@example.org"]
    await market.is_right()


async def test_pay_in_usdc_goes_to_an_address(market: Market) -> None:
    """So much, or all of it that is free, a cent at the least; nothing of what is held."""
    await lends(market)
    await earns(market, "b", 100_000, Asset.MICROUSDC)
    ask = advance.workers.pay_out
    assert await market.shell.do(ask, "w", 1, None, Asset.MICROUSDC) == Nowhere()
    change = Change(pay=Named(None, WALLET))
    assert await market.shell.do(advance.workers.change, "w", change) == Applied()
    assert await market.shell.do(ask, "w", 2, None, Asset.MICROUSDC) == Nowhere()
    market.clock.now += WAITS
    assert isinstance(await market.shell.do(ask, "w", 3, 9_999, Asset.MICROUSDC), Short)
    assert isinstance(await market.shell.do(ask, "w", 4, 35_001, Asset.MICROUSDC), Short)
    assert await market.shell.do(ask, "w", 5, 12_000, Asset.MICROUSDC) == Applied()
    assert await market.shell.do(ask, "w", 6, None, Asset.MICROUSDC) == Applied()
    paid = [(each.asset, each.amount, each.refund_to) for each in await owed(market)]
    assert paid == [(Asset.MICROUSDC, amount, WALLET) for amount in (12_000, 23_000)]
    assert await purse(market, Asset.MICROUSDC) == (Asset.MICROUSDC, 70_000, 35_000, 0, 35_000, 0)
    assert await purse(market) == (Asset.MSAT, 0, 0, 0, 0, 0)
    await market.is_right()


async def test_what_is_free_is_sent_when_it_is_enough(market: Market) -> None:
    """In each asset, and to the address that it has named; never where it has named none."""
    terms = replace(market.shell.terms, pay_over_microusdc=20_000)
    paying = replace(market, shell=replace(market.shell, terms=terms))
    await lends(paying, usdc_to=WALLET)
    await earns(paying, "b", 50_000, Asset.MICROUSDC)
    assert await owed(market) == []
    await earns(paying, "c", 10_000, Asset.MICROUSDC)
    assert [(each.amount, each.refund_to) for each in await owed(market)] == [(21_000, WALLET)]
    await market.is_right()


async def test_a_change_that_has_waited_is_shown(market: Market) -> None:
    """Also where nothing has written it since."""
    await lends(market)
    await named(market, THIEFS)
    row = await workers.get(market.db, "w")
    assert row is not None
    market.clock.now += WAITS
    desk = Lenders(market.db, market.shell, market.clock, lambda: "", True, None)
    standing = await desk.standing(row)
    assert (standing.row.pay_to, standing.row.next_at) == (THIEFS, None)


async def test_what_a_worker_has_adds_up(market: Market) -> None:
    """Counted where it is earned, however much that was; payouts are read a page at a time."""
    await lends(market)
    for number in range(3):
        await earns(market, f"b{number}", 10_000)
        assert await sent(market, number) == Applied()
        if number:  # two of them at one moment
            market.clock.forward(seconds=1)
    assert await purse(market) == (Asset.MSAT, 21_000, 10_500, 500, 10_000, 0)
    assert (await purse(market)).paid == 0
    seen, mark = [], FROM_THE_NEWEST
    for _ in range(4):
        for each in await worker_payouts.page(market.db, "w-account", mark, 1):
            seen.append(each)
            told = mark_of(str(each.mark))
            assert told is not None
            mark = told
    assert len(set(seen)) == 3 and {each.refund_to for each in seen} == {MINE}
    assert [each.created_at for each in seen] == sorted(
        (each.created_at for each in seen), reverse=True
    )
    await market.is_right()


async def test_pay_that_went_another_way_is_found(market: Market) -> None:
    """Though whatever it was spent on is in the books: a worker's pay is held, free, forfeited, or
    sent to where it has said."""
    await lends(market)
    await earns(market, "b", 10_000)
    assert await sent(market, 1, 1_000) == Applied()
    await market.is_right()
    assert await market.from_account("c", [2_000], "w-account", Asset.MSAT) == Applied()
    [found] = await audit(market.db)
    assert (found.invariant, found.who) == (6, "w")
    assert " 500 are free, and it was sent or is owed 1000" in found.what


@pytest.mark.parametrize("text", ["", "1", "1-", "x-0f6f2b8e", "1-0f6f2b8", "9" * 17 + "-0f6f2b8e"])
def test_what_is_no_mark_is_told(text: str) -> None:
    """A page begins where a page has ended."""
    assert mark_of(text) is None
