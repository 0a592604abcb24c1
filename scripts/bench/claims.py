"""A worker's hand, by itself: takes the next promise, and says that it is kept."""

import asyncio
import json
import sys
import time

from db.engine import Database
from db.promises import Hand, Outbox

DEAD_AFTER_S = 3_600.0


async def hand_on(database_url: str) -> Hand:
    """Return a hand that is registered as a worker of this database."""
    db = Database(database_url)
    await db.open()
    outbox = Outbox(db)
    await outbox.open()
    hand = outbox.hand()
    await hand.begin(DEAD_AFTER_S)
    return hand


async def take(hand: Hand, seconds: float) -> dict[str, object]:
    """Take promises for so long; what was taken is done at once, and not counted."""
    latencies: list[int] = []
    until, cpu_s = time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < until or not latencies:
        began = time.perf_counter()
        taken = await hand.take()
        latencies.append(int((time.perf_counter() - began) * 1e6))
        assert taken is not None, "there is nothing left to be taken"
        await hand.done(taken)
    used_us = (time.process_time() - cpu_s) / len(latencies) * 1e6
    rate = len(latencies) / (sum(latencies) / 1e6)
    return {"rate": rate, "cpu_us": used_us, "load_cpu_us": 0, "latencies_us": latencies}


async def run() -> None:
    """Take as ordered, order by order, until the input ends."""
    hands: dict[str, Hand] = {}
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        url = order["database_url"]
        hands[url] = hands.get(url) or await hand_on(url)
        print(json.dumps(await take(hands[url], order["seconds"])), flush=True)


if __name__ == "__main__":
    asyncio.run(run())
