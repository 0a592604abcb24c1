"""The review of the books: what the rows say (db.audit), and what the rail itself says it holds.

The rail must hold what the books say, and what it held beyond them when it was first seen: to the
msat when nothing moves, and between two bounds that are told while something does.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from prometheus_client import Gauge

from app.operator.comparison import Comparison
from app.operator.receiving import Receiving
from app.operator.usdc_books import UsdcBooks
from app.ports import Clock
from db import baselines, ledger, routing, standing
from db.audit import Finding, audit
from db.baselines import FIRST_SEEN, Baseline
from db.connection import patient
from db.engine import Database
from db.promises import Outbox
from db.replica import Replica
from db.standing import MOST_UNPAID, RailSheet
from payments.rail import Absent, GivenUp, Outcome, Rail, Settled, Unknown
from pricing.money import sats_text
from statemachine.entries import (
    EXPENSE_CANARIES,
    EXPENSE_FAILED,
    EXPENSE_FREE,
    EXPENSE_MAKERS,
    EXPENSE_ROUTING,
    Asset,
)
from statemachine.job import JobState
from statemachine.promises import KINDS
from statemachine.session import SessionState

log = structlog.get_logger("boltwork.books")

INVARIANTS = range(1, 9)  # as they are numbered in the README
AUDIT_S = 300.0  # all rows are read at once, which is slow where there are many
ASKED_AT_ONCE = 8  # open invoices that the rail is asked about
SPENT = (EXPENSE_CANARIES, EXPENSE_FAILED, EXPENSE_FREE, EXPENSE_MAKERS, EXPENSE_ROUTING)
TRIES = 5  # the books move while the rail is asked: how often it is asked again

FINDINGS = Gauge(
    "boltwork_books_findings", "What the last review of the books found wrong", ["invariant"]
)
REVIEWED = Gauge("boltwork_books_reviewed_timestamp_seconds", "When the books were last reviewed")
COMPARED = Gauge("boltwork_books_rail_compared", "1 when the last review could ask each rail")
REPLICA = Gauge("boltwork_replica_used", "1 when the last review's rows were read from the replica")
PAYOUTS = Gauge(
    "boltwork_payouts", "Payouts that are not paid; stuck ones need a person", ["standing"]
)
PAYOUTS_MSAT = Gauge("boltwork_payouts_msat", "What payouts that are not paid add up to",
                     ["standing"])  # fmt: skip
PAYOUTS_MICROUSDC = Gauge(
    "boltwork_payouts_microusdc", "Likewise in millionths of a USDC", ["standing"]
)
ROUTING_GIVEN = Gauge(
    "boltwork_routing_given_msat",
    "Routing of what only passed through that the house gave away today; its alarm is"
    " ROUTING_FREE_SATS_PER_DAY",
)
EXPENSES = Gauge(
    "boltwork_expense_msat",
    "What the house has spent in all: failed is models that were paid for work that failed,"
    " makers what others want for images and films that were delivered, canaries what is ordered of"
    " workers to see what they make of it",
    ["account"],
)
JOBS = Gauge("boltwork_jobs", "Jobs by state", ["state"])
SESSIONS = Gauge("boltwork_sessions", "Sessions by state", ["state"])
SESSIONS_MSAT = Gauge("boltwork_sessions_msat", "What rests on sessions, all together")
PROMISES = Gauge("boltwork_promises_waiting", "Promises that wait or are being kept", ["kind"])


@dataclass(frozen=True, slots=True)
class Review:
    """All that was found, and when."""

    at: datetime
    findings: tuple[Finding, ...]
    rail: Comparison
    usdc: Comparison | None = None  # of the second rail, where there is one

    @property
    def compared(self) -> list[Comparison]:
        """Return what came of each rail that there is."""
        return [each for each in (self.rail, self.usdc) if each is not None]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the rail held, and what the books said of it at that moment."""

    sheet: RailSheet
    held_msat: int

    @property
    def beyond_msat(self) -> int:
        """What it holds beyond the books."""
        return self.held_msat - self.sheet.due_msat


