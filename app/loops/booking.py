"""A payment to an invoice of ours is booked, whoever heard of it: the rail's channel, the sweep, a
poll. The rail is asked about one invoice at a time.
"""

import asyncio

from app import advance
from app.advance import Shell
from app.operator.receiving import Receiving
from db import invoices, lapsed
from db.engine import Database
from payments.rail import Rail, Settled, Unknown

NUDGE_PAUSE_S = 2.0
MOST_NUDGED = 10_000


class Booking:
    """Asks the rail about invoices, and tells the shell of what was paid."""

    def __init__(self, db: Database, shell: Shell, rail: Rail, receiving: Receiving) -> None:
        self._db, self._shell, self._rail, self._receiving = db, shell, rail, receiving
        self._nudged: dict[str, float] = {}

    async def settle(self, settled: Settled) -> None:
        """Book a payment to an invoice of ours; any other payment is ignored."""
        await self.book(settled, waits=True)

    async def book(self, settled: Settled, waits: bool) -> bool:
        """Do that. Where another is booking it just now, wait for the end of that or say False."""
        row = await invoices.by_hash(self._db, settled.payment_hash)
        if row is None:
            await self._book_purged(settled)
            return True
        if row.settled_at is not None:
            return True
        if not await self._shell.do(advance.invoices.book, row.id, settled, waits):
            return False
        self._receiving.paid(row.wallet)
        return True

    async def _book_purged(self, settled: Settled) -> None:
        kept = await lapsed.find(self._db, settled.payment_hash)
        if kept is not None:
            await self._shell.do(advance.purging.settle, kept.payment_hash, settled)
            self._receiving.paid(kept.wallet)

    async def look_up(self, payment_hash: str) -> bool:
        """Ask the rail about one invoice of ours; True when it answered that nobody has paid."""
        row = await invoices.by_hash(self._db, payment_hash)
        kept = await lapsed.find(self._db, payment_hash) if row is None else None
        wallet = row.wallet if row is not None else kept.wallet if kept is not None else None
        outcome = await self._rail.look_up_invoice(payment_hash, wallet)
        if isinstance(outcome, Settled):
            await self.settle(outcome)
            return False
        return not isinstance(outcome, Unknown)

    async def nudge(self, payment_hash: str) -> None:
        """Ask about an invoice that somebody polls for, while the rail can't tell by itself."""
        loop_s = asyncio.get_running_loop().time()
        asked_s = self._nudged.get(payment_hash, -NUDGE_PAUSE_S)
        if self._rail.push_is_up or loop_s - asked_s < NUDGE_PAUSE_S:
            return
        if len(self._nudged) > MOST_NUDGED:
            self._nudged.clear()
        self._nudged[payment_hash] = loop_s
        await self.look_up(payment_hash)
