"""What nobody paid for is purged a day after it lapsed, a batch at a time; late money is not lost.

A slim row of each invoice stays for a week: the rail is asked about it, and a payment is owed back.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import structlog

from app import advance
from app.advance import Shell
from app.ports import Clock
from db import lapsed, people
from db.engine import Database

log = structlog.get_logger("boltwork.unpaid")

KEPT = timedelta(days=1)  # after its invoice lapsed
BATCH = 100
MOST_BATCHES = 50  # in one turn: the rest is for the next
LATE_PAUSE = timedelta(hours=6)  # between two questions about one that was purged
FORGET = timedelta(days=7)  # after its expiry nobody asks any more


class Unpaid:
    """Purges, and remembers what a late payment needs."""

    def __init__(self, db: Database, shell: Shell, clock: Clock) -> None:
        self._db, self._shell, self._clock = db, shell, clock

    async def turn(self) -> None:
        """Purge what has lain unpaid for a day, and forget what nobody will pay any more."""
        now = self._clock()
        purged = 0
        for _ in range(MOST_BATCHES):
            rows = await lapsed.due(self._db, now - KEPT, BATCH)
            if not rows:
                break
            gone = await self._shell.do(advance.purging.purge, rows)
            purged += gone
            if not gone:
                break
        orders = partial(lapsed.purge_orders, before=now - KEPT, limit=BATCH)
        purged += await _all(lambda: self._db.run("purge_orders", orders))
        slim = partial(lapsed.forget, before=now - FORGET, limit=BATCH)
        await _all(lambda: self._db.run("forget_unpaid", slim))
        await self._db.run("forget_logins", partial(people.forget, now=now))
        if purged:
            log.info("unpaid_purged", count=purged)

    async def due(self) -> list[str]:
        """Return payment hashes of what was purged that the rail should be asked about now."""
        now = self._clock()
        return await self._db.run(
            "due_purged", lambda tx: lapsed.take_due(tx, now, LATE_PAUSE, BATCH)
        )


async def _all(some: Callable[[], Awaitable[int]]) -> int:
    """Do this, a batch at a time, until less than a batch is left; return how many it was."""
    done = 0
    for _ in range(MOST_BATCHES):
        count = await some()
        done += count
        if count < BATCH:
            break
    return done
