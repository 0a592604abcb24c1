"""What dead workers left is taken over, what was lost is promised again, old notes are purged."""

from datetime import datetime, timedelta
from functools import partial

import structlog

from app import advance
from app.parts import Parts
from db import conversations, failures, idempotency, jobs, rate_limits
from db.engine import Tx

BATCH = 100
AFTER = timedelta(minutes=2)  # a promise that is neither waiting nor being kept is lost

log = structlog.get_logger("boltwork.loops")


class Recovery:
    """Brings forward what nobody would any more."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def turn(self) -> None:
        """Take over what dead workers left, and promise again what was lost altogether."""
        parts = self._parts
        rescued = await parts.outbox.rescue(parts.settings.worker_dead_after_s)
        if rescued:
            log.warning("promises_rescued", count=rescued)
        now = parts.clock()
        for job_id in await jobs.idle(parts.db, now - AFTER, BATCH):
            if not await advance.jobs.is_promised(parts.outbox, job_id):
                await parts.shell.do(advance.jobs.recover, job_id)
        await parts.db.run("purge_keys", partial(_purge, now))


async def _purge(now: datetime, tx: Tx) -> None:
    await idempotency.purge(tx, now)
    await rate_limits.purge(tx, now)
    await conversations.purge(tx, now)
    await failures.purge(tx, now)
