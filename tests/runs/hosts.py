"""Two hosts sell over a Postgres of two hosts, while one host after the other is lost.

`scripts/hosts` builds them in network namespaces, with Patroni, etcd, a balancer and a bucket.
While buyers buy, a host that sells is cut off, one is killed, one is drained and begun anew, and
the link of the leading Postgres is cut. Then ledger, rail and files are compared: nothing is lost,
nothing paid twice.
"""

import argparse
import asyncio
import hashlib
import json
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.runs import hosts_tools
from tests.runs.crash_server import MovableClock
from tests.runs.crash_world import Books, LnbitsSide, Side, StubSide, audit
from tests.runs.hosts_buyers import Buyers
from tests.runs.hosts_model import Model
from tests.runs.hosts_network import Network
from tests.runs.hosts_rates import Rates
from tests.runs.hosts_times import Around, Times
from tests.runs.hosts_town import CLIENT, HOSTS, SELLERS, Town, shared
from tests.world.lnbits_server import LnbitsServer, installed_python
from tests.world.patience import patiently

AT_ONCE = 12
GONE_S = 30.0  # how long somebody is away
CALM_S = 40.0  # how long buyers are watched after all is mended
BROUGHT = (
    "SELECT sha256 FROM artifact WHERE id IN (SELECT artifact FROM item WHERE state = 'completed')"
)


@dataclass
class Run:
    """A town, its buyers, and what was seen of each fault."""

    town: Town
    buyers: Buyers
    seen: list[Around] = field(default_factory=list)

    async def breaks(self, jobs: int, faults: list[str]) -> None:
        """Do one fault after the other, spread over the jobs."""
        for number, fault in enumerate(faults, start=1):
            await self.buyers.until_done(jobs * number // (len(faults) + 2))
            if self.buyers.is_late:
                break
            at_s = time.monotonic()
            say(f"{self.buyers.done.total()} jobs are done. {fault}:")
            await FAULTS[fault](self)
            mended_s = time.monotonic()
            await asyncio.sleep(CALM_S)
            around = self.buyers.times.around
            self.seen.append(around(fault, at_s, mended_s, time.monotonic()))
            say(f"  {self.seen[-1]}")
        self.buyers.enough.set()

    async def cut(self) -> None:
        """Cut a host that sells off from everybody, and mend its link."""
        self.town.network.cut(SELLERS[1])
        await asyncio.sleep(GONE_S)
        self.town.network.join(SELLERS[1])

    async def kill(self) -> None:
        """Lose all of a host that sells, and start it anew."""
        self.town.sellers[SELLERS[0]].kill()
        await asyncio.sleep(GONE_S)
        self.town.sellers[SELLERS[0]].start()
        await self.town.sellers[SELLERS[0]].ready()

    async def drain(self) -> None:
        """Upgrade a host: it ends what is under way, the tables are made current, and it starts.

        The other host goes on as it was, with new tables.
        """
        seller = self.town.sellers[SELLERS[1]]
        assert await seller.drained() == [0, 0], seller.server.said + seller.worker.said
        await self.town.upgraded(SELLERS[1])

    async def leader(self) -> None:
        """Cut the host of the leading Postgres off; mend its link, and wait until it follows."""
        before = await self.town.cluster.leader()
        self.town.network.cut(before)
        async for look in patiently("nobody else leads", pause_s=0.2):
            look.saw = now = await self.town.cluster.leader()
            if now != before:
                break
        say(f"  {now} leads in place of {before}.")
        await asyncio.sleep(GONE_S)
        self.town.network.join(before)
        await self.town.cluster.whole()
        say(f"  {before} follows.")


FAULTS: dict[str, Callable[[Run], Awaitable[None]]] = {
    "cut": Run.cut,
    "kill": Run.kill,
    "drain": Run.drain,
    "leader": Run.leader,
}


async def wrong_in(town: Town, buyers: Buyers, side: Side) -> list[str]:
    """Wait until nothing is due; return what is wrong with the books, the rail and the files."""
    books = Books(town.cluster.url)
    try:
        async for look in patiently("something is always due", pause_s=0.5):
            look.saw = due = await books.due(fetching=True)
            if not due:
                break
        wrong = await audit(books, side)
        brought = Counter(str(row["sha256"]) for row in await books.ask(BROUGHT))
        [rows] = await books.ask("SELECT count(*) AS n FROM artifact")
    finally:
        await books.close()
    kept = Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in files_in(town.bucket))
    say(f"{brought.total()} files were brought, {buyers.files.total()} downloaded,"
        f" {kept.total()} lie in the bucket, {rows['n']} have a row.")  # fmt: skip
    if brought != buyers.files:
        wrong.append(f"downloaded, not brought: {buyers.files - brought}")
        wrong.append(f"brought, not downloaded: {brought - buyers.files}")
    if lost := brought - kept:
        wrong.append(f"brought, and not in the bucket: {lost}")
    return wrong


