"""Buyers, holders and the sweep of leases at once, on a real Postgres: nothing is lost by it."""

import asyncio
import random
from dataclasses import dataclass

from app import advance
from app.advance import Act, Applied, Outcome
from db import batches, leases
from db.claims import Claim
from tests.world.market_fixtures import Market
from tests.world.patience import patiently

ITEMS = (50,) * 9
WAITING = """
SELECT count(*) AS n FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@dataclass
class Crowd:
    """All who do something at once, as the dice say."""

    market: Market
    dice: random.Random

    async def works(self, worker: str) -> None:
        """Claim, and end what was claimed in one of the ways that it can end, or stay silent."""
        for number in range(25):
            who = f"{worker}.{number}"
            for one in await self.market.claim(who, most=self.dice.randrange(1, 4)):
                await self._ends(one, who)

    async def _ends(self, one: Claim, who: str) -> None:
        do, whose = self.market.shell.do, (one.id, one.number, who)
        match self.dice.randrange(6):
            case 0:
                await do(advance.leases.fail, *whose, "no memory")
            case 1:
                await do(advance.leases.decline, *whose, "no")
            case 2:
                await do(advance.leases.release, *whose)
            case 3:
                await do(advance.leases.beat, *whose, 50)
                self.market.clock.forward(seconds=10)
            case _:
                await self.market.deliver(one, who)

    async def lapses(self, turns: int) -> None:
        """Take back what its holders are not heard of about."""
        for _ in range(turns):
            for due in await leases.due(self.market.db, self.market.clock(), 50):
                await self.market.shell.do(advance.leases.lapse, *due)

    async def buys(self, batch_id: str) -> None:
        """Buy a batch, by an invoice or on a session, and give it up or not."""
        if self.dice.randrange(2):
            await self.market.bought(batch_id, ITEMS, payer=batch_id)
        else:
            await self.market.reserved(batch_id, ITEMS, "s")
        if self.dice.randrange(2):
            await self.market.shell.do(advance.batches.cancel, batch_id)


async def test_whatever_happens_at_once_nothing_is_lost(market: Market) -> None:
    """Claims, results, failures, leases given back and lapsed, beside buyers who cancel: every item
    ends once, and every batch is charged for what it has delivered."""
    crowd, names = Crowd(market, random.Random(11)), [f"b{n}" for n in range(8)]
    await market.session("s", 1_000_000)
    workers = (crowd.works(f"w{n}") for n in range(4))
    await asyncio.gather(*workers, crowd.lapses(40), *map(crowd.buys, names))
    await market.is_right()
    for number in range(4):  # what is left comes to its end
        market.clock.forward(hours=1)
        await crowd.lapses(10)
        for one in await market.claim(f"last{number}", most=100):
            await market.deliver(one, f"last{number}")
    assert all([(await market.batch(name)).is_final for name in names])
    await market.is_right()


async def test_a_first_claim_and_a_cancel_at_once(market: Market) -> None:
    """Each holds what the other waits for: Postgres ends one of them, and it is done again. So the
    batch is cancelled whole, or what was claimed runs to its end."""
    await market.bought("b", ITEMS)
    tries: list[str] = []

    async def cancels(act: Act) -> Outcome:
        assert await batches.lock(act.tx, "b") is not None
        tries.append("locked")
        async for _ in patiently("the claim never waits for the batch"):
            row = await market.db.read_one(WAITING)
            if len(tries) > 1 or (row is not None and row["n"]):
                break
        return await advance.batches.cancel(act, "b")

    cancelling = asyncio.create_task(market.shell.do(cancels))
    async for _ in patiently("the batch was not locked"):
        if tries:
            break
    held = len(await market.claim())
    assert await cancelling == Applied()
    assert await market.states("b") == {"cancelled": 9 - held} | ({"claimed": 1} if held else {})
    assert (await market.batch("b")).is_final is not bool(held)
    await market.is_right()


async def test_batches_are_begun_in_one_order(market: Market) -> None:
    """Whatever comes first in a claim: whoever waits for one of them holds none that others may
    wait for beside it, and so two claims never wait for each other."""
    for name in "ba":
        await market.bought(name, (1_000,))
    locked = asyncio.Event()

    async def holds_one(act: Act) -> list[str]:
        assert await batches.lock(act.tx, "a") is not None
        locked.set()
        async for _ in patiently("the claim never waits for the batch"):
            row = await market.db.read_one(WAITING)
            if row is not None and row["n"]:
                break
        free = "SELECT id FROM batch WHERE id = 'b' FOR UPDATE SKIP LOCKED"
        return [row["id"] for row in await act.tx.all(free)]

    holding = asyncio.create_task(market.shell.do(holds_one))
    await locked.wait()
    claimed = await market.claim(most=2)
    assert [one.batch_id for one in claimed] == ["b", "a"]
    assert await holding == ["b"]


async def test_many_bring_the_result_of_one_item(market: Market) -> None:
    """From the lease that holds it and from those that had lapsed, ten times each, at once: one is
    taken and charged, and all others are told."""
    await market.bought("b", (1_000,))
    claims = []
    for number in range(2):
        claims += await market.claim(f"w{number}")
        market.clock.forward(seconds=31)
        await Crowd(market, random.Random()).lapses(1)
    claims += await market.claim("w2")
    told = await asyncio.gather(
        *(market.deliver(one, f"w{number}") for number, one in enumerate(claims) for _ in range(10))
    )
    kinds = [type(one).__name__ for one in told]
    assert (kinds.count("Applied"), kinds.count("Replayed"), kinds.count("Lost")) == (1, 9, 20)
    assert await market.rests_on("revenue:media") == 1_000
    await market.is_right()
