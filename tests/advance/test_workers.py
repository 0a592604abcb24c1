"""Workers of the network: what they bring is paid for in the transaction that takes it."""

import asyncio
from datetime import timedelta

import pytest

from app import advance
from app.advance import Applied, Lost, Missing, Replayed, Shell
from app.advance.leases import Enough
from app.advance.workers import Change
from db import leases, workers
from db.claims import Claim, Hired
from db.payouts import of_owner
from db.seen import Seen
from db.workers import NewWorker, WorkerRow
from statemachine.entries import Asset
from statemachine.worker import NEW_FOR, NEW_ITEMS, Drained, Paused, Resumed, WorkerState
from tests.world.market_fixtures import LANE, Market, hashed

PAY_TO = "lender@example.org"


async def registered(market: Market, name: str = "w") -> str:
    """Register a worker; return its id."""
    new = NewWorker(name, f"{name}-account", name, hashed(name), "wk_…", PAY_TO)
    await market.shell.do(advance.workers.register, new)
    return name


async def claimed(
    market: Market, worker: str, most: int = 1, at_once: int | None = None
) -> list[Claim]:
    """Have a worker of the network claim items, of which it may hold so many."""
    names = [hashed(f"lease {next(market.numbers)}")[:32] for _ in range(most)]
    hired = Hired({LANE: 70, "another": 1}, names, at_once)
    claims = await market.shell.do(advance.leases.claim, worker, [LANE], most, hired)
    assert [(claim.lease_id, claim.pay_pct) for claim in claims] == [
        (name, 70) for name in names[: len(claims)]
    ]
    return claims


async def row_of(market: Market, worker: str = "w") -> WorkerRow:
    """Return a worker's row."""
    row = await workers.get(market.db, worker)
    assert row is not None
    return row


async def test_half_of_a_new_workers_pay_is_free_at_once(market: Market) -> None:
    """The charge is the house's, the worker's and what is held for it, to the msat."""
    await registered(market)
    await market.bought("b", [1_001, 999])
    first, second = await claimed(market, "w", 2)
    assert await market.deliver(first) == Applied()
    assert await market.rests_on("user:w-account") == 350
    assert await market.rests_on("worker:w") == 350
    assert await market.rests_on("revenue:media") == 301
    assert await market.deliver(first) == Replayed()
    assert await market.deliver(second) == Applied()
    assert await market.rests_on("user:w-account") == 350 + 350
    assert await market.rests_on("worker:w") == 350 + 349
    row = await row_of(market)
    assert (row.delivered, row.held_msat, row.trusted_at) == (2, 699, None)
    await market.is_right()


async def test_the_houses_own_workers_are_not_paid(market: Market) -> None:
    """What the house's executors deliver is the house's."""
    await registered(market)
    await market.bought("b", [1_000])
    [claim] = await market.claim("house:scene-1:1")
    assert (claim.lease_id, claim.pay_pct) == (None, 0)
    assert await market.deliver(claim, "house:scene-1:1") == Applied()
    assert await market.rests_on("revenue:media") == 1_000
    await market.is_right()


@pytest.mark.parametrize("by_itself", [False, True])
async def test_what_is_held_is_free_when_a_worker_is_new_no_more(
    market: Market, by_itself: bool
) -> None:
    """Enough items and a week: with the item that comes then, or with the next look at it."""
    await registered(market)
    await market.bought("b", [1_000] * (NEW_ITEMS + 1))
    for claim in await claimed(market, "w", NEW_ITEMS - 1):
        assert await market.deliver(claim) == Applied()
    market.clock.now += NEW_FOR - timedelta(minutes=1)
    [last] = await claimed(market, "w")
    if by_itself:
        assert await market.deliver(last) == Applied()
        assert await market.shell.do(advance.workers.mature, "w") == Applied()
        assert (await row_of(market)).trusted_at is None
        assert await workers.due(market.db, market.clock(), 9) == []
        market.clock.forward(minutes=1)
        assert await workers.due(market.db, market.clock(), 9) == ["w"]
        assert await market.shell.do(advance.workers.mature, "w") == Applied()
    else:
        market.clock.forward(minutes=1)
        assert await market.deliver(last) == Applied()
    assert (await row_of(market)).trusted_at == market.clock()
    assert await market.rests_on("worker:w") == 0
    assert await market.rests_on("user:w-account") == 700 * NEW_ITEMS
    assert await workers.due(market.db, market.clock(), 9) == []
    [one] = await claimed(market, "w")
    assert await market.deliver(one) == Applied()
    assert await market.rests_on("user:w-account") == 700 * (NEW_ITEMS + 1)
    await market.is_right()


