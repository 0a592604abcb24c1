"""The rail's channel is heard for ever. It tells of a payment once, so what can't be booked now is
kept, and booked at the next sweep.
"""

import asyncio

import structlog

from app.loops.booking import Booking
from app.ports import Clock
from db import invoices
from db.engine import Database, DatabaseAway
from db.going import goes_on
from payments.rail import Rail, Settled

HEARS = 4  # payments that are booked at once, as the rail tells of them

log = structlog.get_logger("boltwork.loops")


class Hearing:
    """Books payments as the rail tells of them."""

    def __init__(self, db: Database, rail: Rail, booking: Booking, clock: Clock) -> None:
        self._db, self._rail, self._booking, self._clock = db, rail, booking, clock
        # Told by the rail while the database was away: a payment by its hash, "" for a gap.
        self._unbooked: dict[str, Settled | None] = {}

    async def run(self) -> None:
        """Hear for as long as the process goes on."""
        room = asyncio.Semaphore(HEARS)
        while goes_on():
            try:
                async with asyncio.TaskGroup() as group:
                    async for push in self._rail.pushes():
                        await room.acquire()
                        booking = group.create_task(self._heard_or_kept(push))
                        booking.add_done_callback(lambda _: room.release())
            except Exception as error:
                log.error("loop_turn_failed", loop="hear", error=type(error).__name__)
            await asyncio.sleep(1.0)

    async def heard(self, push: Settled | None) -> bool:
        """Take what the rail's channel tells: a payment, or that it was away until now.

        False: another process is booking this payment, and may still fail to.
        """
        if push is None:
            await self._ask_all()
            return True
        return await self._booking.book(push, waits=False)

    async def book_kept(self) -> None:
        """Book the payments that were reported before, and could not be booked then."""
        unbooked, self._unbooked = self._unbooked, {}
        for push in unbooked.values():
            await self._heard_or_kept(push)

    async def _heard_or_kept(self, push: Settled | None) -> None:
        name = "" if push is None else push.payment_hash
        try:
            if not await self.heard(push):
                self._unbooked[name] = push
        except DatabaseAway:
            self._unbooked[name] = push
            log.warning("push_kept")
        except Exception as error:
            log.error("push_failed", error=type(error).__name__)

    async def _ask_all(self) -> None:
        """Ask about every open invoice soon: the channel was away, and replays nothing."""
        now = self._clock()
        await self._db.run("ask_all", lambda tx: invoices.ask_all(tx, now))
