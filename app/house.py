"""What handlers do together: look whether work can be sold, wait for a change."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from time import monotonic
from typing import Any

from app.loops.readiness import Readiness
from app.loops.turns import Loops
from app.parts import Parts
from app.promises.keeping import Keeper
from app.refusal import Refusal, Why, unavailable
from app.till import Till
from app.watch.remembered import Remembered
from app.watch.streams import Streams
from db import failures, jobs, sessions
from db.engine import Row
from statemachine.invoice import InvoiceState
from statemachine.job import JOB, JobState
from statemachine.owner import Purpose
from statemachine.session import SessionState

TO_PAY = {
    Purpose.EVAL: JobState.AWAITING_EVAL_PAYMENT,
    Purpose.WORK: JobState.AWAITING_WORK_PAYMENT,
}
NEEDED = (
    ("agents", Why.NO_AGENT, "No agent is available"),
    ("price", Why.NO_PRICE, "There is no bitcoin price"),
)  # parts without which nothing can be done that is paid for
UNDOABLE_S = 15  # when to come back at the earliest, while nothing is sold
FAILURES_A_FREE_ONE = 10  # failures of one payer on a day, for each that is free, before he waits
LOOK_UP_PATIENCE_S = 1.0  # how long a poll waits for the rail, before it answers what is known


@dataclass(frozen=True, slots=True)
class House:
    """The parts, with what keeps their promises: what a handler is given."""

    parts: Parts
    keeper: Keeper
    loops: Loops
    streams: Streams
    remembered: Remembered = field(default_factory=Remembered)
    unfinished: set[asyncio.Task[object]] = field(default_factory=set)

    @property
    def till(self) -> Till:
        """What everything costs."""
        return self.parts.till

    @property
    def readiness(self) -> Readiness:
        """What this process has seen lately of its parts."""
        return self.loops.readiness

    def check_can_be_done(self) -> None:
        """Refuse with 503 while what is bought could not be done: nobody shall pay for it."""
        for part, why, what in NEEDED:
            seen = self.readiness.last_seen(part)
            if seen is not None and seen.trouble is not None:
                raise unavailable(
                    why,
                    f"{what} just now, so nothing can be bought. Nothing was charged.",
                    self.readiness.retry_after_s(part, least_s=UNDOABLE_S),
                )

    async def check_welcome(self, payer: str | None) -> None:
        """Refuse with 429 a payer too many of whose requests have failed today at our cost."""
        if payer is None:
            return
        now, free = self.parts.clock(), self.parts.settings.free_failures_per_day
        failed = await failures.of_payer(self.parts.db, payer, now.date())
        if failed <= FAILURES_A_FREE_ONE * max(1, free):
            return
        tomorrow = datetime.combine(now.date() + timedelta(days=1), time(), now.tzinfo)
        raise Refusal(
            Why.TOO_MANY_FAILURES,
            f"Of your requests {failed} have failed today. Nothing was charged for this one.",
            "Come back tomorrow (UTC).",
            {"Retry-After": str(max(1, int((tomorrow - now).total_seconds())))},
        )

    async def finish(self, work: Coroutine[Any, Any, object]) -> None:
        """Do this to its end, even if whoever waits for it is cancelled meanwhile."""
        task = asyncio.create_task(work)
        self.unfinished.add(task)
        task.add_done_callback(self.unfinished.discard)
        await asyncio.shield(task)

    async def wait_for_end(self, job_id: str, wait_s: float) -> Row | None:
        """Return the job's view when it has come to its end, or when time is over."""
        row = await jobs.view(self.parts.db, job_id)
        return row and await self._wait_until(row, wait_s, lambda _: False)

    async def wait_for_turn(self, row: Row, wait_s: float) -> Row:
        """Return the job's view when its buyer has something else to do than when it was `row`
        (another invoice to pay, or nothing any more), or when time is over.
        """
        before = _to_pay(row)
        return await self._wait_until(row, wait_s, lambda now: _to_pay(now) not in (None, before))

    async def _wait_until(self, row: Row, wait_s: float, holds: Callable[[Row], bool]) -> Row:
        until = monotonic() + wait_s
        while not (JOB.final(JobState(row["state"])) or holds(row)):
            left_s = until - monotonic()
            if left_s <= 0 or self.parts.signals.released:
                break
            row = await self.wait_for_change(row["id"], row["version"], left_s) or row
        return row

    async def nudged(self, row: Row) -> Row:
        """Return the job's view after asking the rail, where the rail can't tell by itself."""
        for purpose in (Purpose.EVAL, Purpose.WORK):
            if row[f"{purpose}_state"] == InvoiceState.OPEN and not self.parts.rail.push_is_up:
                asking = asyncio.ensure_future(self.loops.booking.nudge(row[f"{purpose}_hash"]))
                await asyncio.wait({asking}, timeout=LOOK_UP_PATIENCE_S)
                return await jobs.view(self.parts.db, row["id"]) or row
        return row

    async def nudge_invoices(self, rows: list[Row]) -> None:
        """Ask about these invoices, where the rail can't tell of their payment by itself."""
        for row in rows:
            if row["state"] == InvoiceState.OPEN and not self.parts.rail.push_is_up:
                asking = asyncio.ensure_future(self.loops.booking.nudge(row["payment_hash"]))
                await asyncio.wait({asking}, timeout=LOOK_UP_PATIENCE_S)

    async def wait_while_unpaid(self, session_id: str, wait_s: float) -> Row | None:
        """Return a session as soon as its deposit is paid, or when time is over."""
        db, signals = self.parts.db, self.parts.signals
        until = monotonic() + wait_s
        changed, stop = signals.watch(session_id)
        try:
            while True:
                changed.clear()
                await self.nudge_invoices(await sessions.open_invoices(db, session_id))
                row = await sessions.get(db, session_id)
                left_s = until - monotonic()
                waits = row is not None and row["state"] == SessionState.AWAITING_PAYMENT
                if not waits or left_s <= 0 or signals.released:
                    return row
                pause_s = left_s if self.parts.rail.push_is_up else min(left_s, 2.0)
                await signals.wait(changed, pause_s)
        finally:
            stop()

    async def wait_for_change(self, job_id: str, version: int, wait_s: float) -> Row | None:
        """Return the job's view as soon as it is another than `version`, or when time is over."""
        db, signals = self.parts.db, self.parts.signals
        until = monotonic() + wait_s
        changed, stop = signals.watch(job_id)
        try:
            while True:
                changed.clear()
                row = await jobs.view(db, job_id)
                if row is None or row["version"] != version:
                    return row
                row = await self.nudged(row)
                left_s = until - monotonic()
                if left_s <= 0 or row["version"] != version or signals.released:
                    return row
                # Woken by the change; now and then by the clock, if the rail must be asked.
                pause_s = left_s if self.parts.rail.push_is_up else min(left_s, 2.0)
                await signals.wait(changed, pause_s)
        finally:
            stop()


def _to_pay(row: Row) -> str | None:
    """Return which invoice a job's buyer may pay now; None while there is none."""
    for purpose, state in TO_PAY.items():
        if row["state"] == state and row[f"{purpose}_state"] == InvoiceState.OPEN:
            return purpose
    return None
