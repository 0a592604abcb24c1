"""Batches, items and leases on a real Postgres: charged for what is delivered, to the last msat."""

import asyncio
import random
from collections import Counter
from datetime import timedelta

import pytest

from app import advance
from app.advance import Applied, Lost, Missing, Otherwise, Replayed
from app.advance.leases import Held
from db import batches, lanes, lapsed, leases, payouts
from db.claims import Claim
from db.engine import Unwritten
from db.signals import Signals
from payments import rail
from pricing.money import whole_sats_up
from statemachine.batch import BatchState, invoice_id
from statemachine.entries import Asset
from statemachine.item import ItemState
from statemachine.owner import Reason
from tests.world.market_fixtures import LANE, Market, hashed
from tests.world.patience import PATIENCE_S, patiently

MADE = hashed("bytes, encoded anew")
TWO_SATS = (668, 666, 666)
THREE_SATS = (668, 1_666, 666)
WAITING = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def test_a_batch_is_charged_what_it_delivers(market: Market) -> None:
    """Its price rests on it when it is paid, each delivered item takes its share, and the end of
    the last one owes the rest back as one payout: in whole sats, for no wallet asks for less."""
    opened = await market.order("b", THREE_SATS)
    assert (await market.claim()) == []  # nobody makes what is not paid for
    await market.pay(invoice_id("b"), opened)
    assert await market.rests_on("batch:b") == 3_000
    assert (await market.batch("b")).state is BatchState.QUEUED
    first, second, third = await market.claim(most=9)
    assert (await market.batch("b")).state is BatchState.PROCESSING
    assert first.asked["prompt"] == "a cat, 1" and first.number == 1
    assert await market.deliver(first) == Applied()
    assert await market.rests_on("revenue:media") == 668
    do = market.shell.do
    assert await do(advance.leases.decline, second.id, 1, "w", "not allowed") == Applied()
    await market.is_right()
    assert await market.deliver(third) == Applied()
    batch = await market.batch("b")
    assert (batch.state, batch.charged_amount) == (BatchState.COMPLETED, 2_000)
    assert (batch.delivered, batch.failed, batch.cancelled) == (2, 1, 0)
    [owed] = await payouts.of_owner(market.db, "b")
    assert (owed.id, owed.reason, owed.amount_msat) == ("b:undelivered", Reason.UNDELIVERED, 1_000)
    assert await market.rests_on("revenue:media") == 2_000
    assert await market.rests_on("batch:b") == 0
    shown = await market.items("b")
    assert [item.reason for item in shown] == [None, "not allowed", None]
    assert [item.sha256 for item in shown] == [MADE, None, MADE]
    await market.is_right()


async def test_a_session_has_back_what_was_not_delivered(market: Market) -> None:
    """At the end of the batch, on its balance; and nothing is owed by a payout."""
    await market.session("s", 100_000)
    await market.reserved("b", TWO_SATS, "s")
    assert await market.rests_on("session:s") == 98_000
    first, *others = await market.claim(most=3)
    await market.deliver(first)
    for claim in others:
        await market.is_right()
        await market.shell.do(advance.leases.decline, claim.id, 1, "w", "no")
    assert await market.rests_on("session:s") == 100_000 - 1_000
    assert await payouts.of_owner(market.db, "b") == []
    await market.is_right()


async def test_a_batch_that_nobody_pays_is_over(market: Market) -> None:
    """Its items are cancelled with it, and a payment that comes late is owed back whole."""
    opened = await market.order("b", TWO_SATS)
    await market.shell.do(advance.invoices.lapse, invoice_id("b"))
    assert (await market.batch("b")).state is BatchState.CANCELLED
    assert await market.states("b") == {"cancelled": 3}
    await market.is_right()
    await market.pay(invoice_id("b"), opened)
    assert await market.claim() == []
    [owed] = await payouts.of_owner(market.db, "b")
    assert (owed.reason, owed.amount_msat) == (Reason.UNAWAITED, 2_000)
    await market.is_right()


async def test_what_is_purged_still_owes_a_late_payment(market: Market) -> None:
    """A batch that lay unpaid for a day is gone with its items; paid all the same, it is there
    again, and owes that."""
    opened = await market.order("b", TWO_SATS)
    await market.shell.do(advance.invoices.lapse, invoice_id("b"))
    rows = await lapsed.due(market.db, market.clock() + timedelta(days=2), 10)
    assert await market.shell.do(advance.purging.purge, rows) == 1
    assert await batches.view(market.db, "b") is None and await market.items("b") == []
    await market.is_right()
    paid = rail.Settled(opened.payment_hash, opened.amount_msat, hashed("preimage"))
    told = await market.shell.do(advance.purging.settle, opened.payment_hash, paid)
    assert told == Applied()
    assert (await market.batch("b")).state is BatchState.CANCELLED
    [owed] = await payouts.of_owner(market.db, "b")
    assert owed.amount_msat == 2_000
    await market.is_right()


