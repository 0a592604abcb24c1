"""What workers alone make and none comes for is given up in time, and what was paid goes back."""

import asyncio
from datetime import timedelta

import pytest

from app import advance
from app.advance import Applied, Replayed
from app.loops.lanes import Lanes
from db.seen import Seen
from db.workers import NewWorker
from statemachine.batch import BatchState
from statemachine.item import NOBODY, ItemState
from statemachine.worker import Paused
from tests.world.market_fixtures import LANE, Market, hashed

PATIENCE = timedelta(minutes=15)


@pytest.fixture
def loop_of_lanes(market: Market) -> Lanes:
    """The loop, where workers alone make what waits in the lane."""
    return Lanes(market.db, market.shell, market.clock, [LANE], PATIENCE)


async def comes(market: Market, worker: str) -> None:
    """Have a worker ask for items, and get none."""
    new = NewWorker(worker, f"{worker}-account", worker, hashed(worker), "wk_…", "a@example.org")
    await market.shell.do(advance.workers.register, new)
    await market.shell.do(advance.workers.see, Seen(worker, (LANE,), 1, 0))


async def states(market: Market, batch_id: str) -> list[ItemState]:
    """Return where a batch's items stand."""
    return [item.state for item in await market.items(batch_id)]


async def test_what_no_worker_comes_for_is_given_up(market: Market, loop_of_lanes: Lanes) -> None:
    """Not before its time, and not while a worker is there that may still take it. All of its price
    goes back where it came from.
    """
    await market.session("s", 10_000)
    await market.reserved("b", [1_001, 999], "s")
    market.clock.now += PATIENCE - timedelta(seconds=10)
    await loop_of_lanes.turn()
    assert await states(market, "b") == [ItemState.PENDING] * 2
    await comes(market, "w")
    market.clock.forward(seconds=20)
    await loop_of_lanes.turn()
    assert await states(market, "b") == [ItemState.PENDING] * 2
    market.clock.now += PATIENCE
    await loop_of_lanes.turn()
    items = await market.items("b")
    assert [(item.state, item.reason) for item in items] == [(ItemState.FAILED, NOBODY)] * 2
    assert (await market.batch("b")).state is BatchState.FAILED
    assert await market.rests_on("session:s") == 10_000
    await market.is_right()


async def test_who_has_tried_it_or_is_paused_does_not_come(
    market: Market, loop_of_lanes: Lanes
) -> None:
    """A worker never gets an item twice: one that others wait for is theirs, and stays."""
    await comes(market, "w")
    await comes(market, "idle")
    await market.shell.do(advance.workers.change, "idle", advance.workers.Change(event=Paused()))
    await market.bought("b", [1_000, 1_000])
    [claim] = await market.claim("w")
    told = await market.shell.do(advance.leases.fail, claim.id, claim.number, "w", "no memory")
    assert told == Applied()
    market.clock.now += PATIENCE
    await market.shell.do(advance.workers.see, Seen("w", (LANE,), 1, 0))
    await loop_of_lanes.turn()
    assert await states(market, "b") == [ItemState.FAILED, ItemState.PENDING]
    [claim] = await market.claim("w")
    assert await market.deliver(claim) == Applied()
    batch = await market.batch("b")
    assert (batch.state, batch.delivered, batch.failed) == (BatchState.COMPLETED, 1, 1)
    await market.is_right()


async def test_who_comes_in_the_same_moment_has_it(market: Market) -> None:
    """Whoever is first: it is held and stays, or it is given up and can't be claimed."""
    for number in range(4):
        await market.bought(f"b{number}", [1_000])
        give_up = market.shell.do(advance.leases.abandon, f"b{number}i001")
        told, claims = await asyncio.gather(give_up, market.claim("w"))
        assert (told, len(claims)) in [(Applied(), 0), (Replayed(), 1)]
        for claim in claims:
            assert await market.deliver(claim) == Applied()
    assert await market.shell.do(advance.leases.abandon, "b0i001") == Replayed()
    await market.is_right()


async def test_the_houses_lanes_are_left_alone(market: Market) -> None:
    """What the house's own makers make waits for them."""
    await market.bought("b", [1_000])
    market.clock.now += 2 * PATIENCE
    await Lanes(market.db, market.shell, market.clock).turn()
    assert await states(market, "b") == [ItemState.PENDING]
