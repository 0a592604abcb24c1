"""Half of the claimers, as a process: each takes the item whose turn it is, over and over.

Those of the house go the way that its own executors and far workers go; the others send the least
statement that hands out each item once, in the same order, over a pool of as many connections.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
from psycopg_pool import AsyncConnectionPool

from app import advance
from app.advance import Shell, Terms
from db import lanes
from db.engine import Database
from db.promises import Outbox

from .crowd import LANES

CONNECTIONS = 8  # as a process of ours has to write with
FLOORS_S = 0.5  # as the house's own loop moves them
LAST = 10**14  # beyond every place and every turn
TERMS = Terms(lease_s=3_600, lease_most_s=7_200)  # nothing lapses while it is looked at

# What the bare claim writes down: who holds an item, by which number, until when.
BARE = """
ALTER TABLE item ADD COLUMN held_by text, ADD COLUMN token bigint,
      ADD COLUMN held_until timestamptz;
CREATE SEQUENCE item_token
"""
_BARE = """
WITH best AS MATERIALIZED (
  SELECT l.lane FROM unnest(%(lanes)s::text[]) AS l(lane)
   CROSS JOIN LATERAL (
         SELECT i.rank FROM item i WHERE i.state = 'pending' AND i.rank IS NOT NULL
            AND i.lane = l.lane ORDER BY i.rank, i.id LIMIT 1) AS head
   ORDER BY head.rank LIMIT 1)
UPDATE item SET state = 'claimed', held_by = %(worker)s, token = nextval('item_token'),
       number = number + 1, held_until = now() + interval '60 s'
 WHERE id = (SELECT i.id FROM item i WHERE i.state = 'pending' AND i.rank IS NOT NULL
                AND i.lane = (SELECT lane FROM best) AND NOT (%(worker)s = ANY(i.tried))
              ORDER BY i.rank, i.id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, asked
"""

# As the one that was claimed, with a turn after all others.
_ONE_MORE = f"""
INSERT INTO item (id, batch_id, place, state, lane, rank, weight, share_amount, asked, created_at)
SELECT %(new_id)s, batch_id, {LAST} + place + number * {LAST}, 'pending', lane, rank + {LAST},
       weight, share_amount, asked, created_at FROM item WHERE id = %(id)s RETURNING id
"""

Claim = Callable[[str, list[str]], Awaitable[str | None]]  # a worker, his lanes: an item's id


class Ours:
    """Claims as the house does."""

    def __init__(self, database_url: str) -> None:
        self._db = Database(database_url, CONNECTIONS)
        self._shell = Shell(self._db, Outbox(self._db), TERMS, lambda: datetime.now(UTC))

    async def open(self) -> None:
        """Connect."""
        await self._db.open()

    async def claim(self, worker: str, in_lanes: list[str]) -> str | None:
        """Claim one item."""
        claimed = await self._shell.do(advance.leases.claim, worker, in_lanes, 1)
        return claimed[0].id if claimed else None

    async def steady(self, seconds: float) -> dict[str, Any]:
        """Claim one item after the other for so long. For each that is claimed another one comes,
        and the floors are moved: neither is counted.
        """
        latencies: list[int] = []
        until, cpu_s = time.perf_counter() + seconds, 0.0
        moved = time.perf_counter()
        while time.perf_counter() < until or not latencies:
            began, cpu = time.perf_counter(), time.process_time()
            item_id = await self.claim("worker 1", LANES)
            latencies.append(int((time.perf_counter() - began) * 1e6))
            cpu_s += time.process_time() - cpu
            assert item_id is not None, "there is nothing left to be claimed"
            await self._db.read_all(_ONE_MORE, id=item_id, new_id=uuid4().hex)
            if time.perf_counter() > moved + FLOORS_S:
                await self._db.run("move_floors", lanes.move_floors)
                moved = time.perf_counter()
        rate = len(latencies) / (sum(latencies) / 1e6)
        cpu_us = cpu_s / len(latencies) * 1e6
        return {"rate": rate, "cpu_us": cpu_us, "latencies_us": latencies}

    async def move_floors(self) -> None:
        """Move them until cancelled."""
        while True:
            await self._db.run("move_floors", lanes.move_floors)
            await asyncio.sleep(FLOORS_S)


class Bare:
    """Claims by the bare statement."""

    def __init__(self, database_url: str) -> None:
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] = AsyncConnectionPool(
            database_url,
            min_size=2,
            max_size=CONNECTIONS,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": 0},
        )

    async def open(self) -> None:
        """Connect."""
        await self._pool.open()

    async def claim(self, worker: str, in_lanes: list[str]) -> str | None:
        """Claim one item."""
        async with self._pool.connection() as connection:
            values = {"worker": worker, "lanes": in_lanes}
            row = await (await connection.execute(_BARE, values)).fetchone()
        return None if row is None else str(row[0])

    async def move_floors(self) -> None:
        """It has none."""


class Claimers:
    """Some of the claimers of one database."""

    def __init__(self, whose: str, database_url: str, first: int) -> None:
        self.side = Ours(database_url) if whose == "ours" else Bare(database_url)
        self._first, self.ids = first, list[str]()

    async def claim(self, count: int, seconds: float) -> dict[str, object]:
        """Claim with so many workers for so long; return how many a second, and how long each took.

        The first process moves the floors, as one of the house's does.
        """
        latencies: list[int] = []
        began, cpu_s = time.perf_counter(), time.process_time()

        async def claims(number: int) -> None:
            models = LANES if number % 3 == 2 else LANES[: 2 + number % 3]
            while time.perf_counter() < began + seconds:
                at = time.perf_counter()
                item_id = await self.side.claim(f"worker {number}", models)
                if item_id is None:
                    continue
                latencies.append(int((time.perf_counter() - at) * 1e6))
                self.ids.append(item_id)

        moving = asyncio.create_task(self.side.move_floors() if not self._first else _nothing())
        await asyncio.gather(*(claims(self._first + n) for n in range(count)))
        moving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await moving
        took_s, used_s = time.perf_counter() - began, time.process_time() - cpu_s
        return {"took_s": took_s, "cpu_s": used_s, "latencies_us": latencies}


async def _nothing() -> None:
    """Nothing to do beside."""


async def run() -> None:
    """Claim as ordered, order by order, until the input ends."""
    opened: dict[str, Claimers] = {}
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        url = order["database_url"]
        if order["do"] == "open":
            opened[url] = Claimers(order["whose"], url, order["first"])
            await opened[url].side.open()
            _say({})
        elif order["do"] == "steady":
            side = opened[url].side
            assert isinstance(side, Ours), "the bare claim is not asked that"
            _say(await side.steady(order["seconds"]))
        elif order["do"] == "ids":
            _say({"ids": opened[url].ids})
        else:
            _say(await opened[url].claim(order["count"], order["seconds"]))


def _say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(run())
