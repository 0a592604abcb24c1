"""Batches that are paid for in USDC, by an authorization that has settled or by an account."""

import asyncio
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import advance
from app.advance import Applied, Purse, Short
from app.advance.batches import Ordered
from db import payouts
from db.engine import Duplicate, Tx, Unwritten
from pricing.money import whole_sats_up
from statemachine import batch as law
from statemachine import entries
from statemachine.batch import BatchFacts, BatchState, Funding
from statemachine.decision import Decision
from statemachine.entries import RAIL_USDC, Asset, Kind
from tests.world.market_fixtures import NETWORK, PAYER, Market, priced

USDC = Asset.MICROUSDC


async def test_what_came_in_rests_on_the_batch_and_its_rest_goes_back_to_the_payer(
    market: Market,
) -> None:
    """Born paid and queued, with the authorization's own entry; what it does not deliver is one
    payout in USDC, to the address that paid. Nothing of it is in msat."""
    await market.paid("b", (20_000, 10_001))
    batch = await market.batch("b")
    assert (batch.state, batch.funding, batch.asset) == (BatchState.QUEUED, Funding.X402, USDC)
    assert batch.paid_by is not None and batch.paid_by.startswith(f"{NETWORK}:{PAYER}:0x")
    assert await market.rests_on("batch:b", USDC) == 30_001
    assert await market.rests_on(RAIL_USDC.name, USDC) == 30_001
    first, second = await market.claim(most=2)
    assert await market.deliver(first) == Applied()
    await market.shell.do(advance.leases.decline, second.id, 1, "w", "no")
    [owed] = await payouts.of_owner(market.db, "b")
    assert (owed.amount, owed.asset, owed.refund_to) == (10_001, USDC, f"evm:{NETWORK}:{PAYER}")
    with pytest.raises(ValueError, match="no number of msat"):
        _ = owed.amount_msat
    assert await market.rests_on("refund:b:undelivered", USDC) == 10_001
    assert await market.rests_on("revenue:media", USDC) == 20_000
    for account in ("refund:b:undelivered", "revenue:media", "batch:b", RAIL_USDC.name):
        assert await market.rests_on(account) == 0
    await market.is_right()


async def test_one_authorization_pays_for_one_batch(market: Market) -> None:
    """Of five that claim it at once one does, and the others write nothing; it settles once."""
    paid_by = f"{NETWORK}:{PAYER}:0x{'1' * 64}"
    told = await asyncio.gather(*(market.claimed(f"b{n}", (20_000,), paid_by) for n in range(5)))
    assert told.count(None) == 4
    for _ in range(2):
        await market.shell.do(advance.authorizations.settle, paid_by, f"0x{'2' * 64}")
    assert await market.rests_on(RAIL_USDC.name, USDC) == 20_000
    [mine] = [row.batch_id for row in told if row is not None and row.batch_id is not None]
    with pytest.raises(Duplicate):
        ordered = Ordered(priced("b", (20_000,)), PAYER, {})
        await market.shell.do(advance.batches.begin_claimed, "b", ordered, 20_000, paid_by)
    assert (await market.batch(mine)).state is BatchState.QUEUED
    await market.is_right()


async def test_less_than_a_cent_goes_to_the_account_of_its_payer(market: Market) -> None:
    """Sending it would cost more than it is. It can be spent from there."""
    await market.has_usdc("u", 9_999)
    assert await payouts.of_owner(market.db, "given1") == []
    assert await market.rests_on("user:u", USDC) == 9_999
    assert await market.from_account("b", (9_999,), "u", USDC) == Applied()
    [claim] = await market.claim()
    await market.deliver(claim)
    assert await market.rests_on("user:u", USDC) == 0
    assert await market.rests_on("revenue:media", USDC) == 9_999
    await market.is_right()


async def test_an_account_spends_no_more_than_it_has(market: Market) -> None:
    """Told what it has and what it needs, in one asset alone; of ten that ask at once for all of
    it, one has it."""
    await market.has_usdc("u", 9_000)
    short = Short(Purse.ACCOUNT, 9_001, 9_000, USDC)
    assert await market.from_account("dear", (9_001,), "u", USDC) == short
    assert await market.from_account("other", (1,), "u", Asset.MSAT) == Short(Purse.ACCOUNT, 1, 0)
    told = await asyncio.gather(
        *(market.from_account(f"b{n}", (9_000,), "u", USDC) for n in range(10))
    )
    assert told.count(Applied()) == 1
    assert told.count(Short(Purse.ACCOUNT, 9_000, 0, USDC)) == 9
    await market.is_right()


