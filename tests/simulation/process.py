"""One process of Boltwork: the real shell, keeper, loops and claims, until it is killed."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from procrastinate.exceptions import ConnectorException

from app.advance import Shell, Terms
from app.loops.authorizations import MOST
from app.main import furnish
from app.plant import Built, keeper_of, loops_of, settling_of
from app.ports import Clock
from app.promises.keeping import Keeper
from app.promises.leases import Leases
from app.promises.pacing import Pacing
from app.refusal import Refusal
from app.strict_json import BadInput
from db.engine import Database, DatabaseAway
from db.promises import Hand, Outbox, TryAgain
from db.signals import Signals
from statemachine.promises import Promise
from tests.simulation.database import Gate, WorldDatabase
from tests.simulation.schedule import Life, who


class HungUp(Exception):
    """The caller has gone away before he was answered."""


MOST_KEPT = 4  # promises at once
PATIENCE = 3  # gates that a caller waits for an answer, before he hangs up
EXPECTED = (DatabaseAway, ConnectorException, TryAgain, BadInput, Refusal, HungUp)


class PatientSignals(Signals):
    """Wakes nobody: who waits for a change takes turns with the others, and then hangs up."""

    def __init__(self, db: WorldDatabase, gate: Gate) -> None:
        super().__init__(db)
        self._gate = gate

    async def wait(self, changed: object, longest_s: float) -> None:
        """See Signals."""
        who().waits += 1
        if who().waits > PATIENCE:
            raise HungUp
        await self._gate("wait for a change")


class Unpaced(Pacing):
    """Lets everybody in: who waits for another's turn would stand at no gate."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """See Pacing."""
        yield


@dataclass(frozen=True)
class Make:
    """What a process is made of: the real parts, unless a bug is planted."""

    shell: Callable[[Database, Outbox, Terms, Clock, Callable[[], str]], Shell] = Shell
    keeper: Callable[[Built], Keeper] = keeper_of


class Process:
    """A server and its worker. After a crash another one is made on the same database."""

    def __init__(self, name: str, built: Built, make: Make, gate: Gate) -> None:
        self.life = Life(name)
        self.built = built
        self.keeper = make.keeper(built)
        self.loops = loops_of(built, self.keeper)
        self.loops.books.at_once = 1  # whoever is under way stands at one gate at a time
        self.keeper._notices._pacing = Unpaced()
        self.house = furnish(built, self.keeper, self.loops)
        self.leases = Leases(built.shell, built.artifacts)
        self._settling = settling_of(built)
        self._gate = gate
        self._hand: Hand = built.outbox.hand()
        self.begun = self.idle = False
        self.keeping = 0

    async def begin(self) -> None:
        """Register as a worker of the task engine."""
        self.begun = True
        try:
            await self._hand.begin(self.built.settings.worker_dead_after_s)
        except ConnectorException:
            self.begun = False
            raise

    @property
    def worker_id(self) -> int:
        """Return the name of its worker at the task engine."""
        return self._hand.worker_id

    async def turn(self, loop: str) -> None:
        """Let a loop have its turn."""
        if loop == "authorizations":  # one after the other: see above
            assert self._settling is not None
            for row in await self._settling.take_due(MOST):
                await self._settling.look(row)
            return
        desk = getattr(self.loops, loop)
        await (desk.sweep if loop == "artifacts" else desk.turn)()

    async def work(self) -> None:
        """Take a promise that is due, keep it, and let the task engine forget it."""
        try:
            taken = await self._hand.take()
        except ConnectorException:
            self.begun = False  # the worker breaks, and another one is made in its place
            raise
        if taken is None:
            self.idle = True
            return
        self.keeping += 1
        try:
            await self._hand.keep(taken, self._kept)
        except Exception as error:
            await self._hand.put_back(taken, error, self.built.clock())
            if not isinstance(error, EXPECTED):
                raise
        else:
            await self._hand.done(taken)
        finally:
            self.keeping -= 1

    async def _kept(self, promise: Promise, tries: int) -> None:
        name = type(promise).__name__
        await self._gate(f"keep {name}: before")
        await self.keeper.keep(promise, tries)
        await self._gate(f"keep {name}: after")
