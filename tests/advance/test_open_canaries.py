"""What is held of a worker's pay stays held while a canary of it is open."""

import pytest

from app import advance
from app.advance import Applied, Replayed
from db import workers
from statemachine.canary import Event, Failed, Passed, Voided
from statemachine.worker import NEW_FOR, NEW_ITEMS
from tests.world.market_fixtures import Market
from tests.world.trust_fixtures import Lent


@pytest.mark.parametrize("event", [Passed(2), Failed(90), Voided()])
async def test_what_an_open_canary_may_take_is_not_freed(market: Market, event: Event) -> None:
    """However old its worker has grown: neither with what it brings, nor by a look at it. Once the
    canary is judged, a liar has lost all of it, and anybody else has it."""
    lent, mature, is_liar = Lent(market), advance.workers.mature, isinstance(event, Failed)
    await lent.workers("w")
    await market.bought("b", [1_000] * NEW_ITEMS)
    for claim in await lent.claimed("w", NEW_ITEMS - 1):
        assert await lent.brings(claim) == Applied()
    [last] = await lent.claimed("w")
    market.clock.now += NEW_FOR
    for claim in (await lent.holds("c"), last):
        assert await lent.brings(claim) == Applied()
    held = 350 * (NEW_ITEMS + 1)
    assert await workers.due(market.db, market.clock(), 9) == []
    assert await market.shell.do(mature, "w") == Applied()
    row = await lent.row()
    assert (row.delivered, row.held_msat, row.trusted_at) == (NEW_ITEMS + 1, held, None)
    assert await market.shell.do(advance.canaries.judge, "ci", event) == Applied()
    assert await workers.due(market.db, market.clock(), 9) == ["w"] * (not is_liar)
    assert await market.shell.do(mature, "w") == (Replayed() if is_liar else Applied())
    row = await lent.row()
    lost, free = (held, held) if is_liar else (0, 2 * held)
    assert (row.held_msat, row.forfeited_msat) == (0, lost)
    assert await market.rests_on("user:w-account") == free
    await market.is_right()
