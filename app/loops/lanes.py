"""Lanes are kept in order: what nobody is heard of any more about is another's turn, and claims
begin to look where something waits. Workers that are new no more have all of their pay.
"""

from app import advance
from app.advance import Shell
from app.ports import Clock
from db import lanes, leases, workers
from db.engine import Database

MOST = 100
PAUSE_S = 0.5


class Lanes:
    """Takes items back from silent holders, and moves the floors."""

    def __init__(self, db: Database, shell: Shell, clock: Clock) -> None:
        self._db, self._shell, self._clock = db, shell, clock

    async def turn(self) -> None:
        """Let leases lapse whose time is over, and move the floor of each lane."""
        for due in await leases.due(self._db, self._clock(), MOST):
            await self._shell.do(advance.leases.lapse, due.item_id, due.number)
        for worker_id in await workers.due(self._db, self._clock(), MOST):
            await self._shell.do(advance.workers.mature, worker_id)
        await self._db.run("move_floors", lanes.move_floors)