class Books:
    """Reviews the books of an instance, and remembers the last review."""

    def __init__(
        self,
        db: Database,
        replica: Replica,
        outbox: Outbox,
        rail: Rail,
        receiving: Receiving,
        usdc: UsdcBooks,
        clock: Clock,
    ) -> None:
        self._db, self._outbox, self._rail, self._clock = db, outbox, rail, clock
        self._replica = replica
        self._receiving, self.usdc = receiving, usdc
        self.at_once = ASKED_AT_ONCE
        self.latest: Review | None = None

    async def review(self) -> Review:
        """Look for all that breaks an invariant, and remember it."""
        self.latest = await self._reviewed()
        return self.latest

    async def _reviewed(self) -> Review:
        with patient(AUDIT_S):
            findings = await self._replica.ask(audit)
        REPLICA.set(int(self._replica.is_used))
        review = Review(self._clock(), (), await self.compare(), await self.usdc.compare())
        findings += [each.finding for each in review.compared if each.finding is not None]
        findings.sort(key=lambda finding: finding.invariant)
        return replace(review, findings=tuple(findings))

    async def turn(self) -> None:
        """Review, and show what was found as metrics; a job's id never reaches the log."""
        review = await self._reviewed()
        counts = Counter(finding.invariant for finding in review.findings)
        for invariant in INVARIANTS:
            FINDINGS.labels(invariant).set(counts[invariant])
        REVIEWED.set(int(review.at.timestamp()))
        COMPARED.set(int(all(each.is_done for each in review.compared)))
        await self._count()
        self.latest = review  # who sees that there was a review sees what it counted
        if review.findings:
            log.error("books_are_wrong", findings=dict(sorted(counts.items())))

    async def _count(self) -> None:
        db, now = self._db, self._clock()
        ROUTING_GIVEN.set(await routing.given_msat(db, now.date()))
        for spent in SPENT:
            spent_msat = await ledger.balance(db, spent.name, Asset.MSAT)
            EXPENSES.labels(spent.name.removeprefix("expense:")).set(spent_msat)
        in_msat = await standing.payouts_by_standing(db, now)
        in_usdc = await standing.payouts_by_standing(db, now, Asset.MICROUSDC)
        for name, (count, amount_msat) in in_msat.items():
            PAYOUTS.labels(name).set(count + in_usdc[name][0])
            PAYOUTS_MSAT.labels(name).set(amount_msat)
            PAYOUTS_MICROUSDC.labels(name).set(in_usdc[name][1])
        jobs = await standing.jobs_by_state(db)
        for state in JobState:
            JOBS.labels(state.value).set(jobs.get(state.value, 0))
        sessions = await standing.sessions_by_state(db)
        for session in SessionState:
            SESSIONS.labels(session.value).set(sessions.get(session.value, 0))
        SESSIONS_MSAT.set(await standing.prepaid_msat(db))
        waiting = await self._outbox.waiting()
        for kind in KINDS:
            PROMISES.labels(kind.__name__).set(waiting.get(kind.__name__, 0))

    async def compare(self) -> Comparison:
        """Hold the rail's balance against the books. Writes a baseline for a wallet new to us."""
        baseline = await baselines.newest(self._db, self._rail.identity)
        seen = await self._see(None if baseline is None else MOST_UNPAID)
        if isinstance(seen, Comparison):
            return seen
        if baseline is None:
            return await self._first_seen(seen)
        return await self._judge(seen, baseline)

    async def _see(self, most_unpaid: int | None) -> _Seen | Comparison:
        """Ask the rail what it holds, while the books stand still; or say why that can't be."""
        rail = self._rail
        for _ in range(TRIES):
            sheet = await standing.rail_sheet(self._db, rail.identity, most_unpaid)
            if sheet.transfers:
                said = "Money is on its way between two wallets of the rail. Compare when it rests."
                return Comparison(said, False)
            await self._receiving.refresh()
            held_msat = await rail.balance_msat()
            if isinstance(held_msat, Unknown):
                return Comparison(f"The rail did not tell what it holds: {held_msat.reason}", False)
            if sheet == await standing.rail_sheet(self._db, rail.identity, most_unpaid):
                return _Seen(sheet, held_msat)
        return Comparison("The books did not stand still while the rail was asked.", False)

    async def accept(self, reason: str) -> Comparison:
        """Compare with what the rails hold now from now on: their operator says why they differ.

        Returns what came of the first.
        """
        await self.usdc.accept(reason)
        seen = await self._see(None)
        if isinstance(seen, Comparison):
            return seen
        if moves := await self._moves(seen.sheet):
            return Comparison(f"{moves} A difference can be accepted once that rests.", False)
        identity = self._rail.identity
        new = Baseline(seen.beyond_msat, reason, self._clock())
        await self._db.run("rail_baseline", lambda tx: baselines.add(tx, identity, new))
        return await self.compare()

    async def _first_seen(self, seen: _Seen) -> Comparison:
        if moves := await self._moves(seen.sheet):
            said = f"The rail was not seen before. {moves} It is compared once that rests."
            return Comparison(said, False)
        identity = self._rail.identity
        new = Baseline(seen.beyond_msat, FIRST_SEEN, self._clock())
        await self._db.run("rail_baseline", lambda tx: baselines.first(tx, identity, new))
        return Comparison(
            f"The rail is seen for the first time, with {sats_text(seen.beyond_msat)} sats beyond"
            " the books. From now on it is compared with that.",
            True,
            beyond=seen.beyond_msat,
        )

    async def _moves(self, sheet: RailSheet) -> str | None:
        """Say what moves, or may: what came in and is not booked would count as the operator's own,
        and be missed once it is booked."""
        if sheet.moving:
            return "Payouts are on their way."
        arrived_msat, untold = await self._arrived(sheet)
        if arrived_msat:
            return f"{sats_text(arrived_msat)} sats came in that are not booked yet."
        return "The rail does not say whether each open invoice was paid." if untold else None

    async def _judge(self, seen: _Seen, baseline: Baseline) -> Comparison:
        sheet, held_msat, beyond_msat = seen.sheet, seen.held_msat, seen.beyond_msat
        difference_msat = beyond_msat - baseline.beyond
        apart = f"{sats_text(abs(difference_msat))} sats"
        if difference_msat == 0:
            said = f"The rail holds {sats_text(held_msat)} sats, as the books say, to the msat."
            return Comparison(said, True, beyond=beyond_msat)
        arrived_msat, untold = await self._arrived(sheet) if difference_msat > 0 else (0, False)
        moves = (
            f"payouts on their way may have taken up to {sats_text(sheet.moving_msat)} sats, and"
            f" {sats_text(arrived_msat)} sats came in that are not booked yet"
        )
        if -sheet.moving_msat <= difference_msat <= arrived_msat:
            said = f"The rail differs from the books by {apart}: {moves}."
            return Comparison(said, True, beyond=beyond_msat)
        if difference_msat > 0 and (untold or len(sheet.unpaid) >= MOST_UNPAID):
            # Any of many open invoices may have been paid just now, or one that the rail does not
            # speak of; the sweep asks about them all.
            said = f"The rail holds {apart} more than the books, perhaps not booked."
            return Comparison(said, False, beyond=beyond_msat)
        which = "less" if difference_msat < 0 else "more"
        said = f"it holds {apart} {which} than the books say; {moves}"
        finding = Finding(3, said, f"rail {self._rail.name}")
        return Comparison(f"The rail is wrong: {said}.", True, finding, beyond_msat)

    async def _arrived(self, sheet: RailSheet) -> tuple[int, bool]:
        """Return what the rail has received for invoices that the books call unpaid.

        And whether there may be more: it did not say of each of them.
        """
        room = asyncio.Semaphore(self.at_once)

        async def asked(payment_hash: str, wallet: str | None) -> Outcome:
            async with room:
                return await self._rail.look_up_invoice(payment_hash, wallet)

        arrived_msat, untold = 0, False
        for outcome in await asyncio.gather(*(asked(*invoice) for invoice in sheet.unpaid)):
            if isinstance(outcome, Settled):
                arrived_msat += outcome.amount_msat
            # What it gave up or never made is in no balance of its own.
            silent = isinstance(outcome, Unknown) and not isinstance(outcome, GivenUp | Absent)
            untold = untold or silent
        return arrived_msat, untold
