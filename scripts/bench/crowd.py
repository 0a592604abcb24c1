"""A crowd of payers, as a process: each has bought items that wait in six lanes, and now and then
somebody new buys one.

All of it goes the house's own way: rows, turns and wake-ups are those of batches that were paid.
"""

import asyncio
import json
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from db import batches, items, lanes
from db.engine import Database, Tx
from db.items import NewItem
from statemachine.batch import MOST_ITEMS, BatchFacts, BatchState, Funding

LANES = [f"{model}/{tier}" for model in ("a", "b") for tier in ("small", "middle", "large")]
LIKELY = (7, 2, 1, 7, 2, 1)  # how often each lane is asked for
FLOOD = 0.34  # of all items are the first payer's
WEIGHTS = {"small": 4_000, "middle": 25_000, "large": 60_000}  # one lane is one model at one price
AT_ONCE = 8
SHARE_MSAT = 4_000
ASKED = {"prompt": "a lighthouse at dusk " * 10, "width": 1024, "height": 1024, "steps": 8}


class Crowd:
    """Buys in one database."""

    def __init__(self, database_url: str) -> None:
        self.db = Database(database_url)
        self._chance = random.Random(1)  # the same crowd each time

    async def fill(self, count: int, payers: int) -> None:
        """Have so many items wait, of so many payers."""
        bought = self._orders(count, payers)

        async def one_by_one() -> None:
            for payer, ordered in bought:
                await self._buy(payer, ordered)

        await asyncio.gather(*(one_by_one() for _ in range(AT_ONCE)))

    def _orders(self, count: int, payers: int) -> Iterator[tuple[str, list[NewItem]]]:
        flood = int(count * FLOOD)
        sizes = [("payer 1", flood)]
        each, more = divmod(count - flood, payers - 1)
        sizes += [(f"payer {n}", each + (n - 2 < more)) for n in range(2, payers + 1)]
        for payer, most in sizes:
            ordered = [self._item() for _ in range(most)]
            for first in range(0, most, MOST_ITEMS):
                yield payer, ordered[first : first + MOST_ITEMS]

    def _item(self, lane: str | None = None) -> NewItem:
        lane = lane or self._chance.choices(LANES, LIKELY)[0]
        weight = WEIGHTS[lane.partition("/")[2]]
        return NewItem(uuid4().hex, lane, weight, SHARE_MSAT, ASKED)

    async def _buy(self, payer: str, ordered: list[NewItem]) -> None:
        facts = BatchFacts(
            uuid4().hex,
            BatchState.QUEUED,
            Funding.INVOICE,
            SHARE_MSAT * len(ordered),
            len(ordered),
        )
        now = datetime.now(UTC)

        async def buy(tx: Tx) -> None:
            await batches.insert(tx, facts, payer, {}, None, now)
            await items.insert(tx, facts.id, ordered, now)
            await lanes.give_turns(tx, facts.id, payer)

        await self.db.run("bench", buy)

    async def newcomers(self, count: int, pause_s: float) -> list[str]:
        """Have so many new payers buy one item each, one after the other; return when each of these
        had committed: nobody can claim an item before that.
        """
        there: list[str] = []
        for number in range(count):
            await self._buy(f"newcomer {number}", [self._item(LANES[0])])
            there.append(datetime.now(UTC).isoformat())
            await asyncio.sleep(pause_s)
        return there


async def run() -> None:
    """Do as ordered, order by order, until the input ends."""
    crowds: dict[str, Crowd] = {}
    while line := await asyncio.to_thread(sys.stdin.readline):
        order: dict[str, Any] = json.loads(line)
        do, url = order.pop("do"), order.pop("database_url")
        told: object = None
        if do == "leave":  # a database is copied while nobody is in it
            await crowds.pop(url).db.close()
        else:
            if url not in crowds:
                crowds[url] = Crowd(url)
                await crowds[url].db.open()
            told = await getattr(crowds[url], do)(**order)
        print(json.dumps({"done": do, "told": told}), flush=True)


if __name__ == "__main__":
    asyncio.run(run())
