"""How an operator looks at the workers of the network, and bans one or takes it back.

What is free of a banned worker's pay stays the worker's.
"""

from dataclasses import dataclass
from datetime import timedelta

from app import advance
from app.advance import Applied, Shell
from app.ports import Clock
from db import network
from db.engine import Database
from db.network import Counts, Lent
from statemachine.worker import WorkerState

EARNED_OF = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Summary:
    """How many workers there are, and what is held back of their pay."""

    here: int  # heard of lately, and given items
    states: dict[WorkerState, int]
    held_msat: int
    held_microusdc: int

    @property
    def all(self) -> int:
        """How many there are, whatever their state."""
        return sum(self.states.values())


@dataclass(frozen=True, slots=True)
class Fleet:
    """The operator's desk of workers."""

    db: Database
    shell: Shell
    clock: Clock

    async def summary(self) -> Summary:
        """Return how many workers there are in each state."""
        rows: list[Counts] = await network.counts(self.db)
        states = dict.fromkeys(WorkerState, 0) | {row.state: row.n for row in rows}
        held_msat = sum(row.held_msat for row in rows)
        held_microusdc = sum(row.held_microusdc for row in rows)
        here = await network.here(self.db, self.clock())
        return Summary(here, states, held_msat, held_microusdc)

    async def workers(self, state: WorkerState | None, skipped: int, most: int) -> list[Lent]:
        """Return workers, those first that were heard of last; of one state, or of every one."""
        since = self.clock() - EARNED_OF
        return await network.lent(self.db, state, since, skipped, most)

    async def ban(self, worker_id: str) -> bool:
        """Give a worker nothing more, and take nothing from it; False: none that could be."""
        return await self.shell.do(advance.workers.ban, worker_id) == Applied()

    async def readmit(self, worker_id: str) -> bool:
        """Have a banned worker be one that is paused; False: there is none of this name."""
        return await self.shell.do(advance.workers.readmit, worker_id) == Applied()
