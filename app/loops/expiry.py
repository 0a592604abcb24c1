"""What has had its time comes to its end: unpaid invoices lapse, sessions that were left alone are
closed, and holds of callers who died are let go.
"""

from datetime import datetime, timedelta

from app import advance
from app.loops.booking import Booking
from app.parts import Parts
from db import holds, invoices, sessions

BATCH = 100
UNTOLD_PAUSE = timedelta(minutes=1)  # between two questions about what the rail does not say
UNTOLD_PATIENCE = timedelta(hours=1)
GRACE = timedelta(seconds=5)  # a payment made in the last second is still on its way


class Expiry:
    """Ends what is over."""

    def __init__(self, parts: Parts, booking: Booking) -> None:
        self._parts, self._booking = parts, booking
        self._untold: dict[str, datetime] = {}  # invoices the rail would not speak of, and when

    async def turn(self) -> None:
        """Let invoices lapse, then end idle sessions, then let go of what nobody holds."""
        parts, now = self._parts, self._parts.clock()
        await self._lapse(now)
        for session_id in await sessions.idle(parts.db, now, BATCH):
            await parts.shell.do(advance.sessions.idle, session_id)
        for hold_id in await holds.due(parts.db, now, BATCH):
            await parts.shell.do(advance.holds.let_go, hold_id)

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
        for row in await invoices.lapsed(self._parts.db, now - GRACE, skipped, BATCH):
            payment_hash = row["payment_hash"]
            unpaid = not payment_hash or await self._booking.look_up(payment_hash)
            if not unpaid and now < row["expires_at"] + UNTOLD_PATIENCE:
                self._untold[row["id"]] = now  # paid after all, or the rail does not say
                continue
            await self._parts.shell.do(advance.invoices.lapse, row["id"])