async def test_the_same_bytes_again_are_a_replay(market: Market) -> None:
    """The same answer for the same lease; other bytes are not taken, nor another's lease known."""
    await market.bought("b", TWO_SATS)
    [claim] = await market.claim("w")
    assert await market.deliver(claim, "v") == Missing()
    assert await market.deliver(claim) == Applied()
    assert await market.deliver(claim) == Replayed()
    assert await market.deliver(claim, what="others") == Otherwise()
    assert await market.rests_on("revenue:media") == 668
    await market.is_right()


async def test_a_lease_that_lapses_gives_another_number_and_another_worker(market: Market) -> None:
    """Whoever was silent never gets the item again, and after three tries nobody does."""
    await market.bought("b", (2_000,))
    for number in (1, 2, 3):
        [claim] = await market.claim(f"w{number}")
        assert claim.number == number
        assert await market.claim("other") == []  # it is held
        assert await market.shell.do(advance.leases.lapse, claim.id, number) == Replayed()
        market.clock.forward(seconds=31)
        [due] = await leases.due(market.db, market.clock(), 10)
        assert await market.shell.do(advance.leases.lapse, *due) == Applied()
        assert await market.claim(f"w{number}") == []
        await market.is_right()
    assert await market.states("b") == {"dead_letter": 1}
    batch = await market.batch("b")
    assert (batch.state, batch.charged_amount) == (BatchState.FAILED, 0)
    [owed] = await payouts.of_owner(market.db, "b")
    assert owed.amount_msat == 2_000
    assert await market.claim("w4") == []


async def test_a_late_result_is_taken_while_there_is_no_other(market: Market) -> None:
    """Of a lease that had lapsed: whoever holds the item now is told that he has lost it."""
    await market.bought("b", TWO_SATS)
    [early] = await market.claim("w1")
    market.clock.forward(seconds=31)
    await market.shell.do(advance.leases.lapse, early.id, early.number)
    [later] = await market.claim("w2")
    assert (later.id, later.number) == (early.id, 2)
    assert await market.deliver(early, "w1") == Applied()
    assert await market.shell.do(advance.leases.beat, later.id, 2, "w2", 50) == Lost()
    assert await market.deliver(later, "w2") == Lost()
    assert await market.deliver(early, "w1") == Replayed()
    assert (await market.batch("b")).delivered == 1
    await market.is_right()


async def test_a_beat_moves_the_end_of_a_lease_but_not_its_deadline(market: Market) -> None:
    """The first one says that the item is being made; each says how far it is."""
    await market.bought("b", TWO_SATS)
    [claim] = await market.claim()
    assert (await market.items("b"))[0].state is ItemState.CLAIMED
    beat = advance.leases.beat
    market.clock.forward(seconds=20)
    told = await market.shell.do(beat, claim.id, 1, "w", 25)
    assert told == Held(market.clock() + timedelta(seconds=30))
    shown = (await market.items("b"))[0]
    assert (shown.state, shown.progress) == (ItemState.PROCESSING, 25)
    assert await market.shell.do(beat, claim.id, 1, "v", 25) == Missing()
    market.clock.now = claim.deadline - timedelta(seconds=1)
    assert await market.shell.do(beat, claim.id, 1, "w", 26) == Held(claim.deadline)
    market.clock.forward(seconds=1)
    assert await market.shell.do(beat, claim.id, 1, "w", 27) == Lost()


async def test_an_item_that_is_given_back_was_not_tried(market: Market) -> None:
    """Whoever gives it back is not to blame, and another has it under the next number."""
    await market.bought("b", (2_000,))
    [claim] = await market.claim("w1")
    assert await market.shell.do(advance.leases.release, claim.id, 1, "w1") == Applied()
    assert await market.claim("w1") == []
    [again] = await market.claim("w2")
    assert again.number == 2
    assert (await market.items("b"))[0].tries == 0
    await market.is_right()


