"""What dead workers left is taken over, what was lost is promised again, old notes are purged."""

from datetime import datetime, timedelta
from functools import partial

import structlog

from app import advance
from app.advance import Shell
from app.ports import Clock
from db import conversations, failures, idempotency, jobs, rate_limits, webhooks
from db.engine import Database, Tx
from db.promises import Outbox

BATCH = 100
AFTER = timedelta(minutes=2)  # a promise that is neither waiting nor being kept is lost

log = structlog.get_logger("boltwork.loops")


class Recovery:
    """Brings forward what nobody would any more."""

    def __init__(
        self, db: Database, outbox: Outbox, shell: Shell, clock: Clock, dead_after_s: int
    ) -> None:
        self._db, self._outbox, self._shell, self._clock = db, outbox, shell, clock
        self._dead_after_s = dead_after_s  # without a sign of life from a worker

    async def turn(self) -> None:
        """Take over what dead workers left, and promise again what was lost altogether."""
        rescued = await self._outbox.rescue(self._dead_after_s)
        if rescued:
            log.warning("promises_rescued", count=rescued)
        now = self._clock()
        for job_id in await jobs.idle(self._db, now - AFTER, BATCH):
            if not await advance.jobs.is_promised(self._outbox, job_id):
                await self._shell.do(advance.jobs.recover, job_id)
        for receiver in await webhooks.forgotten(self._db, now - AFTER, BATCH):
            log.warning("notices_forgotten")
            await self._shell.do(advance.notices.recover, receiver)
        await self._db.run("purge_keys", partial(_purge, now))


async def _purge(now: datetime, tx: Tx) -> None:
    await idempotency.purge(tx, now)
    await rate_limits.purge(tx, now)
    await conversations.purge(tx, now)
    await failures.purge(tx, now)
    await webhooks.purge(tx, now - advance.notices.KEPT, BATCH)
