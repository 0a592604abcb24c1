"""Canaries: paid like any item; one that is failed bans its worker, whose buyers have back what
that has forfeited, and what the house had of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from app import advance
from app.advance import Applied, Lost, Missing, Replayed
from app.advance.workers import Change
from db import amends, canaries
from db.audit import audit
from db.payouts import of_owner
from db.seen import Seen
from statemachine.amends import MOST_ITEMS
from statemachine.canary import Event, Failed, Passed, Voided
from statemachine.entries import Asset
from statemachine.worker import NEW_FOR, NEW_ITEMS, Resumed, WorkerState
from tests.world.market_fixtures import LANE, Market
from tests.world.trust_fixtures import CAT, Lent

FAILS, PASSES = Failed(90), Passed(2)


@pytest.fixture
async def lent(market: Market) -> Lent:
    """A market with one worker of the network."""
    lent = Lent(market)
    await lent.workers("w")
    return lent


async def judged(lent: Lent, name: str, event: Event) -> None:
    """Have a canary judged that was brought."""
    found = {each.item_id for each in await canaries.due(lent.market.db, 9)}
    assert f"{name}i" in found
    told = await lent.market.shell.do(advance.canaries.judge, f"{name}i", event)
    assert told == Applied()


async def amended(lent: Lent) -> dict[str, int]:
    """Make all amends that are due; return to which batches, and how much."""
    due = await amends.due(lent.market.db, 99)
    for row in due:
        assert await lent.market.shell.do(advance.amends.make, row.id, row.batch_id) == Applied()
    assert await amends.due(lent.market.db, 99) == []
    return {row.batch_id: row.amount for row in due}


async def failed(lent: Lent, name: str = "c") -> None:
    """Have the worker fail a canary."""
    claim = await lent.holds(name)
    assert await lent.brings(claim) == Applied()
    await judged(lent, name, FAILS)


async def again(lent: Lent) -> None:
    """Have the operator take a banned worker again, which then goes on."""
    shell, resumed = lent.market.shell, Change(event=Resumed())
    assert await shell.do(advance.workers.readmit, "w") == Applied()
    assert await shell.do(advance.workers.change, "w", resumed) == Applied()


async def test_a_canary_is_paid_like_any_item(lent: Lent) -> None:
    """By the house, whose own part of it comes back; it is held, brought and counted as any is."""
    market = lent.market
    claim = await lent.holds("c")
    assert (claim.lease_id, claim.pay_pct, claim.share_amount) == ("cl", 70, 1_000)
    await market.is_right()
    await market.shell.do(advance.leases.beat, claim.id, claim.number, "w", 50)
    assert await lent.brings(claim) == Applied()
    assert await market.rests_on("expense:canaries") == 1_000
    assert await market.rests_on("revenue:media") == 300
    assert await market.rests_on("user:w-account") == 350
    assert await market.rests_on("worker:w") == 350
    await market.is_right()
    await judged(lent, "c", PASSES)
    row = await lent.row()
    assert (row.state, row.delivered, row.canaries_passed) == (WorkerState.ONLINE, 1, 1)
    assert await market.rests_on("worker:w") == 350
    judge = advance.canaries.judge
    assert await market.shell.do(judge, "ci", FAILS) == Replayed()
    assert await market.shell.do(judge, "nothing", FAILS) == Missing()
    await market.is_right()


async def test_a_canary_that_is_not_brought_costs_nothing(lent: Lent) -> None:
    """Given up, given back or lost by silence: nobody else is asked, and it says nothing of its
    worker; what was brought too late is not taken."""
    market = lent.market
    given_up, back = [await lent.holds(name) for name in "ab"]
    assert await lent.canary("c") is None  # it holds as many as it may
    assert await market.shell.do(advance.leases.fail, "ai", 1, "w", "It is too much.") == Applied()
    assert await market.shell.do(advance.leases.hand_back, "bi", 1, "w") == Applied()
    lost = await lent.holds("c")
    market.clock.forward(minutes=5)
    assert await market.shell.do(advance.leases.lapse, "ci", 1) == Applied()
    assert await lent.brings(lost) == Lost()
    assert await market.claim("house:scene-1:1") == []
    assert await market.rests_on("expense:canaries") == 0
    for name in "abc":
        await judged(lent, name, Voided())
    row = await lent.row()
    assert (row.canaries_failed, row.failed, row.silent, row.lost) == (0, 1, 1, 0)
    assert (given_up.id, back.id) == ("ai", "bi")
    await market.is_right()


async def test_a_canary_is_given_once_to_who_is_given_items(lent: Lent) -> None:
    """When it is due; and to nobody who is paused."""
    market = lent.market
    claim = await lent.holds("a")
    assert not (await lent.row()).canary_due
    assert await lent.brings(claim) == Applied()
    assert await market.shell.do(advance.workers.ban, "w") == Applied()
    assert await lent.canary("b") is None
    await judged(lent, "a", PASSES)
    assert (await lent.row()).state is WorkerState.BANNED
    await market.is_right()


async def test_what_is_held_and_the_houses_part_go_back_to_buyers(lent: Lent) -> None:
    """Of what each has paid, in whole sats: first what was forfeited, then what the house had. What
    was free stays free."""
    market, held = lent.market, 4 * 3_500 + 350
    for number in range(4):
        await market.bought(f"b{number}", [10_000])
        market.clock.forward(seconds=1)
        await lent.made(f"b{number}")
    await failed(lent)
    row = await lent.row()
    assert (row.state, row.held_msat, row.forfeited_msat) == (WorkerState.BANNED, 0, held)
    assert await market.rests_on("revenue:forfeits") == 4 * 6_000
    assert await market.rests_on("revenue:media") == 4 * 3_000 + 300 - (4 * 6_000 - held)
    await market.is_right()
    assert await amended(lent) == {f"b{number}": 6_000 for number in range(4)}
    assert await market.rests_on("revenue:forfeits") == 0
    assert await market.rests_on("user:w-account") == held
    [owed] = await of_owner(market.db, "b3")
    assert (owed.amount_msat, owed.reason.value) == (6_000, "not made as asked")
    assert (await market.batch("b3")).payouts[0].id == "b3:amends1"
    await market.is_right()


async def test_all_is_held_of_who_has_passed_no_canary(lent: Lent) -> None:
    """Of what it makes there are some: then its buyers are made whole, and it keeps nothing. Of who
    makes what nobody here knows half is held, as of who has passed one."""
    market = lent.market
    terms = replace(market.shell.terms, canary_every=10**9, canary_lanes=(LANE,))
    lent.market = market = replace(market, shell=replace(market.shell, terms=terms))
    await market.bought("unknown", [10_000])
    await lent.made("unknown")
    assert (await lent.row()).held_msat == 3_500
    await market.shell.do(advance.workers.see, Seen("w", (LANE,), 8 * 8, 0))
    await market.bought("junk", [10_000, 20_000])
    await lent.made("junk")
    assert (await lent.row()).held_msat == 3_500 + 21_000
    await failed(lent)
    assert await market.rests_on("user:w-account") == 3_500
    assert await amended(lent) == {"junk": 30_000, "unknown": 6_000}
    await market.is_right()
    await lent.workers("v")
    await market.shell.do(advance.workers.see, Seen("v", (LANE,), 8 * 8, 0))
    assert await lent.brings(await lent.holds("a", "v"), "v") == Applied()
    await judged(lent, "a", PASSES)
    await market.bought("good", [10_000])
    await lent.made("good", "v")
    assert (await lent.row("v")).held_msat == 700 + 3_500
    await market.is_right()


async def test_amends_go_to_where_the_payment_came_from(lent: Lent) -> None:
    """A session's balance, an account's, or a payout; in sats, and in USDC."""
    market = lent.market
    await market.session("s", 5_000)
    await market.bought("b", [1_000] * 9)
    await lent.made("b")
    market.clock.forward(seconds=1)
    await market.reserved("ofs", [1_000, 1_000], "s")
    await lent.made("ofs")
    await market.paid("usdc", [20_000, 20_000])
    await lent.made("usdc")
    market.clock.forward(seconds=1)
    await market.has_usdc("u", 9_000)
    assert await market.from_account("ofu", [9_000], "u", Asset.MICROUSDC) == Applied()
    await lent.made("ofu")
    await failed(lent)
    row = await lent.row()
    assert (row.forfeited_msat, row.forfeited_microusdc) == (12 * 350, 2 * 7_000 + 3_150)
    assert await amended(lent) == {"ofs": 1_000, "b": 5_000, "ofu": 5_850, "usdc": 26_000}
    assert await market.rests_on("session:s") == 4_000
    assert await market.rests_on("user:u", Asset.MICROUSDC) == 5_850
    [owed] = await of_owner(market.db, "usdc")
    assert (owed.amount, owed.asset) == (26_000, Asset.MICROUSDC)
    assert await market.rests_on("revenue:forfeits") == 0
    assert await market.rests_on("revenue:forfeits", Asset.MICROUSDC) == 0
    await market.is_right()


async def test_amends_of_a_session_that_is_over_go_on_to_its_holder(lent: Lent) -> None:
    """As all that comes back to it then."""
    market = lent.market
    await market.session("s", 5_000)
    await market.reserved("b", [3_000, 1_000], "s")
    await lent.made("b")
    assert await market.shell.do(advance.sessions.close, "s") == Applied()
    await failed(lent)
    assert await amended(lent) == {"b": 2_000}
    assert await market.rests_on("session:s") == 0
    assert sorted(owed.amount_msat for owed in await of_owner(market.db, "s")) == [1_000, 2_000]
    await market.is_right()


async def test_only_what_came_since_the_last_canary_is_made_good(lent: Lent) -> None:
    """What it had brought before it passed one is not known to be anything; nor is that of the one
    before it that it failed. Amends are made once for each canary."""
    market = lent.market

    async def brought(batch_id: str, shares: Sequence[int]) -> None:
        market.clock.forward(seconds=1)
        await market.bought(batch_id, shares)
        await lent.made(batch_id)
        market.clock.forward(seconds=1)

    await brought("old", [9_000])
    assert await lent.brings(await lent.holds("a")) == Applied()
    await judged(lent, "a", PASSES)
    await brought("new", [10_000])
    await failed(lent, "b")
    assert await amended(lent) == {"new": 6_000}
    await again(lent)
    await brought("newer", [40_000])
    await failed(lent, "c")
    assert await amended(lent) == {"newer": 26_000}
    row = await lent.row()
    assert (row.canaries_passed, row.canaries_failed, row.held_msat) == (1, 2, 0)
    await market.is_right()


async def test_nobody_has_the_same_back_twice(lent: Lent) -> None:
    """Where an older canary is judged late, of a worker that was taken again: what was made good by
    the other one is not made good by this one, however much was held since."""
    market = lent.market
    late, soon = await lent.holds("a"), await lent.holds("b")
    for canary in (late, soon):
        assert await lent.brings(canary) == Applied()
    market.clock.forward(seconds=1)
    await market.bought("b", [10_000])
    await lent.made("b")
    await judged(lent, "b", FAILS)
    assert await amended(lent) == {"b": 6_000}
    await again(lent)
    market.clock.forward(seconds=1)
    await market.bought("since", [10_000])
    await lent.made("since")
    for name in "cdefgh":
        assert await lent.brings(await lent.holds(name)) == Applied()
    await judged(lent, "a", FAILS)
    assert (await lent.row()).forfeited_msat == 2 * 3_500 + 8 * 350
    assert await amended(lent) == {"since": 6_000}
    await market.is_right()


async def test_no_more_than_its_last_items_are_made_good(lent: Lent) -> None:
    """However much was held."""
    market = lent.market
    await market.bought("rich", [10**6])
    await lent.made("rich")
    market.clock.forward(seconds=1)
    await market.bought("many", [1_000] * (MOST_ITEMS + 5))
    for claim in await lent.claimed("w", MOST_ITEMS + 5):
        assert await lent.brings(claim) == Applied()
    await failed(lent)
    assert await amended(lent) == {"many": 650 * MOST_ITEMS // 1_000 * 1_000}
    await market.is_right()


async def test_a_trusted_worker_has_nothing_to_lose_but_its_place(lent: Lent) -> None:
    """What was held is free by then, and nothing of that is taken: its buyers have the house's part
    alone."""
    market = lent.market
    await market.bought("b", [1_000] * NEW_ITEMS)
    for claim in await lent.claimed("w", NEW_ITEMS):
        assert await lent.brings(claim) == Applied()
    market.clock.now += NEW_FOR
    assert await market.shell.do(advance.workers.mature, "w") == Applied()
    free = await market.rests_on("user:w-account")
    await failed(lent)
    assert await market.rests_on("user:w-account") == free + 700
    assert (await lent.row()).state is WorkerState.BANNED
    assert await amended(lent) == {"b": 300 * NEW_ITEMS}
    await market.is_right()


async def test_what_was_forfeited_is_not_freed_later(lent: Lent) -> None:
    """Of a worker that was taken again, what is freed once it is trusted is what it has earned
    since."""
    market = lent.market
    await failed(lent)
    await again(lent)
    await market.bought("b", [1_000] * NEW_ITEMS)
    for claim in await lent.claimed("w", NEW_ITEMS):
        assert await lent.brings(claim) == Applied()
    market.clock.now += NEW_FOR
    assert await market.shell.do(advance.workers.mature, "w") == Applied()
    assert await market.rests_on("user:w-account") == 350 + NEW_ITEMS * 700
    assert await market.rests_on("revenue:forfeits") == 350
    await market.is_right()


async def test_a_canary_is_judged_once_and_amends_are_made_once(lent: Lent) -> None:
    """However many processes do it at once, and while the worker brings more."""
    market = lent.market
    await market.bought("b", [1_000, 1_000, 1_000])
    first, *others = await lent.claimed("w", 3)
    for claim in others:
        assert await lent.brings(claim) == Applied()
    assert await lent.brings(await lent.holds("c")) == Applied()
    judge = advance.canaries.judge
    told = await asyncio.gather(
        *(market.shell.do(judge, "ci", FAILS) for _ in range(4)), lent.brings(first)
    )
    assert told.count(Applied()) - (told[-1] == Applied()) == 1
    [due] = await amends.due(market.db, 9)
    make = advance.amends.make
    told = await asyncio.gather(*(market.shell.do(make, due.id, "b") for _ in range(4)))
    assert (told.count(Applied()), told.count(Replayed())) == (1, 3)
    assert await market.shell.do(make, due.id, "another") == Missing()
    [owed] = await of_owner(market.db, "b")
    assert owed.amount_msat == 1_000
    await market.is_right()


async def test_what_was_asked_of_late_is_asked_of_another(lent: Lent) -> None:
    """Not of who has seen it before, not what the house has ordered, and not what was asked for a
    day before."""
    market, now = lent.market, lent.market.clock
    await lent.workers("v")
    await lent.asked("b", (CAT, 7))
    await lent.made("b")
    assert await lent.brings(await lent.holds("c")) == Applied()
    lane = "scene-1/standard"
    assert await canaries.wish_of_late(market.db, lane, "w", 0, now()) is None
    wish = await canaries.wish_of_late(market.db, lane, "v", 7, now())
    assert wish is not None
    assert (wish.asked["prompt"], wish.asked["seed"], wish.weight) == (CAT, 7, 1)
    now.forward(hours=25)
    assert await canaries.wish_of_late(market.db, lane, "v", 7, now()) is None


async def test_the_auditor_sees_what_was_changed_by_hand(lent: Lent) -> None:
    """A canary's verdict, what was forfeited, what is owed of it, who paid for it."""
    market = lent.market
    await market.bought("b", [1_000])
    await lent.made("b")
    await failed(lent)
    assert await amended(lent) == {}
    await market.is_right()
    for change, undo in (
        ("UPDATE canary SET state = 'passed'", "UPDATE canary SET state = 'failed'"),
        ("UPDATE canary SET forfeited_msat = 1", "UPDATE canary SET forfeited_msat = 700"),
        ("UPDATE canary SET added_msat = 1", "UPDATE canary SET added_msat = 0"),
        ("UPDATE worker SET canaries_failed = 0", "UPDATE worker SET canaries_failed = 1"),
        (
            "UPDATE batch SET funding = 'invoice' WHERE id = 'cb'",
            "UPDATE batch SET funding = 'house' WHERE id = 'cb'",
        ),
        (
            "INSERT INTO amends (id, canary_id, batch_id, state, asset, amount, created_at)"
            " VALUES ('x', 'ci', 'b', 'due', 'msat', 1000, now())",
            "DELETE FROM amends",
        ),
    ):
        await changed(market, change)
        assert await audit(market.db) != [], change
        await changed(market, undo)
        await market.is_right()


async def changed(market: Market, statement: str) -> None:
    """Change something by hand."""
    await market.db.run("by hand", lambda tx: tx.execute(statement))