async def test_a_cancelled_batch_makes_what_is_held_and_no_more(market: Market) -> None:
    """What nobody holds is cancelled at once; the rest is owed back when the last has ended."""
    await market.bought("b", (500, 500, 500, 500))
    made, broken = await market.claim(most=2)
    assert await market.shell.do(advance.batches.cancel, "b") == Applied()
    assert await market.shell.do(advance.batches.cancel, "b") == Replayed()
    assert await market.states("b") == {"claimed": 2, "cancelled": 2}
    assert (await market.batch("b")).state is BatchState.PROCESSING
    assert await market.claim("v") == []
    await market.shell.do(advance.leases.fail, broken.id, 1, "w", "no memory")
    assert await market.states("b") == {"claimed": 1, "cancelled": 3}  # and is not tried again
    await market.deliver(made)
    batch = await market.batch("b")
    assert (batch.state, batch.charged_amount) == (BatchState.CANCELLED, 1_000)
    [owed] = await payouts.of_owner(market.db, "b")
    assert owed.amount_msat == 1_000
    await market.is_right()


async def test_a_batch_is_cancelled_before_it_is_paid_or_begun(market: Market) -> None:
    """Before: its invoice is dropped. After: all of it is owed back, or on the balance again."""
    await market.order("unpaid", TWO_SATS)
    await market.bought("queued", TWO_SATS)
    await market.session("s", 100_000)
    await market.reserved("session", TWO_SATS, "s")
    for batch_id in ("unpaid", "queued", "session"):
        assert await market.shell.do(advance.batches.cancel, batch_id) == Applied()
        assert (await market.batch(batch_id)).state is BatchState.CANCELLED
    assert [row.amount_msat for row in await payouts.of_owner(market.db, "queued")] == [2_000]
    assert await market.rests_on("session:s") == 100_000
    assert await market.shell.do(advance.batches.cancel, "none") == Missing()
    await market.is_right()


async def test_two_claimers_never_get_the_same_item(market: Market) -> None:
    """Eight at once, until nothing is left: each item is claimed once."""
    await market.bought("a", (10,) * 120, payer="a")
    await market.bought("b", (10,) * 120, payer="b")
    got: list[Claim] = []

    async def claims(worker: str) -> None:
        while some := await market.claim(worker, most=7):
            got.extend(some)

    await asyncio.gather(*(claims(f"w{n}") for n in range(8)))
    assert max(Counter(claim.id for claim in got).values()) == 1 and len(got) == 240
    await market.is_right()


async def test_a_newcomer_waits_one_round(market: Market) -> None:
    """Beside a batch of 500 that came first, a single item is the next but one; and of two who have
    many, each is served in turn."""
    await market.bought("many", (10,) * 500, payer="a")
    await market.claim(most=40)
    await market.move_floors()
    await market.bought("one", (1_000,), payer="b")
    turns = [claim.batch_id for claim in await market.claim(most=2)]
    assert "one" in turns
    await market.bought("more", (10,) * 20, payer="c")
    served = Counter(claim.batch_id for claim in await market.claim(most=20))
    assert served["more"] in (9, 10, 11) and served["many"] == 20 - served["more"]


async def test_a_turn_that_is_given_while_the_floor_moves_is_had(market: Market) -> None:
    """A purchase that commits after claims have gone past its turn, and the floor would have
    followed them, is the next to be made: the floor stays until it is there to be seen."""
    await market.bought("many", (10,) * 5, payer="a")
    opened = await market.order("one", (1_000,), payer="b")
    paid = rail.Settled(opened.payment_hash, opened.amount_msat, hashed("preimage"))
    async with market.db.transaction() as tx:
        await advance.invoices.settle(market.shell.act(tx), invoice_id("one"), paid)
        await tx.answered()
        assert len(await market.claim(most=3)) == 3
        await market.move_floors()
    assert [claim.batch_id for claim in await market.claim()] == ["one"]
    await market.is_right()


async def test_what_comes_back_as_the_floor_is_moved_is_had(market: Market) -> None:
    """Whoever gives an item back meanwhile waits, and has the floor follow it down again."""
    await market.bought("many", (10,) * 5, payer="a")
    early, *_ = await market.claim(most=3)
    async with market.db.transaction() as moving:
        await lanes.move_floors(moving)
        await moving.answered()
        given = market.shell.do(advance.leases.release, early.id, early.number, "w")
        giving = asyncio.create_task(given)
        async for _ in patiently("it never waits for the floor"):
            if giving.done() or await market.db.read_one(WAITING):
                break
    await giving
    assert [claim.id for claim in await market.claim("v")] == [early.id]
    await market.is_right()


async def test_a_payer_gains_nothing_by_splitting_what_he_orders(market: Market) -> None:
    """Twenty batches of one are one payer's turns, as one batch of twenty would be."""
    for n in range(20):
        await market.bought(f"split{n}", (1_000,), payer="a")
    await market.bought("whole", (100,) * 20, payer="b")
    served = Counter(claim.batch_id[:5] for claim in await market.claim(most=20))
    assert served == {"split": 10, "whole": 10}


