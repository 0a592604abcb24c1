"""Invoices are asked about in their turn: the net below what the rail tells by itself."""

from datetime import timedelta

from app.loops.booking import Booking
from app.loops.hearing import Hearing
from app.loops.unpaid import Unpaid
from app.ports import Clock
from db import invoices
from db.engine import Database, DatabaseAway
from payments.rail import Rail

BATCH = 100
OPEN_WATCH_S = 600  # longest pause while it can be paid and the rail tells by itself
LATE_WATCH_S = 6 * 3600  # longest pause between two questions about an unpaid invoice
FORGET = timedelta(days=7)


class Sweep:
    """Asks the rail about invoices that are due."""

    def __init__(
        self,
        db: Database,
        rail: Rail,
        booking: Booking,
        hearing: Hearing,
        unpaid: Unpaid,
        clock: Clock,
        sweep_s: int,
    ) -> None:
        self._db, self._rail, self._booking = db, rail, booking
        self._hearing, self._unpaid = hearing, unpaid
        self._clock, self._sweep_s = clock, sweep_s
        # Invoices whose turn has come, and was not had yet; and whether it is the last one.
        self._due: dict[str, bool] = {}

    @property
    def pause_s(self) -> float:
        """The pause between two looks for invoices that are due."""
        return min(1.0, self._sweep_s / 4)

    async def turn(self) -> None:
        """Ask the rail about invoices that are due, and book what it reported before."""
        await self._hearing.book_kept()
        now, sweep_s = self._clock(), self._sweep_s
        # While the rail tells of payments by itself, asking is only the net below it.
        most_open_s = OPEN_WATCH_S if self._rail.push_is_up else sweep_s
        # No later than `sweep_s` after it was asked about last, wherever this turn falls.
        ahead = timedelta(seconds=self.pause_s)
        pace = invoices.Pace(sweep_s, max(sweep_s, most_open_s), LATE_WATCH_S, FORGET, ahead)
        due = await self._db.run(
            "due_invoices", lambda tx: invoices.take_due(tx, now, pace, BATCH), alone=True
        )
        # Their next turn may be minutes away: who does not have this one now has it soon.
        self._due |= dict.fromkeys(due, False)
        self._due |= await self._unpaid.due()
        while self._due:  # a review may be asking at the same time
            payment_hash = next(iter(self._due))
            is_last = self._due.pop(payment_hash)
            try:
                if await self._booking.look_up(payment_hash) and is_last:
                    await self._unpaid.never_paid(payment_hash)
            except DatabaseAway:
                self._due[payment_hash] = is_last
                raise
