"""What has had its time comes to its end: unpaid invoices lapse, sessions that were left alone are
closed, and holds of callers who died are let go.
"""

from datetime import datetime, timedelta

from app import advance
from app.advance import Shell
from app.loops.booking import Booking
from app.ports import Clock
from db import holds, invoices, sessions
from db.engine import Database

BATCH = 100
UNTOLD_PAUSE = timedelta(minutes=1)  # between two questions about what the rail does not say
UNTOLD_PATIENCE = timedelta(hours=1)
GRACE = timedelta(seconds=5)  # a payment made in the last second is still on its way


class Expiry:
    """Ends what is over."""

    def __init__(self, db: Database, shell: Shell, booking: Booking, clock: Clock) -> None:
        self._db, self._shell, self._booking, self._clock = db, shell, booking, clock
        self._untold: dict[str, datetime] = {}  # invoices the rail would not speak of, and when

    async def turn(self) -> None:
        """Let invoices lapse, then end idle sessions, then let go of what nobody holds."""
        now = self._clock()
        await self._lapse(now)
        for session_id in await sessions.idle(self._db, now, BATCH):
            await self._shell.do(advance.sessions.idle, session_id)
        for hold_id in await holds.due(self._db, now, BATCH):
            await self._shell.do(advance.holds.let_go, hold_id)

    async def _lapse(self, now: datetime) -> None:
        """Let invoices lapse whose time is over, after asking the rail one last time.

        Where it does not say, it is asked again for an hour: LNbits tells of an expired invoice
        never more than that. Money that turns up after that is owed back.
        """
        self._untold = {
            invoice_id: at
            for invoice_id, at in self._untold.items()
            if timedelta(0) <= now - at < UNTOLD_PAUSE
        }
        skipped = list(self._untold)
        for row in await invoices.lapsed(self._db, now - GRACE, skipped, BATCH):
            payment_hash = row.payment_hash
            unpaid = not payment_hash or await self._booking.look_up(payment_hash)
            if not unpaid and now < row.expires_at + UNTOLD_PATIENCE:
                self._untold[row.id] = now  # paid after all, or the rail does not say
                continue
            await self._shell.do(advance.invoices.lapse, row.id)