async def test_what_comes_back_below_the_floor_is_seen(market: Market) -> None:
    """The floor of a lane follows what waits in it, upwards and back."""
    await market.bought("b", (10,) * 5, payer="a")
    early, *_ = await market.claim(most=3)
    await market.move_floors()
    await market.shell.do(advance.leases.release, early.id, 1, "w")
    assert [claim.id for claim in await market.claim("v")] == [early.id]
    assert len(await market.claim("u", most=9)) == 2
    await market.move_floors()  # an empty lane forgets whose turns there were
    turns = await market.db.read_all("SELECT * FROM lane_turn")
    assert turns == []
    await market.bought("c", (10,), payer="a")
    assert [claim.batch_id for claim in await market.claim("v")] == ["c"]


async def test_whoever_waits_at_an_empty_lane_is_woken_once(market: Market) -> None:
    """When it turns from empty, and not for each item that comes after."""
    signals = Signals(market.db)
    listening = asyncio.create_task(signals.listen())
    async for _ in patiently("it never listens"):
        if signals.answered_s:
            break
    woken, stop = signals.watch(lanes.SIGNAL + LANE)
    await market.bought("b", TWO_SATS)
    async with asyncio.timeout(PATIENCE_S):
        await woken.wait()
    woken.clear()
    await market.bought("c", TWO_SATS)
    heard, _ = signals.watch("last")
    await market.db.run("tell", lambda tx: tx.execute("SELECT pg_notify('boltwork_job', 'last')"))
    async with asyncio.timeout(PATIENCE_S):
        await heard.wait()
    assert not woken.is_set()
    stop()
    listening.cancel()


async def buys(market: Market, payer: str, shares: list[int]) -> None:
    """Buy a batch, paid for in this way: a session has 1,000 sats, an account 0.019998 USDC."""
    match payer:
        case "session":
            await market.session("s", 1_000_000)
            await market.reserved("b", shares, "s")
        case "account":
            for _ in range(2):
                await market.has_usdc("u", 9_999)
            assert await market.from_account("b", shares, "u", Asset.MICROUSDC) == Applied()
        case "x402":
            await market.paid("b", shares, "u")
        case _:
            await market.bought("b", shares)


@pytest.mark.parametrize("payer", ["invoice", "session", "account", "x402"])
async def test_five_hundred_items_of_which_a_third_fails(market: Market, payer: str) -> None:
    """Each is delivered once or lost for good; charged exactly (in bitcoin in whole sats), and the
    rest is back whole."""
    dice, price = random.Random(7), 17_777 if payer == "account" else 777_000
    share = price // 500
    shares = [price - 499 * share, *[share] * 499]
    await buys(market, payer, shares)
    asset = Asset.MICROUSDC if payer in ("account", "x402") else Asset.MSAT
    lost = {f"bi{place:03}" for place in dice.sample(range(1, 501), 150)}

    async def works(worker: str) -> None:
        do = market.shell.do
        for number in range(10**6):
            claimed = await market.claim(f"{worker}.{number}", most=10)
            if not claimed:
                break
            for one in claimed:
                who = one.id, one.number, f"{worker}.{number}"
                if one.id in lost:
                    ends = (advance.leases.fail, advance.leases.decline)
                    await do(ends[int(one.id[-1]) % 2], *who, "no")
                else:
                    assert await market.deliver(one, who[2]) == Applied()

    await asyncio.gather(*(works(f"w{n}") for n in range(4)))
    batch = await market.batch("b")
    made = sum(share for place, share in enumerate(shares, 1) if f"bi{place:03}" not in lost)
    expected = whole_sats_up(made) if asset is Asset.MSAT else made
    assert (batch.state, batch.charged_amount) == (BatchState.COMPLETED, expected)
    assert (batch.delivered, batch.failed) == (350, 150)
    if payer == "session":
        assert await market.rests_on("session:s") == 1_000_000 - expected
    elif payer == "account":
        assert await market.rests_on("user:u", asset) == 2 * 9_999 - expected
    else:
        assert await market.rests_on("refund:b:undelivered", asset) == price - expected
    assert await market.rests_on("revenue:media", asset) == expected
    await market.is_right()


async def test_postgres_refuses_to_charge_more_than_the_price(market: Market) -> None:
    """Whatever the code says."""
    await market.bought("b", TWO_SATS)
    with pytest.raises(Unwritten, match="charged_within_price"):
        await market.db.run(
            "wrong", lambda tx: tx.execute("UPDATE batch SET charged_amount = price_amount + 1")
        )