async def test_a_worker_is_paid_in_what_its_buyer_paid_with(market: Market) -> None:
    """USDC is paid for in USDC."""
    await registered(market)
    await market.paid("b", [10_000])
    [claim] = await claimed(market, "w")
    assert await market.deliver(claim) == Applied()
    assert await market.rests_on("user:w-account", Asset.MICROUSDC) == 3_500
    assert await market.rests_on("worker:w", Asset.MICROUSDC) == 3_500
    assert await market.rests_on("user:w-account") == 0
    await market.is_right()


async def test_what_is_free_is_sent_when_it_is_enough(market: Market) -> None:
    """The payout is owed in the transaction that takes the result: whole sats, to the address."""
    await registered(market)
    terms = advance.Terms(pay_over_msat=5_000, session_minimum_msat=1_000)
    shell = Shell(market.db, market.shell.outbox, terms, market.clock)
    paying = Market(market.db, shell, market.clock, market.numbers)
    await paying.bought("b", [10_001, 10_001])
    first, second = await claimed(paying, "w", 2)
    assert await paying.deliver(first) == Applied()
    assert await of_owner(market.db, "w-account") == []
    assert await paying.deliver(second) == Applied()
    [payout] = await of_owner(market.db, "w-account")
    assert (payout.amount_msat, payout.refund_to) == (7_000, PAY_TO)
    assert await market.rests_on("user:w-account") == 0
    await market.is_right()


async def test_a_payout_is_asked_for(market: Market) -> None:
    """All whole sats, or so many; never more than is free, and nothing of what is held."""
    await registered(market)
    await market.bought("b", [10_001])
    [claim] = await claimed(market, "w")
    ask = advance.workers.pay_out
    assert isinstance(await market.shell.do(ask, "w", 1, None), advance.Short)
    assert await market.deliver(claim) == Applied()
    assert isinstance(await market.shell.do(ask, "w", 2, 4_000), advance.Short)
    assert await market.shell.do(ask, "w", 3, 1_000) == Applied()
    assert await market.shell.do(ask, "w", 4, None) == Applied()
    owed = await of_owner(market.db, "w-account")
    assert [payout.amount_msat for payout in owed] == [1_000, 2_000]
    assert await market.rests_on("user:w-account") == 500
    assert await market.rests_on("worker:w") == 3_500
    assert await market.shell.do(ask, "nobody", 5, None) == Missing()
    await market.is_right()


async def test_what_a_banned_worker_brings_is_not_taken(market: Market) -> None:
    """It is paid nothing for it, and the item waits for another; what was free stays its."""
    await registered(market)
    await market.bought("b", [1_000, 1_000])
    first, second = await claimed(market, "w", 2)
    assert await market.deliver(first) == Applied()
    assert await market.shell.do(advance.workers.ban, "w") == Applied()
    assert await market.shell.do(advance.workers.ban, "w") == Replayed()
    assert await market.deliver(second) == Lost()
    assert (await row_of(market)).state is WorkerState.BANNED
    assert await market.shell.do(advance.workers.change, "w", Change(event=Resumed())) == Replayed()
    market.clock.forward(minutes=5)
    assert await market.shell.do(advance.leases.lapse, second.id, second.number) == Applied()
    [again] = await market.claim("v")
    assert await market.deliver(again, "v") == Applied()
    assert await market.rests_on("user:w-account") == 350
    assert await market.shell.do(advance.workers.pay_out, "w", 1, None) != Applied()
    assert await market.shell.do(advance.workers.readmit, "w") == Applied()
    assert (await row_of(market)).state is WorkerState.PAUSED
    await market.is_right()


async def test_a_late_result_is_paid_while_nobody_else_has_brought_one(market: Market) -> None:
    """The first result is paid for, once: the other worker is told that its lease is lost."""
    await registered(market)
    await registered(market, "v")
    await market.bought("b", [1_000])
    [late] = await claimed(market, "w")
    market.clock.forward(minutes=5)
    assert await market.shell.do(advance.leases.lapse, late.id, late.number) == Applied()
    [claim] = await claimed(market, "v")
    assert await market.deliver(late) == Applied()
    assert await market.deliver(claim, "v") == Lost()
    assert await market.rests_on("user:w-account") == 350
    assert await market.rests_on("user:v-account") == 0
    assert (await row_of(market)).silent == 1
    await market.is_right()


