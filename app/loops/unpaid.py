"""What nobody paid for is purged a day after it lapsed, a batch at a time; late money is not lost.

A slim row of each invoice stays for a week: the rail is asked about it, and a payment is owed back.
It goes when the rail, asked after that week, knows of no payment: whoever was not there to ask, as
all was switched off or the rail was away, asks first.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

import structlog

from app import advance
from app.advance import Shell
from app.ports import Clock
from db import connect_requests, forgetting, lapsed, people
from db.engine import Database
from statemachine.connect import ConnectKind

log = structlog.get_logger("boltwork.unpaid")

KEPT = timedelta(days=1)  # after its invoice lapsed
BATCH = 100
MOST_BATCHES = 50  # in one turn: the rest is for the next
LATE_PAUSE = timedelta(hours=6)  # between two questions about one that was purged
FORGET = timedelta(days=7)  # after its expiry it is asked about for the last time
UNANSWERED = timedelta(days=60)  # after it nobody asks any more: a rail that never answers is gone
BATCHES = 20  # at once, of up to 500 items each
ITEMS = 500  # at once, and so many more as the last of their batches has
UNUSED = timedelta(days=8)  # since a login: then the last one has expired
UNUSED_NAME = timedelta(days=90)  # likewise, where somebody may remember a name and a password
ROUND = timedelta(hours=1)  # between two looks at all accounts


class Unpaid:
    """Purges, and remembers what a late payment needs."""

    def __init__(
        self,
        db: Database,
        shell: Shell,
        clock: Clock,
        files_kept: timedelta,
        asked_kept: timedelta,
    ) -> None:
        self._db, self._shell, self._clock = db, shell, clock
        self._files_kept, self._asked_kept = files_kept, asked_kept
        self._after, self._again_at = "", clock()  # how far accounts were looked at; and when next

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
        await self._connects(now)
        await self._ended(now)
        slim = partial(
            lapsed.forget, before=now - FORGET, long_before=now - UNANSWERED, limit=BATCH
        )
        await _all(lambda: self._db.run("forget_unpaid", slim))
        await self._db.run("forget_logins", partial(people.forget, now=now))
        await self._accounts(now)
        if purged:
            log.info("unpaid_purged", count=purged)

    async def _ended(self, now: datetime) -> None:
        """Forget who has made what was delivered, and later what was asked for."""
        ended = now - self._files_kept - KEPT
        leases = partial(lapsed.purge_leases, before=ended, now=now, limit=BATCHES)
        await _all(lambda: self._db.run("purge_leases", leases), BATCHES)
        before = min(ended, now - self._asked_kept)
        asked = partial(forgetting.forget, ended=before, now=now, most=ITEMS)
        await _all(lambda: self._db.run("forget_asked", asked), 1)

    async def _connects(self, now: datetime) -> None:
        """Lapse requests over Lightning to connect a wallet, and purge those that were never paid.

        Those on a chain lapse as that is read.
        """
        if await connect_requests.is_due(self._db, ConnectKind.LIGHTNING, None, now):
            kind = ConnectKind.LIGHTNING
            await self._shell.do(advance.connecting.lapse, kind, None, now, BATCH)
        requests = partial(
            lapsed.purge_requests, before=now - KEPT, long_before=now - FORGET - KEPT, limit=BATCH
        )
        await _all(lambda: self._db.run("purge_requests", requests))

    async def _accounts(self, now: datetime) -> None:
        """Forget some accounts that never had a thing: all are looked at, a few at a turn."""
        if now < self._again_at:
            return
        ids = await people.idle(self._db, self._after, now - UNUSED, BATCH)
        old = set(await people.idle(self._db, self._after, now - UNUSED_NAME, BATCH))
        for passwords, these in ((False, [i for i in ids if i not in old]), (True, sorted(old))):
            forget = partial(people.forget_unused, ids=these, passwords=passwords)
            if these:
                await self._db.run("forget_accounts", forget)
        self._after = ids[-1] if len(ids) == BATCH else ""
        if not self._after:
            self._again_at = now + ROUND

    async def due(self) -> dict[str, bool]:
        """Return payment hashes of what was purged that the rail should be asked about now, and
        whether it is for the last time.
        """
        now = self._clock()
        due = await self._db.run(
            "due_purged", lambda tx: lapsed.take_due(tx, now, LATE_PAUSE, BATCH)
        )
        return {name: expired_at < now - FORGET for name, expired_at in due.items()}

    async def never_paid(self, payment_hash: str) -> None:
        """Forget one that the rail knows no payment of, when it was asked for the last time."""
        await self._db.run("never_paid", lambda tx: lapsed.never_paid(tx, payment_hash))


async def _all(some: Callable[[], Awaitable[int]], most: int = BATCH) -> int:
    """Do this, a batch at a time, until less than a batch is left; return how many it was."""
    done = 0
    for _ in range(MOST_BATCHES):
        count = await some()
        done += count
        if count < most:
            break
    return done
