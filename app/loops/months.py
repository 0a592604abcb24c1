"""History lies in months: those to come are made, and those that nobody needs any more dropped."""

from dataclasses import dataclass, field
from functools import partial

import structlog
from prometheus_client import Gauge

from app.ports import Clock
from db import months
from db.engine import Database

log = structlog.get_logger("boltwork.history")

THERE = Gauge("boltwork_history_months", "Tables of one month of history that are there")
PAUSE_S = 600.0
LONGEST_S = 300.0  # a turn that drops many
LINES = 2_000  # old ones that are of no month, looked at at once
MOST = 50  # times at a turn


@dataclass
class Months:
    """Makes and drops them, and forgets old lines that are of none. `kept`: whole months beside
    this one; None: all.
    """

    db: Database
    clock: Clock
    kept: int | None
    _after: int = field(default=0, init=False)  # the old line that was looked at last

    async def turn(self) -> None:
        """Make, drop and forget what there is to."""
        now = self.clock()
        cutoff = None
        if self.kept is not None:
            # Where the clocks of two hosts do not agree, the one drops less that is behind.
            cutoff = months.months_before(min(now, await self.db.clock()), self.kept)
        done = await months.keep(self.db, now, cutoff)
        THERE.set(done.months)
        if done.made or done.dropped:
            log.info("history_months", made=list(done.made), dropped=list(done.dropped))
        if cutoff is None:
            return
        for _ in range(MOST):
            forget = partial(months.forget, cutoff=cutoff, after=self._after, most=LINES)
            looked = await self.db.run("forget_history", forget)
            self._after = looked.last if looked.looked_at == LINES else 0
            if not self._after:
                break
