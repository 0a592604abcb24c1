"""A world: everything there is, and what happens next in it. One seed, one history.

A step is one thing that happens, whoever does it. After each step the auditor looks.
"""

import zlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, NoReturn

from db.connection import patient
from db.promises import Outbox
from payments.rail import Settled
from pricing.money import Msat
from tests.simulation.auditor import Auditor
from tests.simulation.birth import born
from tests.simulation.calm import LAST_REVIEW, OF_PEOPLE, REVIEW, TURNS, Calm
from tests.simulation.chain import SimulatedChain, rail_on
from tests.simulation.clock import DAWN, Clock
from tests.simulation.crowds import gathered
from tests.simulation.database import PATIENCE_S, WorldConnector, WorldDatabase
from tests.simulation.destinations import SimulatedDestinations
from tests.simulation.makers import ALL_LANES, Makers
from tests.simulation.minds import SimulatedAgent, SimulatedOracle
from tests.simulation.model import Model, Violation
from tests.simulation.node import Node, Ours
from tests.simulation.payers import Crowd, Payer
from tests.simulation.process import EXPECTED, MOST_KEPT, Make, Process
from tests.simulation.rail import SimulatedRail
from tests.simulation.receivers import SimulatedReceivers
from tests.simulation.schedule import Actor, Life, Schedule, who
from tests.simulation.shelf import Shelf
from tests.simulation.wallet import Wallets
from tests.simulation.weather import DAYS_PASS, RATES, SEASON_STEPS, WITH_PEOPLE, Weather
from tests.simulation.wishes import Wishes

PROCESSES = ("one", "two")
MOST_PAYERS, MOST_ACTORS = 12, 10  # of each kind, at once; of all that is under way
FREEZES_S = (60, 600, 3_600, 7_200, 14_400)
RECOUNT_STEPS, DAYS_APART = 1_000, 1_500  # between two times when all is counted; when days pass
MOST_DAYS = timedelta(days=18)  # with its calm, no world lives to see what is forgotten after 30
LEAPS_S = (10, 10, 30, 60, 60, 120, 300, 300, 300, 600, 1_200, 4_000, 20_000)


@dataclass(frozen=True)
class Report:
    """What a world came to."""

    seed: int
    steps: int
    sums: dict[str, int]
    states: Counter[str]
    sessions: Counter[str]
    market: Counter[str]
    purged: Counter[str]
    faults: Counter[str]
    places: Counter[str]
    history: int  # two runs of one seed have the same
    lasted: timedelta


