"""A worker's hand, by itself: takes the next promise, and says that it is kept."""

import asyncio
import json
import sys
import time

from db.engine import Database
from db.promises import Hand, Outbox

DEAD_AFTER_S = 3_600.0


_ONE_MORE = """
INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args)
SELECT queue_name, task_name, gen_random_uuid()::text, args
  FROM procrastinate_jobs WHERE id = %(id)s RETURNING id
"""


async def hand_on(database_url: str) -> tuple[Database, Hand]:
    """Return a database, and a hand that is registered as a worker of it."""
    db = Database(database_url)
    await db.open()
    outbox = Outbox(db)
    await outbox.open()
    hand = outbox.hand()
    await hand.begin(DEAD_AFTER_S)
    return db, hand


async def take(db: Database, hand: Hand, seconds: float) -> dict[str, object]:
    """Take promises for so long. For each that is taken another one is made, and neither that nor
    saying that it is kept is counted.
    """
    latencies: list[int] = []
    until, cpu_s = time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < until or not latencies:
        began = time.perf_counter()
        taken = await hand.take()
        latencies.append(int((time.perf_counter() - began) * 1e6))
        assert taken is not None, "there is nothing left to be taken"
        await db.read_all(_ONE_MORE, id=taken.task.id)
        await hand.done(taken)
    used_us = (time.process_time() - cpu_s) / len(latencies) * 1e6
    rate = len(latencies) / (sum(latencies) / 1e6)
    return {"rate": rate, "cpu_us": used_us, "load_cpu_us": 0, "latencies_us": latencies}


async def run() -> None:
    """Take as ordered, order by order, until the input ends."""
    hands: dict[str, tuple[Database, Hand]] = {}
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        url = order["database_url"]
        hands[url] = hands.get(url) or await hand_on(url)
        print(json.dumps(await take(*hands[url], order["seconds"])), flush=True)


if __name__ == "__main__":
    asyncio.run(run())
