"""What the server does by itself, so that no job waits for somebody's poll: one loop a file.

Each turn of a loop survives whatever it meets: what could not be done is done at a later turn.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog

from app.artifacts.keeping import Artifacts
from app.loops.authorizations import Authorizations
from app.loops.booking import Booking
from app.loops.canaries import PAUSE_S as CANARIES_S
from app.loops.canaries import Canaries
from app.loops.deposits import PAUSE_S as DEPOSITS_S
from app.loops.deposits import Deposits
from app.loops.expiry import Expiry
from app.loops.hearing import Hearing
from app.loops.lanes import PAUSE_S, Lanes
from app.loops.months import LONGEST_S as MONTHS_LONGEST_S
from app.loops.months import PAUSE_S as MONTHS_S
from app.loops.months import Months
from app.loops.payouts import Payouts
from app.loops.readiness import TURN_S, Readiness
from app.loops.recovery import Recovery
from app.loops.sweep import Sweep
from app.loops.switchboard import Switchboard
from app.loops.unpaid import Unpaid
from app.operator.books import Books
from app.operator.receiving import Receiving
from db.going import goes_on

log = structlog.get_logger("boltwork.loops")

SWEEP_ARTIFACTS_S = 600.0  # each of them is listed
REVIEW_S = 600.0  # how long a review of the books may take


@dataclass(frozen=True, slots=True)
class Pace:
    """How often they turn, by the settings; a review every 0 s is none."""

    sweep_s: float
    health_s: float
    review_s: float


@dataclass(frozen=True, slots=True)
class Loops:
    """All loops of a process, and what each has seen."""

    receiving: Receiving
    booking: Booking
    hearing: Hearing
    unpaid: Unpaid
    sweep: Sweep
    payouts: Payouts
    expiry: Expiry
    recovery: Recovery
    switchboard: Switchboard
    lanes: Lanes
    months: Months
    canaries: Canaries
    authorizations: Authorizations | None
    deposits: Deposits | None
    artifacts: Artifacts
    books: Books
    readiness: Readiness
    pace: Pace

    async def run(self) -> None:
        """Run every loop until cancelled."""
        sweep_s, health_s, review_s = self.pace.sweep_s, self.pace.health_s, self.pace.review_s
        async with asyncio.TaskGroup() as group:
            group.create_task(self.hearing.run())
            for name, pause_s, turn in (
                ("expire", 1.0, self.expiry.turn),
                ("ask_invoices", self.sweep.pause_s, self.sweep.turn),
                ("ask_payouts", min(5.0, sweep_s), self.payouts.turn),
                ("recover", sweep_s, self.recovery.turn),
                ("purge", sweep_s, self.unpaid.turn),
                ("switches", 1.0, self.switchboard.turn),
                ("lanes", PAUSE_S, self.lanes.turn),
                ("canaries", CANARIES_S, self.canaries.turn),
                ("receive", sweep_s, self.receiving.turn),
                ("sweep_artifacts", SWEEP_ARTIFACTS_S, self.artifacts.sweep),
            ):
                group.create_task(self._every(name, pause_s, turn))
            if self.authorizations is not None:
                turn = self.authorizations.turn
                group.create_task(self._every("ask_authorizations", 1.0, turn))
            if self.deposits is not None:
                group.create_task(self._every("read_chain", DEPOSITS_S, self.deposits.turn))
            months = self._every("months", MONTHS_S, self.months.turn, MONTHS_LONGEST_S)
            group.create_task(months)
            for part in self.readiness.parts:
                look = partial(self.readiness.look, part)
                group.create_task(self._every(f"look at {part}", health_s, look))
            if review_s:
                turns = self._every("reconcile", review_s, self.books.turn, REVIEW_S)
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


async def always(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run what is to run for as long as the process does, anew whenever it ends."""
    while goes_on():
        try:
            await run()
        except Exception as error:
            log.error("background_broke", what=name, error=type(error).__name__)
        await asyncio.sleep(1.0)
