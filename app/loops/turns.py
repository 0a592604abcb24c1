"""Background coroutines of a process: hear of payments, ask about open ones, expire, recover.

Each turn of a loop survives whatever it meets: what could not be done is done at a later turn.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import structlog

from app import advance
from app.loops.readiness import PARTS, TURN_S, Readiness
from app.loops.unpaid import Unpaid
from app.operator.books import Books
from app.operator.receiving import Receiving
from app.parts import Parts
from app.promises.keeping import Keeper
from db import (
    conversations,
    failures,
    holds,
    idempotency,
    invoices,
    jobs,
    lapsed,
    payouts,
    rate_limits,
    sessions,
    switches,
)
from db.engine import DatabaseAway, Tx
from db.going import goes_on
from db.promises import TryAgain
from payments.rail import Settled, Unknown

log = structlog.get_logger("boltwork.loops")

BATCH = 100
HEARS = 4  # payments that are booked at once, as the rail tells of them
REVIEW_S = 600.0  # how long a review of the books may take
OPEN_WATCH_S = 600  # longest pause while it can be paid and the rail tells by itself
NUDGE_PAUSE_S = 2.0
FORGET = timedelta(days=7)
LATE_WATCH_S = 6 * 3600  # longest pause between two questions about an unpaid invoice
PAYOUT_PAUSE_S = 300
RECOVER_AFTER = timedelta(minutes=2)  # a promise that is neither waiting nor being kept is lost
UNTOLD_PAUSE = timedelta(minutes=1)  # between two questions about what the rail does not say
UNTOLD_PATIENCE = timedelta(hours=1)
EXPIRY_GRACE = timedelta(seconds=5)  # a payment made in the last second is still on its way


class Loops:
    """What the server does by itself, so that no job waits for somebody's poll."""

    def __init__(self, parts: Parts, keeper: Keeper) -> None:
        self._parts, self._keeper = parts, keeper
        self.receiving = Receiving(parts)
        self.unpaid = Unpaid(parts)
        self.switches = dict.fromkeys(switches.Name, True)  # as they were seen last
        self.books = Books(parts, self.receiving)
        self.readiness = Readiness(parts)
        self._nudged: dict[str, float] = {}
        # Told by the rail while the database was away: a payment by its hash, "" for a gap.
        self._unbooked: dict[str, Settled | None] = {}
        self._due: dict[str, None] = {}  # invoices whose turn has come, and was not had yet
        self._untold: dict[str, datetime] = {}  # invoices the rail would not speak of, and when

    async def run(self) -> None:
        """Run every loop until cancelled."""
        settings = self._parts.settings
        sweep_s, health_s = float(settings.sweep_s), float(settings.health_s)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear())
            for name, pause_s, turn in (
                ("expire", 1.0, self.expire),
                ("ask_invoices", _turn_s(sweep_s), self.ask_invoices),
                ("ask_payouts", min(5.0, sweep_s), self.ask_payouts),
                ("recover", sweep_s, self.recover),
                ("purge", sweep_s, self.unpaid.turn),
                ("switches", 1.0, self.look_at_switches),
                ("receive", sweep_s, self.receiving.turn),
            ):
                group.create_task(self._every(name, pause_s, turn))
            for part in PARTS:
                look = partial(self.readiness.look, part)
                group.create_task(self._every(f"look at {part}", health_s, look))
            if settings.reconcile_s:
                pause_s = float(settings.reconcile_s)
                turns = self._every("reconcile", pause_s, self.books.turn, REVIEW_S)
                group.create_task(turns)

    async def _every(
        self,
        name: str,
        pause_s: float,
        turn: Callable[[], Awaitable[None]],
        longest_s: float = TURN_S,
    ) -> None:
        beat = self.readiness.expects(name, pause_s + longest_s)
        while goes_on():
            try:
                # What it could not do by then, it does at a later turn.
                async with asyncio.timeout(2 * longest_s):
                    await turn()
                beat.came()
            except Exception as error:
                # Named, not traced: an error of the database may quote a row.
                beat.trouble = type(error).__name__
                log.error("loop_turn_failed", loop=name, error=beat.trouble)
            await asyncio.sleep(pause_s if goes_on() else 0)

    async def _hear(self) -> None:
        room = asyncio.Semaphore(HEARS)
        while goes_on():
            try:
                async with asyncio.TaskGroup() as group:
                    async for push in self._parts.rail.pushes():
                        await room.acquire()
                        booking = group.create_task(self._heard_or_kept(push))
                        booking.add_done_callback(lambda _: room.release())
            except Exception as error:
                log.error("loop_turn_failed", loop="hear", error=type(error).__name__)
            await asyncio.sleep(1.0)

    async def _heard_or_kept(self, push: Settled | None) -> None:
        """Take what the channel tells, which it tells once: what can't be booked now is kept."""
        name = "" if push is None else push.payment_hash
        try:
            if not await self.heard(push):
                self._unbooked[name] = push
        except DatabaseAway:
            self._unbooked[name] = push
            log.warning("push_kept")
        except Exception as error:
            log.error("push_failed", error=type(error).__name__)

    async def heard(self, push: Settled | None) -> bool:
        """Take what the rail's channel tells: a payment, or that it was away until now.

        False: another process is booking this payment, and may still fail to.
        """
        if push is None:
            await self._ask_all()
            return True
        return await self._booked(push, waits=False)

    async def _ask_all(self) -> None:
        """Ask about every open invoice soon: the channel was away, and replays nothing."""
        now = self._parts.clock()
        await self._parts.db.run("ask_all", lambda tx: invoices.ask_all(tx, now))

    async def settle(self, settled: Settled) -> None:
        """Tell the shell of a payment to an invoice of ours; anything else is not ours to book."""
        await self._booked(settled, waits=True)

    async def _booked(self, settled: Settled, waits: bool) -> bool:
        """Do that. Where another is booking it just now, wait for the end of that or say False."""
        row = await invoices.by_hash(self._parts.db, settled.payment_hash)
        if row is None:
            await self._settle_purged(settled)
            return True
        if row["settled_at"] is not None:
            return True
        if not await self._parts.shell.do(advance.invoices.book, row["id"], settled, waits):
            return False
        self.receiving.paid(row["wallet"])
        return True

    async def _settle_purged(self, settled: Settled) -> None:
        kept = await lapsed.find(self._parts.db, settled.payment_hash)
        if kept is not None:
            await self._parts.shell.do(advance.purging.settle, kept.payment_hash, settled)
            self.receiving.paid(kept.wallet)

    async def look_up(self, payment_hash: str) -> bool:
        """Ask the rail about one invoice of ours; True when it answered that nobody has paid."""
        row = await invoices.by_hash(self._parts.db, payment_hash)
        kept = await lapsed.find(self._parts.db, payment_hash) if row is None else None
        wallet = row["wallet"] if row is not None else kept.wallet if kept is not None else None
        outcome = await self._parts.rail.look_up_invoice(payment_hash, wallet)
        if isinstance(outcome, Settled):
            await self.settle(outcome)
            return False
        return not isinstance(outcome, Unknown)

    async def nudge(self, payment_hash: str) -> None:
        """Ask about an invoice that somebody polls for, while the rail can't tell by itself."""
        loop_s = asyncio.get_running_loop().time()
        asked_s = self._nudged.get(payment_hash, -NUDGE_PAUSE_S)
        if self._parts.rail.push_is_up or loop_s - asked_s < NUDGE_PAUSE_S:
            return
        if len(self._nudged) > 10_000:
            self._nudged.clear()
        self._nudged[payment_hash] = loop_s
        await self.look_up(payment_hash)

    async def ask_invoices(self) -> None:
        """Ask the rail about invoices whose turn it is, and book what it told of before."""
        unbooked, self._unbooked = self._unbooked, {}
        for push in unbooked.values():
            await self._heard_or_kept(push)
        now, sweep_s = self._parts.clock(), self._parts.settings.sweep_s
        # While the rail tells of payments by itself, asking is only the net below it.
        most_open_s = OPEN_WATCH_S if self._parts.rail.push_is_up else sweep_s
        # No later than `sweep_s` after it was asked about last, wherever this turn falls.
        ahead = timedelta(seconds=_turn_s(sweep_s))
        pace = invoices.Pace(sweep_s, max(sweep_s, most_open_s), LATE_WATCH_S, FORGET, ahead)
        due = await self._parts.db.run(
            "due_invoices", lambda tx: invoices.take_due(tx, now, pace, BATCH)
        )
        # Their next turn may be minutes away: who does not have this one now has it soon.
        self._due |= dict.fromkeys(due)
        self._due |= dict.fromkeys(await self.unpaid.due())
        while self._due:  # a review may be asking at the same time
            payment_hash = next(iter(self._due))
            del self._due[payment_hash]
            try:
                await self.look_up(payment_hash)
            except DatabaseAway:
                self._due[payment_hash] = None
                raise

    async def ask_payouts(self) -> None:
        """Ask the rail what became of payouts in flight."""
        now, sweep_s = self._parts.clock(), self._parts.settings.sweep_s
        due = await self._parts.db.run(
            "due_payouts",
            lambda tx: payouts.take_due(tx, now, min(5, sweep_s), PAYOUT_PAUSE_S, BATCH),
        )
        for payout_id, number in due:
            with suppress(TryAgain):  # nothing was sent: its turn comes again
                await self._keeper.ask(payout_id, number)

    async def expire(self) -> None:
        """Let invoices lapse whose time is over, after asking the rail one last time.

        Where it does not say, it is asked again for an hour: LNbits tells of an expired invoice
        never more than that. Money that turns up after that is owed back.
        """
        now = self._parts.clock()
        self._untold = {
            invoice_id: at
            for invoice_id, at in self._untold.items()
            if timedelta(0) <= now - at < UNTOLD_PAUSE
        }
        skipped = list(self._untold)
        for row in await invoices.lapsed(self._parts.db, now - EXPIRY_GRACE, skipped, BATCH):
            unpaid = not row["payment_hash"] or await self.look_up(row["payment_hash"])
            if not unpaid and now < row["expires_at"] + UNTOLD_PATIENCE:
                self._untold[row["id"]] = now  # paid after all, or the rail does not say
                continue
            await self._parts.shell.do(advance.invoices.lapse, row["id"])

        for session_id in await sessions.idle(self._parts.db, now, BATCH):
            await self._parts.shell.do(advance.sessions.idle, session_id)
        for hold_id in await holds.due(self._parts.db, now, BATCH):
            await self._parts.shell.do(advance.holds.let_go, hold_id)

    async def look_at_switches(self) -> None:
        """See how the operator's switches stand, for whoever shows them."""
        self.switches = await switches.all_of(self._parts.db)

    async def recover(self) -> None:
        """Take over what dead workers left, and promise again what was lost altogether."""
        parts = self._parts
        rescued = await parts.outbox.rescue(parts.settings.worker_dead_after_s)
        if rescued:
            log.warning("promises_rescued", count=rescued)
        now = parts.clock()
        for job_id in await jobs.idle(parts.db, now - RECOVER_AFTER, BATCH):
            if not await advance.jobs.is_promised(parts.outbox, job_id):
                await parts.shell.do(advance.jobs.recover, job_id)
        await parts.db.run("purge_keys", partial(_purge, now))


async def always(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run what is to run for as long as the process does, anew whenever it ends."""
    while goes_on():
        try:
            await run()
        except Exception as error:
            log.error("background_broke", what=name, error=type(error).__name__)
        await asyncio.sleep(1.0)


def _turn_s(sweep_s: float) -> float:
    """Return the pause between two looks for invoices that are due."""
    return min(1.0, sweep_s / 4)


async def _purge(now: datetime, tx: Tx) -> None:
    await idempotency.purge(tx, now)
    await rate_limits.purge(tx, now)
    await conversations.purge(tx, now)
    await failures.purge(tx, now)