async def test_who_falls_silent_three_times_in_an_hour_is_paused(market: Market) -> None:
    """Nobody is blamed once."""
    await registered(market)
    await market.bought("b", [1_000] * 3)
    for claim in await claimed(market, "w", 3):
        assert (await row_of(market)).state is WorkerState.ONLINE
        market.clock.forward(minutes=5)
        assert await market.shell.do(advance.leases.lapse, claim.id, claim.number) == Applied()
    row = await row_of(market)
    assert (row.state, row.silent) == (WorkerState.PAUSED, 3)
    assert await market.shell.do(advance.workers.change, "w", Change(event=Resumed())) == Applied()
    assert (await row_of(market)).silent == 0


async def test_what_was_not_begun_is_given_back_five_times_an_hour(market: Market) -> None:
    """That is no try of the item's. What was begun is one."""
    await registered(market)
    await market.bought("b", [1_000] * 8)
    claims = await claimed(market, "w", 8)
    back = advance.leases.hand_back
    for claim in claims[:5]:
        assert await market.shell.do(back, claim.id, claim.number, "w") == Applied()
    more, begun = claims[5:7]
    assert await market.shell.do(back, more.id, more.number, "w") == Enough()
    await market.shell.do(advance.leases.beat, begun.id, begun.number, "w", 10)
    assert await market.shell.do(back, begun.id, begun.number, "w") == Applied()
    assert await market.shell.do(back, begun.id, begun.number, "w") == Lost()
    assert await market.shell.do(back, begun.id, begun.number, "v") == Missing()
    assert sorted(item.tries for item in await market.items("b")) == [0] * 7 + [1]
    market.clock.forward(hours=1)
    assert await market.shell.do(back, more.id, more.number, "w") == Applied()


async def test_a_worker_is_counted_as_there_while_it_is_heard_of(market: Market) -> None:
    """By lane, of those that are given items and can do as much; for 45 seconds."""
    for name in ("w", "v"):
        await registered(market, name)
    see, now = advance.workers.see, market.clock
    await market.shell.do(see, Seen("w", ("a", "b"), 1_000, 8), Seen("v", ("b",), 500, 24))

    async def there(pixels: int = 0, vram_gb: int = 0) -> dict[str, int]:
        found = await workers.available(market.db, now(), pixels, vram_gb)
        return {row.lane: row.workers for row in found}

    assert await there() == {"a": 1, "b": 2}
    assert await there(pixels=501) == {"a": 1, "b": 1}
    assert await there(vram_gb=9) == {"b": 1}
    await market.shell.do(advance.workers.change, "v", Change(event=Drained()))
    assert await there() == {"a": 1, "b": 1}
    now.forward(seconds=40)
    await market.shell.do(advance.workers.hear, "w")
    now.forward(seconds=40)
    assert await there() == {"a": 1, "b": 1}
    now.forward(seconds=6)
    assert await there() == {}
    await market.shell.do(advance.workers.hear, "w")  # it is at work, and was there a moment ago
    assert await there() == {"a": 1, "b": 1}


async def test_a_worker_counts_once_for_a_model(market: Market) -> None:
    """However many of its tiers it makes; those that make only other tiers count too."""
    see = advance.workers.see
    makes = {"w": ["m/basic", "m/pro"], "v": ["m/pro", "m"], "u": ["m", "n/basic"]}
    for name, lanes in makes.items():
        await registered(market, name)
        await market.shell.do(see, Seen(name, tuple(lanes), 1_000, 8))
    assert await workers.of_tiers(market.db, market.clock()) == [("m", 2), ("n", 1)]


async def test_a_worker_is_called_something_else(market: Market) -> None:
    """What isn't said stays as it is."""
    await registered(market)
    change = advance.workers.change
    assert await market.shell.do(change, "w", Change(name="mine", event=Paused())) == Applied()
    row = await row_of(market)
    assert (row.name, row.pay_to, row.state) == ("mine", PAY_TO, WorkerState.PAUSED)
    assert await market.shell.do(change, "nobody", Change()) == Missing()