@asynccontextmanager
async def rail_of(name: str, folder: Path) -> AsyncIterator[Side]:
    """Give the rail that is asked for: a real LNbits on the host of the buyers, or the stub."""
    shared(folder).mkdir()
    if name == "stub":
        side: Side = StubSide(shared(folder), MovableClock(folder / "clock"))
        yield side
        await side.close()
        return
    async with LnbitsServer.running() as lnbits:
        side = await LnbitsSide.on(lnbits)
        yield side
        await side.close()


def files_in(folder: Path) -> list[Path]:
    """Return the files of a bucket, without those that its server keeps for itself."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in found if not path.relative_to(folder).parts[0].startswith(".")]


async def sell(network: Network, folder: Path, options: argparse.Namespace) -> int:
    """Build the town, and have buyers buy while it breaks."""
    async with rail_of(options.rail, folder) as side:
        before = options.before and hosts_tools.tree_of(options.before, folder / "before")
        town = Town(network, folder, options.hosts, side.environment(), before)
        await town.start()
        say(f"{options.hosts} hosts sell. Logs are in {folder}.")
        return await (measured if options.rates else bought)(town, side, options)


async def bought(town: Town, side: Side, options: argparse.Namespace) -> int:
    """Have buyers buy while it breaks, and say what came of it."""
    began_s = time.monotonic()
    buyers = Buyers(town.url, side, Times(), until_s=began_s + options.most_s)
    run = Run(town, buyers)
    faults = [fault for fault in options.faults.split(",") if fault]
    buying = asyncio.create_task(buyers.buy(options.jobs, options.at_once))
    breaking = asyncio.create_task(run.breaks(options.jobs, faults))
    await asyncio.wait({buying, breaking}, return_when=asyncio.FIRST_EXCEPTION)
    for task in (buying, breaking):
        if task.done():
            task.result()
    await asyncio.gather(buying, breaking)
    took_s = time.monotonic() - began_s
    await buyers.close()
    wrong = await wrong_in(town, buyers, side)
    return told(run, took_s, wrong)


async def measured(town: Town, side: Side, options: argparse.Namespace) -> int:
    """Measure what it sells in a second, and what that costs; have a model say the same."""
    buyers, began_s = Buyers(town.url, side, Times()), time.monotonic()
    rates = Rates(town, buyers, options.jobs, options.at_once, say)
    wrong = await rates.measure(lambda: wrong_in(town, buyers, side))
    await buyers.close()
    (town.folder / "rates.json").write_text(json.dumps(rates.written(), indent=2))
    models = {"itself": rates.model}
    if options.like:
        models["another run"] = options.like
    for name, model in models.items():
        say(f"The model of {name}:")
        say("\n".join(rates.compared(model)))
    return told(Run(town, buyers), time.monotonic() - began_s, wrong)


def told(run: Run, took_s: float, wrong: list[str]) -> int:
    """Say what came of it; 1 where anything is wrong."""
    done = run.buyers.done
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(done.items()))
    say(f"{done.total()} jobs in {took_s:.0f} s ({done.total() / took_s:.2f}/s): {kinds}")
    for around in run.seen:
        say(f"  {around}")
    for sentence in wrong:
        say(f"WRONG: {sentence[:2_000]}")
    say("The books, the rail and the files agree." if not wrong else "They do not agree.")
    return 1 if wrong else 0


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="scripts/hosts", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="buyers")
    parser.add_argument("--faults", default=",".join(FAULTS), help="in this order; '' for none")
    parser.add_argument("--rail", choices=("stub", "lnbits"), default="stub")
    parser.add_argument("--hosts", type=int, choices=(1, 2), default=2, help="that sell")
    parser.add_argument("--most-s", type=float, default=math.inf, help="buy no longer than this")
    parser.add_argument("--before", help="a revision that all begin with: drain upgrades from it")
    parser.add_argument("--rates", action="store_true", help="measure, and have nothing break")
    parser.add_argument(
        "--like", type=_model, help="rates.json of another run: what its model says of this one"
    )
    parser.add_argument("--folder", help="for all that it writes, its logs too; it is kept")
    options = parser.parse_args()
    if options.hosts == 1 and options.faults and not options.rates:
        parser.error("what befalls one host leaves nobody who sells: --faults ''")
    network = Network(f"bw{os.getpid()}", HOSTS)
    hosts_tools.install()
    if options.rail == "lnbits":
        installed_python()
    with folder_of(options.folder) as folder, network.running():
        folder.chmod(0o711)  # Postgres runs as another user, and must get in
        network.enter(CLIENT)
        return asyncio.run(sell(network, folder, options))


def _model(name: str) -> Model:
    return Model(**json.loads(Path(name).read_text())["model"])


@contextmanager
def folder_of(name: str | None) -> Iterator[Path]:
    """Give the folder of a run, made for it, and removed afterwards where nobody named it."""
    if name is not None:
        kept = Path(name).absolute()
        kept.mkdir()
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="boltwork-hosts-") as made:
        yield Path(made)


if __name__ == "__main__":
    sys.exit(main())