class World:
    """One seed's history."""

    def __init__(
        self,
        seed: int,
        database_url: str,
        make: Make | None = None,
        *,
        people: bool = False,
        faults: Mapping[str, float] | None = None,
    ) -> None:
        self.seed, self.steps, self.most_payers = seed, 0, MOST_PAYERS
        self.makers_share = 0.3  # of what begins, with what the house's own makers do
        self.has_canaries = False  # among what workers are given
        self.more: tuple[Crowd[Any], ...] = ()  # who come as often once more
        self.dice = Random(seed)
        self.clock = Clock()
        usual = WITH_PEOPLE if people else RATES
        self.weather = Weather(self.dice, usual if faults is None else faults)
        self.turns = OF_PEOPLE if people else TURNS
        self.schedule = Schedule()
        self.wallets = Wallets(self.dice)
        self.chain = SimulatedChain(self.clock)
        self.usdc = rail_on(self.chain, self.weather, self.dice, self.clock, self.gate)
        self.node = Node(self.clock, self.wallets)
        wishes = Wishes()
        self.makers = Makers(self.dice, self.weather, self.clock)
        self.crowds = gathered(self, wishes, self._tell_of, people=people)
        self.shelf = Shelf(self.weather, self.clock, self.gate)
        if people:
            self.makers.lanes = ALL_LANES
        self.rail = SimulatedRail(self.node, self.weather, self.dice, self.clock, self.gate)
        self.agent = SimulatedAgent(self.weather, self.dice, self.gate)
        self.oracle = SimulatedOracle(self.weather, self.dice, self.clock, self.gate)
        self.destinations = SimulatedDestinations(
            self.node, self.weather, self.dice, self.clock, self.gate
        )
        self.receivers = SimulatedReceivers(self.weather, self.gate)
        self.db = WorldDatabase(database_url, self.weather, self.gate)
        connector = WorldConnector(self.weather, self.gate, self._tell_time)
        self.outbox = Outbox(self.db, connector, self._pause)
        model = Model(
            self.node,
            self.agent,
            self.oracle,
            wishes,
            self.clock,
            self.makers.said,
            self.shelf,
            self.chain,
            self.usdc.pay_to,
            self.receivers,
        )
        self.auditor = Auditor(model, self.node)
        self.make = make or Make()
        self.processes: list[Process] = []
        self.pushes: list[tuple[int, Settled | None]] = []  # (the step it is due, what it says)
        self.places: Counter[str] = Counter()
        self.trace: deque[str] = deque(maxlen=4_000)
        self.history = 0
        self.tell: Callable[[str], object] = lambda line: None
        self._url = database_url
        self._skewed_until = self._channel_up_at = self._days_after = 0
        self._has_days = DAYS_PASS in (usual if faults is None else faults)
        self._thaws_at = self.clock.true

    # ------------------------------------------------------------------ from dawn to the end

    async def live(self, steps: int) -> Report:
        """Live so many steps with faults, and then in calm until all has ended."""
        with patient(PATIENCE_S):  # a machine that is slow is none of the world's faults
            return await self._live(steps)

    async def _live(self, steps: int) -> Report:
        await self.db.open()
        await self.outbox.open()
        await self.auditor.open(self._url)
        try:
            self.processes = [born(self, name) for name in PROCESSES]
            while self.steps < steps:
                await self._step()
            await Calm(self).come()
            await self.auditor.recount()
            sums = self.auditor.settle(self.past() + self.active())
        except Violation as wrong:
            self._fail(wrong)
        finally:
            for life in {actor.life for actor in self.schedule.actors}:
                await self.schedule.bury(life)
            await self.auditor.close()
            await self.oracle.close()
            await self.outbox.close()
            await self.db.close()
        model = self.auditor.model
        return Report(
            seed=self.seed,
            steps=self.steps,
            sums=sums,
            states=Counter(deal.row["state"] for deal in model.deals.values()),
            sessions=model.prepaid.seen,
            market=model.seen(),
            purged=model.purged.seen,
            faults=self.weather.counts,
            places=self.places,
            history=self.history,
            lasted=self.clock.true - DAWN,
        )

    def _fail(self, wrong: Violation) -> NoReturn:
        said = str(wrong)
        named = [word.strip(":,").partition(":")[0] for word in said.split()]
        ids = [word for word in named if self.auditor.model.owner(word)]
        story = [line for line in self.trace if any(name[:6] in line for name in ids)]
        owners = [owner for name in ids if (owner := self.auditor.model.owner(name))]
        rows = [line for owner in owners for line in owner.lines(self.node)]
        lines = [*rows, "-- its steps", *story[-40:], "-- last steps", *list(self.trace)[-25:]]
        raise Violation(
            f"seed {self.seed}, step {self.steps}: {said}\n  " + "\n  ".join(lines)
        ) from wrong

    # ------------------------------------------------------------------ one step

    async def _step(self) -> None:
        self.steps += 1
        if self.steps % SEASON_STEPS == 0:
            self.weather.turn()
        self.clock.forward(milliseconds=self.dice.randrange(0, 400))
        self.node.tick()
        self.chain.tick()
        await self._happens()
        for crowd in self.crowds:
            crowd.leave()
        await self.auditor.look()
        if self.steps % RECOUNT_STEPS == 0:
            await self.auditor.recount()

    async def _happens(self) -> None:
        if self._environment():
            return
        if self.weather.strikes("tasks: lost"):
            self.note(f"lost: {await self.auditor.lose_promise()}")
            return
        ready = self.schedule.ready()
        if ready and (len(ready) >= MOST_ACTORS or self.dice.random() < 0.75):
            await self.go_on(self.dice.choice(ready))
            return
        self._begin_something()

    def note(self, line: str) -> None:
        """Write a line of history."""
        line = f"{self.steps} {self.clock.true:%d %H:%M:%S} {line}"
        self.history = zlib.crc32(line.encode(), self.history)
        self.trace.append(line)
        self.tell(line)

    async def gate(self, place: str) -> None:
        """Stand at a place. Now and then the process dies there, or is stopped for hours."""
        if self.weather.strikes("crash"):
            self.places[place] += 1
            self.schedule.die()
        frozen = any(process.life.frozen for process in self.processes)
        if not frozen and self.weather.strikes("freeze"):
            who().life.frozen = True
            self._thaws_at = self.clock.true + timedelta(seconds=self.dice.choice(FREEZES_S))
            self.note(f"{who().life.name} is stopped")
        await self.schedule.gate(place)

    async def _tell_time(self) -> None:
        beating = [p.worker_id for p in self.processes if not p.life.frozen and p.begun]
        await self.auditor.set_clock(self.clock.true, beating)

    async def _pause(self, _: float) -> None:
        await self.gate("tasks: again")

    async def go_on(self, actor: Actor) -> None:
        """Let an actor go on to its next gate, and take the consequences."""
        await self.schedule.step(actor)
        self.note(f"{actor.life.name} {actor.name}: {actor.place}")
        error = actor.error
        if isinstance(error, Violation):
            raise error
        if error is not None and not isinstance(error, EXPECTED):
            raise Violation(f"{actor.name} raised {error!r}") from error
        if actor.life.dead:
            await self.schedule.bury(actor.life)
            self._replace(actor.life)

    def _replace(self, life: Life) -> None:
        for number, process in enumerate(self.processes):
            if process.life is life:
                self.processes[number] = born(self, life.name)

    # ------------------------------------------------------------------ the environment

    def _environment(self) -> bool:
        """Change what nobody decides: time, weather, processes. Return whether that was a step."""
        dice, strikes = self.dice, self.weather.strikes
        frozen = any(process.life.frozen for process in self.processes)
        if dice.random() < (0.03 if frozen else 0.005):
            self.clock.forward(seconds=dice.choice(LEAPS_S))
            self.note("time passes")
            return True
        is_young = self.clock.true - DAWN < MOST_DAYS
        if self._has_days and is_young and self.steps >= self._days_after and strikes(DAYS_PASS):
            self._days_after = self.steps + DAYS_APART
            self.clock.forward(days=dice.choice((2, 3, 4)))
            self.note("days pass")
            return True
        if frozen and self.clock.true >= self._thaws_at:
            for process in self.processes:
                process.life.frozen = False
            self.note("it goes on")
            return True
        if self.steps >= self._skewed_until:
            self.clock.skew = timedelta(0)
        if dice.random() < 0.2 and strikes("clock: jumps"):
            self.clock.skew = timedelta(seconds=dice.choice((-3_600, 3_600)))
            self._skewed_until = self.steps + dice.randrange(20, 400)
            self.note(f"the clock jumps by {self.clock.skew}")
            return True
        return self._channel()

    def _channel(self) -> bool:
        if not self.rail.push_is_up:
            if self.steps < self._channel_up_at:
                return False
            self.rail.push_is_up = True
            self.pushes.append((self.steps, None))
            return True
        if self.weather.strikes("push: channel down"):
            self.rail.push_is_up = False
            self._channel_up_at = self.steps + self.dice.randrange(20, 300)
            return True
        return False

    def _tell_of(self, invoice: Ours) -> None:
        """Have the rail's channel tell of a payment, if it does."""
        amount_msat = Msat(invoice.received_msat or 0)
        told = Settled(invoice.payment_hash, amount_msat, invoice.preimage)
        if not self.rail.push_is_up or self.weather.strikes("push: lost"):
            return
        for _ in range(2 if self.weather.strikes("push: twice") else 1):
            self.pushes.append((self.steps + self.dice.randrange(0, 60), told))

    # ------------------------------------------------------------------ what begins

    def _begin_something(self) -> None:
        alive = [process for process in self.processes if not process.life.frozen]
        before, line = len(self.schedule.actors), self.history
        for _ in range(5 if alive else 0):
            process = self.dice.choice(alive)
            due = [push for push in self.pushes if push[0] <= self.steps]
            if due and self.dice.random() < 0.5:
                self.pushes.remove(due[0])
                self.start(process, "push", partial(process.loops.hearing.heard, due[0][1]))
            elif self.dice.random() < 0.4:
                self._server(process)
            elif self.dice.random() < self.makers_share:
                if made := self.makers.next(process):
                    self.start(process, *made)
            else:
                self._payer(process, self.dice.choice((*self.crowds, *self.more)))
            if (len(self.schedule.actors), self.history) != (before, line):
                return

    def _server(self, process: Process) -> None:
        if not process.begun:
            self.start(process, "begin", process.begin)
            process.begun = True
        elif self.dice.random() < 0.75:
            if process.keeping < MOST_KEPT:
                self.start(process, "work", process.work)
        else:
            turn = self.dice.choice((*self.turns, *self.turns, REVIEW))
            self.start(process, turn, partial(self.turn, process, turn))

    async def turn(self, process: Process, turn: str) -> None:
        """Let a loop of a process have its turn."""
        if turn not in (REVIEW, LAST_REVIEW):
            await process.turn(turn)
            return
        began = self.clock.true
        review = await process.loops.books.review()
        self.auditor.reviewed(review, began, is_last=turn == LAST_REVIEW)

    def pay_long_after(self) -> bool:
        """Let somebody pay what was purged; return whether anybody did."""
        crowd = self.dice.choice(self.crowds)
        done = crowd.pay_long_after()
        if done:
            self.note(done)
        return bool(done)

    def _payer(self, process: Process, crowd: Crowd[Any]) -> None:
        if self.dice.random() < 0.02 and self.pay_long_after():
            return
        at_large = crowd.at_large()
        free = [payer for payer in at_large if payer.busy < 2]
        if len(at_large) < min(self.most_payers, crowd.most) and self.dice.random() < 0.3:
            free = [crowd.arrive()]
        if not free:
            return
        payer = self.dice.choice(free)
        done = crowd.pay(payer)
        if done:
            self.note(f"{payer.name} {done} of {payer.owner_id[:6]}")
        elif what := crowd.wish(payer):
            self.visit(process, payer, what)

    def active(self) -> list[Payer]:
        """Return everybody who may still want something."""
        return [payer for crowd in self.crowds for payer in crowd.active]

    def past(self) -> list[Payer]:
        """Return everybody who has left."""
        return [payer for crowd in self.crowds for payer in crowd.past]

    def visit(self, process: Process, payer: Payer, what: str) -> None:
        """Let somebody go through one of our doors, at a process."""
        crowd = next(crowd for crowd in self.crowds if payer in crowd.active + crowd.past)
        visit = getattr(crowd, what)

        async def visiting() -> None:
            payer.busy += 1
            try:
                await visit(payer, process)
            finally:
                payer.busy -= 1

        self.start(process, f"{payer.name} {what} {payer.owner_id[:6]}", visiting)

    def start(self, process: Process, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Let something begin in a process."""
        self.schedule.start(name, process.life, work)
