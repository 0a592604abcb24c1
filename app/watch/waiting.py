"""How a poll waits: for a change that is heard of, and for the rail where it must be asked."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic

from db import jobs, sessions
from db.engine import Database, Row
from db.signals import Signals
from payments.rail import Rail
from statemachine.invoice import InvoiceState
from statemachine.job import JOB, JobState
from statemachine.owner import Purpose
from statemachine.session import SessionState

TO_PAY = {
    Purpose.EVAL: JobState.AWAITING_EVAL_PAYMENT,
    Purpose.WORK: JobState.AWAITING_WORK_PAYMENT,
}
LOOK_UP_PATIENCE_S = 1.0  # how long a poll waits for the rail, before it answers what is known


async def with_patience(asking: Awaitable[object]) -> None:
    """Wait for the rail a moment; it is heard to its end whether anybody waits or not."""
    await asyncio.wait({asyncio.ensure_future(asking)}, timeout=LOOK_UP_PATIENCE_S)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waits for jobs and sessions, for whoever holds a poll open."""

    db: Database
    signals: Signals
    rail: Rail
    nudge: Callable[[str], Awaitable[None]]  # asks the rail about an invoice by its hash

    async def for_end(self, job_id: str, wait_s: float) -> Row | None:
        """Return the job's view when it has come to its end, or when time is over."""
        row = await jobs.view(self.db, job_id)
        return row and await self._until(row, wait_s, lambda _: False)

    async def for_turn(self, row: Row, wait_s: float) -> Row:
        """Return the job's view when its buyer has something else to do than when it was `row`
        (another invoice to pay, or nothing any more), or when time is over.
        """
        before = _to_pay(row)
        return await self._until(row, wait_s, lambda now: _to_pay(now) not in (None, before))

    async def _until(self, row: Row, wait_s: float, holds: Callable[[Row], bool]) -> Row:
        until = monotonic() + wait_s
        while not (JOB.final(row.state) or holds(row)):
            left_s = until - monotonic()
            if left_s <= 0 or self.signals.released:
                break
            row = await self.for_change(row.id, row.version, left_s) or row
        return row

    async def nudged(self, row: Row) -> Row:
        """Return the job's view after asking the rail, where the rail can't tell by itself."""
        for purpose in (Purpose.EVAL, Purpose.WORK):
            if row[f"{purpose}_state"] == InvoiceState.OPEN and not self.rail.push_is_up:
                await with_patience(self.nudge(row[f"{purpose}_hash"]))
                return await jobs.view(self.db, row.id) or row
        return row

    async def nudge_invoices(self, rows: list[Row]) -> None:
        """Ask about these invoices, where the rail can't tell of their payment by itself."""
        for row in rows:
            if row.state == InvoiceState.OPEN and not self.rail.push_is_up:
                await with_patience(self.nudge(row.payment_hash))

    async def while_unpaid(self, session_id: str, wait_s: float) -> Row | None:
        """Return a session as soon as its deposit is paid, or when time is over."""
        until = monotonic() + wait_s
        changed, stop = self.signals.watch(session_id)
        try:
            while True:
                changed.clear()
                await self.nudge_invoices(await sessions.open_invoices(self.db, session_id))
                row = await sessions.get(self.db, session_id)
                left_s = until - monotonic()
                waits = row is not None and row.state == SessionState.AWAITING_PAYMENT
                if not waits or left_s <= 0 or self.signals.released:
                    return row
                await self.signals.wait(changed, self._pause_s(left_s))
        finally:
            stop()

    async def for_change(self, job_id: str, version: int, wait_s: float) -> Row | None:
        """Return the job's view as soon as it is another than `version`, or when time is over."""
        until = monotonic() + wait_s
        changed, stop = self.signals.watch(job_id)
        try:
            while True:
                changed.clear()
                row = await jobs.view(self.db, job_id)
                if row is None or row.version != version:
                    return row
                row = await self.nudged(row)
                left_s = until - monotonic()
                if left_s <= 0 or row.version != version or self.signals.released:
                    return row
                await self.signals.wait(changed, self._pause_s(left_s))
        finally:
            stop()

    def _pause_s(self, left_s: float) -> float:
        """Woken by the change; now and then by the clock, if the rail must be asked."""
        return left_s if self.rail.push_is_up else min(left_s, 2.0)


def _to_pay(row: Row) -> str | None:
    """Return which invoice a job's buyer may pay now; None while there is none."""
    for purpose, state in TO_PAY.items():
        if row.state == state and row[f"{purpose}_state"] == InvoiceState.OPEN:
            return purpose
    return None