async def test_what_was_paid_of_late_is_told_by_lane(market: Market) -> None:
    """The median pay of an item, and how long it took."""
    await registered(market)
    await market.bought("b", [1_000, 2_000, 9_000])
    claims = await claimed(market, "w", 3)
    for claim in claims:
        market.clock.forward(seconds=1)
        assert await market.deliver(claim) == Applied()
    [rate] = await workers.rates(market.db, market.clock() - timedelta(days=1))
    assert rate == (LANE, Asset.MSAT, 3, 1_400, 2_000)
    assert await workers.rates(market.db, market.clock()) == [(LANE, Asset.MSAT, 1, 6_300, 3_000)]
    row = await row_of(market)
    assert (row.earned_msat, row.earned_microusdc) == (8_400, 0)


async def test_of_two_who_bring_one_item_at_once_one_is_paid(market: Market) -> None:
    """The late one and the one that holds it now; and each of them twice."""
    for name in ("w", "v"):
        await registered(market, name)
    for number in range(4):
        batch_id = f"b{number}"
        await market.bought(batch_id, [1_000])
        [late] = await claimed(market, "w")
        market.clock.forward(minutes=25)  # so that nobody falls silent thrice in an hour
        assert await market.shell.do(advance.leases.lapse, late.id, late.number) == Applied()
        [now] = await claimed(market, "v")
        brings = [(late, "w"), (now, "v")] * 2
        told = await asyncio.gather(*(market.deliver(*each) for each in brings))
        assert told.count(Applied()) == 1
        assert set(told) <= {Applied(), Replayed(), Lost()} and Lost() in told
    earned = [await market.rests_on(f"user:{name}-account") for name in ("w", "v")]
    assert sum(earned) == 4 * 350
    await market.is_right()


async def test_pay_is_sent_once_however_often_it_is_asked_for_at_once(market: Market) -> None:
    """All of it goes with one payout; the others find nothing."""
    await registered(market)
    await market.bought("b", [10_000])
    [claim] = await claimed(market, "w")
    assert await market.deliver(claim) == Applied()
    ask = advance.workers.pay_out
    told = await asyncio.gather(*(market.shell.do(ask, "w", n, None) for n in range(5)))
    assert told.count(Applied()) == 1
    [payout] = await of_owner(market.db, "w-account")
    assert payout.amount_msat == 3_000
    await market.is_right()


async def test_a_result_comes_at_the_moment_of_a_ban(market: Market) -> None:
    """It is taken and paid for, or it is not; never the one without the other."""
    for number in range(6):
        name, batch_id = f"w{number}", f"b{number}"
        await registered(market, name)
        await market.bought(batch_id, [1_000])
        [claim] = await claimed(market, name)
        told, _ = await asyncio.gather(
            market.deliver(claim, name), market.shell.do(advance.workers.ban, name)
        )
        pay = await market.rests_on(f"user:{name}-account")
        assert (told, pay) in ((Applied(), 350), (Lost(), 0))
        assert (await row_of(market, name)).state is WorkerState.BANNED
        if told == Lost():
            await market.shell.do(advance.leases.fail, claim.id, claim.number, name, "banned")
            await market.shell.do(advance.batches.cancel, batch_id)
    await market.is_right()


async def test_of_many_claims_at_once_a_worker_holds_no_more_than_it_may(market: Market) -> None:
    """They go one after the other; and who is not online is given nothing."""
    for name in ("w", "v"):
        await registered(market, name)
    await market.bought("b", [1_000] * 20)
    asked = [claimed(market, name, most, 5) for name in ("w", "v") for most in (1, 2, 3, 4)]
    given = [claim for claims in await asyncio.gather(*asked) for claim in claims]
    assert len({claim.id for claim in given}) == len(given) == 10
    held = await leases.held_by(market.db, "w")
    assert len(held) == 5
    assert await claimed(market, "w", 4, 5) == []
    assert await market.deliver(next(each for each in given if each.id == held[0].item_id)) == (
        Applied()
    )
    assert len(await claimed(market, "w", 4, 5)) == 1
    change = advance.workers.change
    assert await market.shell.do(change, "w", Change(event=Paused())) == Applied()
    assert await claimed(market, "w", 4, 20) == []
