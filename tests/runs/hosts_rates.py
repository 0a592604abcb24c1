"""What a town sells in a second, what that costs each side, and what the model says to it.

Each kind is bought alone, then all together; a job is polled, and items are claimed. The model is
fitted to what each costs alone. `--like FILE` has another run's model say what is to be seen here.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.bench.closed import ClosedLoop
from scripts.bench.crowd import Crowd
from scripts.bench.polls import get
from scripts.bench.window import Window
from tests.runs import hosts_tools
from tests.runs.hosts_buyers import KINDS, Buyers
from tests.runs.hosts_claimers import COUNT
from tests.runs.hosts_costs import Cost, lines_of, processors_busy_s
from tests.runs.hosts_model import CPU, OF_A_SELLER, Model, Spent
from tests.runs.hosts_network import Program
from tests.runs.hosts_town import BALANCER, PORT, Town
from tests.world.patience import patiently

IDLE_S, POLLED_S, CLAIMED_S = 20.0, 10.0, 10.0
WARM, EACH = 12, 3  # of all jobs, one part in so many is for warming up, and for each kind
# A server answers at one go whatever has come meanwhile, so a poll costs what it does at so many
# pollers a server. Where runs are compared, --at-once is as many buyers a host, too.
POLLERS = 8
WAITING, PAYERS = 20_000, 200  # items that wait to be claimed
SOON_S = 8.0  # longer than claimers take to start
MIX = {kind: [name for name, _ in KINDS].count(kind) for kind in dict(KINDS)}


@dataclass
class Rates:
    """A town that is measured."""

    town: Town
    buyers: Buyers
    jobs: int  # of all kinds together, and a third as many of each
    at_once: int
    say: Callable[[str], None]
    runs: dict[str, tuple[int, float, Spent]] = field(default_factory=dict)
    idle: Spent = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)  # processors busy with what isn't of it

    async def measure(self, audited: Callable[[], Awaitable[list[str]]]) -> list[str]:
        """Measure all of it. What is claimed at the end is nobody's: the books are looked at first,
        and what is wrong with them is returned."""
        self.buyers.enough.set()
        await self.buyers.buy(self.jobs // WARM, self.at_once)
        await self._rest()
        for kind, story in dict(KINDS).items():
            await self._bought(kind, self.jobs // EACH, ((kind, story),))
        await self._bought("mixed", self.jobs, KINDS)
        await self._polled("poll", 200)
        await self._polled("unchanged poll", 304)
        wrong = await audited()
        await self._claimed()
        return wrong

    @property
    def model(self) -> Model:
        """What is fitted to each kind alone."""
        return Model.fitted(self.town.count, self.idle, self.runs)

    # ------------------------------------------------------------------ what is measured

    async def _rest(self) -> None:
        before = await self._cost()
        await asyncio.sleep(IDLE_S)
        took_s, spent = (await self._cost()).since(before)
        self.idle = {name: value / took_s for name, value in spent.items()}
        self.say("In a second in which nobody buys:")
        self.say("\n".join(lines_of(dict(self.idle))))

    async def _bought(self, kind: str, jobs: int, kinds: Any) -> None:
        async def buy() -> int:
            await self.buyers.buy(jobs, self.at_once, kinds)
            return jobs

        await self._during(kind, buy)

    async def _polled(self, name: str, status: int) -> None:
        # Of many jobs: who asks for the same one at the same moment is answered by one look at it.
        window = Window()
        polls = [
            get(path, "" if status == 200 else f"If-None-Match: {etag}\r\n")
            for path, etag in self.buyers.over
        ]
        host = self.town.network.address(BALANCER)
        loop = ClosedLoop(window, PORT, polls, status, POLLERS * self.town.count, host)
        await loop.begin()
        async for _ in patiently("no poll is answered"):
            window.is_open = True
            if window.has_any:
                break

        async def poll() -> int:
            window.latencies_us.clear()
            await asyncio.sleep(POLLED_S)
            return len(window.latencies_us)

        await self._during(name, poll)
        window.is_over = True
        await loop.end()
        assert window.wrong is None, window.wrong

    async def _claimed(self) -> None:
        crowd = Crowd(self.town.cluster.url)
        await crowd.db.open()
        await crowd.fill(WAITING, PAYERS)
        await crowd.db.close()
        at_s = time.monotonic() + SOON_S
        programs = [
            self._claimers(host, number * COUNT, at_s)
            for number, host in enumerate(self.town.sellers)
        ]
        for program in programs:
            program.start()
        await asyncio.sleep(at_s - time.monotonic())

        async def claim() -> int:
            await asyncio.sleep(CLAIMED_S)
            return 0

        await self._during("claim", claim)
        told = []
        for program in programs:
            async for _ in patiently("claimers never end"):
                if program.has_ended:
                    break
            told.append(json.loads(program.said.splitlines()[-1]))
        _, took_s, spent = self.runs["claim"]
        count = int(sum(one["count"] for one in told))
        # Those who claim are the makers of a worker: so their time counts as a worker's.
        inside = sum(one["cpu_s"] for one in told)
        beside = spent.get(CPU + "beside", 0.0) - inside
        corrected = {CPU + "worker": spent.get(CPU + "worker", 0.0) + inside}
        self.runs["claim"] = count, took_s, {**spent, CPU + "beside": beside, **corrected}
        self._say_of("claim")

    def _claimers(self, host: str, first: int, at_s: float) -> Program:
        words = ["tests.runs.hosts_claimers", self.town.cluster.url, first, at_s, CLAIMED_S]
        command: list[str | Path] = [sys.executable, "-m", *map(str, words)]
        log = self.town.folder / f"{host}-claimers.log"
        path = {"PYTHONPATH": str(hosts_tools.ROOT)}
        return Program(self.town.network, host, "claimers", command, log, path)

    async def _during(self, kind: str, work: Callable[[], Awaitable[int]]) -> None:
        before, busy_s = await self._cost(), processors_busy_s()
        count = await work()
        all_s = processors_busy_s() - busy_s
        took_s, spent = (await self._cost()).since(before)
        self.runs[kind] = count, took_s, spent
        ours_s = sum(value for name, value in spent.items() if name.startswith(CPU))
        self.others[kind] = max(0.0, all_s - ours_s) / took_s
        self.say(
            f"{kind}: {took_s:.1f} s, {ours_s / took_s:.2f} processors busy with it,"
            f" {self.others[kind]:.2f} with what is not of the run"
        )
        if count:
            self._say_of(kind)

    def _say_of(self, kind: str) -> None:
        count, took_s, _ = self.runs[kind]
        self.say(f"{kind}: {count} in {took_s:.1f} s, {count / took_s:.1f} a second. Of each:")
        self.say("\n".join(lines_of(dict(self.model.each[kind]))))

    async def _cost(self) -> Cost:
        leader = await self.town.cluster.leader()
        return Cost.read(self.town.network, self.town.cluster.url, leader)

    # ------------------------------------------------------------------ what the model says

    def written(self) -> dict[str, Any]:
        """Return all of it as JSON has it: the model, and what was seen."""
        rates = {kind: count / took_s for kind, (count, took_s, _) in self.runs.items()}
        return {"model": self.model.told(), "rates": rates, "others": self.others}

    def compared(self, model: Model) -> list[str]:
        """Return what a model says to what was seen here, in lines."""
        sellers = self.town.count
        lines = []
        for kind in ("mixed", "poll", "unchanged poll", "claim"):
            mix = MIX if kind == "mixed" else {kind: 1}
            count, took_s, spent = self.runs[kind]
            rate = count / took_s
            left = (os.cpu_count() or 1) - self.others[kind]
            says, full = model.fullest(mix, sellers, left)
            lines.append(f"{kind}: of {left:.2f} processors the model says, {full} is full first")
            lines.append(_beside("  a second", rate, says))
            lines += [
                _beside(f"  {name}", _of(spent, name) / count, _of(told, name))
                for told in [model.with_idle(mix, sellers, rate)]
                for name in SHOWN
            ]
        return lines


SHOWN = (
    "CPU of all", "CPU of the hosts that sell", "CPU of leader", "CPU of standby",
    "commits", "statements", "bytes of Postgres's log", "bytes sent by leader",
)  # fmt: skip
_SUMS: Mapping[str, tuple[str, ...]] = {
    "CPU of the hosts that sell": tuple(CPU + side for side in (*OF_A_SELLER, "painter", "beside"))
}


def _of(spent: Spent, name: str) -> float:
    if name == "CPU of all":
        return sum(value for each, value in spent.items() if each.startswith(CPU))
    return sum(spent.get(each, 0.0) for each in _SUMS.get(name, (name,)))


def _beside(name: str, seen: float, says: float) -> str:
    off = f"{(says / seen - 1) * 100:+.0f} %" if seen else "-"
    return f"{name:32} seen {seen:12.4f}   model {says:12.4f}   {off}"
