"""Lanes are kept in order: what nobody is heard of any more about is another's turn, and claims
begin to look where something waits. Workers that are new no more have all of their pay; and what is
made by workers alone, and by none that comes, is given up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app import advance
from app.advance import Shell
from app.ports import Clock
from db import lanes, leases, unmade, workers
from db.engine import Database

MOST = 100
PAUSE_S = 0.5
ABANDONS_EVERY = timedelta(seconds=5)


@dataclass
class Lanes:
    """Takes items back from silent holders, and moves the floors."""

    db: Database
    shell: Shell
    clock: Clock
    lent: Sequence[str] = ()  # lanes in which workers alone make what waits
    patience: timedelta = timedelta(minutes=15)  # with an item that no worker comes for
    _abandoned_at: datetime | None = field(default=None, init=False)

    async def turn(self) -> None:
        """Let leases lapse whose time is over, and move the floor of each lane."""
        for due in await leases.due(self.db, self.clock(), MOST):
            await self.shell.do(advance.leases.lapse, due.item_id, due.number)
        for worker_id in await workers.due(self.db, self.clock(), MOST):
            await self.shell.do(advance.workers.mature, worker_id)
        await self.db.run("move_floors", lanes.move_floors)
        await self._abandon()

    async def _abandon(self) -> None:
        """Give up what no worker has come for in time."""
        now = self.clock()
        if not self.lent or (self._abandoned_at and now < self._abandoned_at + ABANDONS_EVERY):
            return
        self._abandoned_at = now
        for item_id in await unmade.find(self.db, self.lent, now - self.patience, MOST):
            await self.shell.do(advance.leases.abandon, item_id)