async def test_postgres_keeps_a_batch_to_the_asset_that_pays_for_it(market: Market) -> None:
    """Whatever the code says."""
    await market.paid("b", (20_000,))

    async def sets(tx: Tx, wrong: str) -> None:
        await tx.execute(f"UPDATE batch SET {wrong}")

    for wrong in ("asset = 'msat'", "paid_by = NULL", "funding = 'account'", "funding = 'invoice'"):
        with pytest.raises(Unwritten, match=r"authorization_pays|funded_in_asset|account_pays"):
            await market.db.run("wrong", partial(sets, wrong=wrong))


class Course:
    """One course of a batch, told to the law, and what its entries add up to."""

    def __init__(self, begun: Decision[BatchFacts]) -> None:
        self.facts, self.told = begun.facts, [begun]
        if begun.facts.paid_by is not None:
            paid = begun.facts.paid_by, entries.of_batch("b"), begun.facts.price_amount
            self.told.append(replace(begun, entries=(entries.authorization_settled(*paid),)))
            self.hears(law.Paid())

    def hears(self, event: law.Event) -> None:
        """Tell the law; what delivers an item books its share."""
        decision = law.decide(self.facts, event)
        if isinstance(event, law.ItemDelivered):
            of = self.facts.id, f"i{len(self.told)}", self.facts.asset
            booked = entries.item_delivered(*of, event.share_amount)
            decision = replace(decision, entries=(booked, *decision.entries))
        self.told.append(decision)
        self.facts = self.told[-1].facts

    def balances(self) -> dict[tuple[str, Asset], int]:
        """Return every account's balance in its natural sign."""
        kept: dict[tuple[str, Asset], int] = {}
        for entry in (each for decision in self.told for each in decision.entries):
            for leg in entry.postings:
                of = leg.account.name, entry.asset
                kept[of] = kept.get(of, 0) + leg.account.kind.sign * leg.amount
                assert leg.account.kind is not Kind.LIABILITY or kept[of] >= 0 or of[0] in PURSES
        return kept


PURSES = {"user:u", "session:s"}  # filled by something else
BEGUN = {
    "x402": lambda price, items: law.begin_claimed("b", "n:p:1", price, items),
    "x402 of an account": lambda price, items: law.begin_claimed("b", "n:p:1", price, items, "u"),
    "account in msat": lambda price, items: law.begin_from_account(
        "b", "u", Asset.MSAT, price, items
    ),
    "account in USDC": lambda price, items: law.begin_from_account("b", "u", USDC, price, items),
    "session": lambda price, items: law.begin_reserved("b", "s", price, items),
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), how=st.sampled_from(sorted(BEGUN)))
def test_what_was_paid_is_charged_or_back_in_its_own_asset(data: st.DataObject, how: str) -> None:
    """Whatever becomes of its items, and whenever it is given up: price = charged + back, to the
    last msat or millionth of a USDC, and no other asset is touched. In msat what is charged is
    whole sats."""
    shares = data.draw(st.lists(st.integers(1, 20_000), min_size=1, max_size=8))
    course = Course(BEGUN[how](sum(shares), len(shares)))
    asset = Asset.MSAT if how in ("session", "account in msat") else USDC
    ends = data.draw(st.lists(st.sampled_from("dlc"), min_size=len(shares), max_size=len(shares)))
    charged = 0
    if data.draw(st.booleans()):
        course.hears(law.Begun())
        for share, end in zip(shares, ends, strict=True):
            if end == "c" and not course.facts.called_off:
                course.hears(law.Cancelled(1))
            elif end == "d":
                charged += share
                course.hears(law.ItemDelivered(share))
            else:
                course.hears(law.ItemLost(course.facts.called_off))
    else:
        course.hears(law.Cancelled(len(shares)))
    assert law.BATCH.final(course.facts.state)
    if asset is Asset.MSAT:
        charged = min(sum(shares), whole_sats_up(charged))
    kept = course.balances()
    assert {of for _, of in kept} == {asset}
    back = sum(n for (name, _), n in kept.items() if name == "refund:b:undelivered")
    purse = sum(n for (name, _), n in kept.items() if name in PURSES)
    if how in ("session", "account in msat", "account in USDC"):
        assert -purse == charged and back == 0
    else:
        assert kept[RAIL_USDC.name, asset] == sum(shares) == charged + back + purse
        assert purse == 0 or (purse < law.LEAST_REFUND_MICROUSDC and how.endswith("account"))
        assert back == 0 or back >= law.LEAST_REFUND_MICROUSDC or how == "x402"
    assert kept.get(("revenue:media", asset), 0) == charged and kept.get(("batch:b", asset)) == 0
    owed = [owed for decision in course.told for owed in decision.owed]
    assert [(one.amount, one.asset) for one in owed] == ([(back, asset)] if back else [])
