"""How a poll waits: for a change that is heard of, and for the rail where it must be asked."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic

from db import batches, invoices, jobs, sessions, user_balances
from db.batches import Mark
from db.engine import Database
from db.invoices import InvoiceRow
from db.jobs import JobView
from db.sessions import SessionView
from db.signals import Signals
from payments.rail import Rail
from statemachine.batch import BatchState, invoice_id
from statemachine.session import SessionState

LOOKS_AGAIN_S = 1.0  # at a batch that is being made: that one item has ended is told to nobody
MOST_ASKED = 5  # deposits that the rail is asked about by one poll
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

    @property
    def is_pushed(self) -> bool:
        """Whether the rail reports payments by itself, so that a poll needn't ask it."""
        return self.rail.push_is_up

    @property
    def is_released(self) -> bool:
        """Whether the process ends, so that nobody waits any more."""
        return self.signals.released

    async def for_end(self, job_id: str, wait_s: float) -> JobView | None:
        """Return the job's view when it has come to its end, or when time is over."""
        until = monotonic() + wait_s
        changed, stop = self.signals.watch(job_id)
        try:
            while True:
                changed.clear()
                row = await jobs.view(self.db, job_id)
                left_s = until - monotonic()
                if row is None or row.is_final or left_s <= 0 or self.signals.released:
                    return row
                row = await self.nudged(row)
                if not row.is_final:
                    await self.signals.wait(changed, self._pause_s(until - monotonic()))
        finally:
            stop()

    async def for_turn(self, row: JobView, wait_s: float) -> JobView:
        """Return the job's view when its buyer has something else to do than when it was `row`
        (another invoice to pay, or nothing any more), or when time is over.
        """
        before, until = row.pays_for, monotonic() + wait_s
        while not (row.is_final or row.pays_for not in (None, before)):
            left_s = until - monotonic()
            if left_s <= 0 or self.signals.released:
                break
            row = await self.for_change(row.id, row.version, left_s) or row
        return row

    async def nudged(self, row: JobView) -> JobView:
        """Return the job's view after asking the rail, where the rail can't tell by itself."""
        if row.to_pay is None or self.rail.push_is_up:
            return row
        await with_patience(self.nudge(row.to_pay.payment_hash))
        return await jobs.view(self.db, row.id) or row

    async def nudge_invoices(self, rows: list[InvoiceRow]) -> None:
        """Ask about these invoices, where the rail can't tell of their payment by itself."""
        for row in rows:
            if row.to_pay is not None and not self.rail.push_is_up:
                await with_patience(self.nudge(row.to_pay.payment_hash))

    async def while_unpaid(self, session_id: str, wait_s: float) -> SessionView | None:
        """Return a session as soon as its deposit is paid, or when time is over."""
        until = monotonic() + wait_s
        changed, stop = self.signals.watch(session_id)
        try:
            while True:
                changed.clear()
                await self.nudge_invoices(await sessions.open_invoices(self.db, session_id))
                row = await sessions.get(self.db, session_id)
                left_s = until - monotonic()
                waits = row is not None and row.state is SessionState.AWAITING_PAYMENT
                if not waits or left_s <= 0 or self.signals.released:
                    return row
                await self.signals.wait(changed, self._pause_s(left_s))
        finally:
            stop()

    async def for_payment(
        self, account_id: str, is_paid: Callable[[], Awaitable[bool]], wait_s: float
    ) -> None:
        """Return as soon as a payment to an account is booked, or when time is over."""
        until = monotonic() + wait_s
        changed, stop = self.signals.watch(account_id)
        try:
            while True:
                changed.clear()
                await self.nudge_invoices(
                    await user_balances.open_deposits(self.db, account_id, MOST_ASKED)
                )
                left_s = until - monotonic()
                if await is_paid() or left_s <= 0 or self.signals.released:
                    return
                await self.signals.wait(changed, self._pause_s(left_s))
        finally:
            stop()

    async def for_change(self, job_id: str, version: int, wait_s: float) -> JobView | None:
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

    async def for_mark(
        self, batch_id: str, is_seen: Callable[[Mark], bool], wait_s: float
    ) -> Mark | None:
        """Return a batch's mark as soon as it is one that its caller has not seen, or when time is
        over."""
        until = monotonic() + wait_s
        changed, stop = self.signals.watch(batch_id)
        try:
            while True:
                changed.clear()
                mark = await self.batch_mark(batch_id)
                left_s = until - monotonic()
                if mark is None or not is_seen(mark) or left_s <= 0 or self.signals.released:
                    return mark
                often = mark.state in (BatchState.QUEUED, BatchState.PROCESSING)
                pause_s = min(left_s, LOOKS_AGAIN_S) if often else self._pause_s(left_s)
                await self.signals.wait(changed, pause_s)
        finally:
            stop()

    async def batch_mark(self, batch_id: str) -> Mark | None:
        """Return a batch's mark, after asking the rail where that can't tell by itself."""
        mark = await batches.mark(self.db, batch_id)
        if mark is None or mark.state is not BatchState.AWAITING_PAYMENT or self.rail.push_is_up:
            return mark
        row = await invoices.get(self.db, invoice_id(batch_id))
        if row is None or row.to_pay is None:
            return mark
        await with_patience(self.nudge(row.to_pay.payment_hash))
        return await batches.mark(self.db, batch_id)

    def _pause_s(self, left_s: float) -> float:
        """Woken by the change; now and then by the clock, if the rail must be asked."""
        return left_s if self.rail.push_is_up else min(left_s, 2.0)
