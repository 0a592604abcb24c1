"""Ends the real process at a named place, starts it again, and audits what has become of it all.

`python -m tests.runs.crash_run` (scripts/crash) does it at every place on every rail, and prints
what was named, crossed and survived.
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy
from rich.console import Console
from rich.table import Table

from tests.runs import crash_places
from tests.runs.crash_buyer import Buyer, Died
from tests.runs.crash_crossings import CROSSED, UNOPENED, Crossing
from tests.runs.crash_scenarios import SCENARIOS
from tests.runs.crash_server import KILLED, ForkedServer
from tests.runs.crash_world import Books, LnbitsSide, Side, StubSide, audit
from tests.runs.own_postgres import own_postgres
from tests.world.lnbits_server import LnbitsServer
from tests.world.patience import PATIENCE_S

AT_ONCE = 8
ROOT = Path(__file__).parents[2]

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Case:
    """One death: where, at which passing of which scenario, on which rail."""

    place: str
    crossing: Crossing
    rail: str

    @property
    def id(self) -> str:
        """A name for a report."""
        return f"{self.rail}: {self.place}#{self.crossing.nth} ({self.crossing.scenario})"


@dataclass(frozen=True)
class Report:
    """What came of a case; nothing wrong is survived."""

    case: Case
    died: bool
    wrong: tuple[str, ...]
    took_s: float

    @property
    def survived(self) -> bool:
        """Say whether it died where it should, and nothing was lost."""
        return self.died and not self.wrong


class Databases:
    """Empty, migrated databases, one a case."""

    def __init__(self, template_url: str) -> None:
        self._template = sqlalchemy.make_url(template_url)
        self._one_at_a_time = asyncio.Lock()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[str]:
        """Give the URL of a database for as long as the block lasts."""
        name = f"crash_{next(_numbers)}"
        await self._do(
            f"CREATE DATABASE {name} TEMPLATE {self._template.database} STRATEGY FILE_COPY"
        )
        try:
            yield self._template.set(database=name).render_as_string(hide_password=False)
        finally:
            await self._do(f"DROP DATABASE {name} WITH (FORCE)")

    async def _do(self, statement: str) -> None:
        admin = self._template.set(database="postgres").render_as_string(hide_password=False)
        async with (
            self._one_at_a_time,
            await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection,
        ):
            await connection.execute(statement.encode())


def cases(rail: str, *, thorough: bool) -> list[Case]:
    """Return a case for each place; `thorough`, for each crossing of each place."""
    found = []
    for name, moments in crash_places.names().items():
        for crossing in CROSSED.get(name, ())[: None if thorough else 1]:
            if rail not in SCENARIOS[crossing.scenario].rails:
                continue
            found += [Case(f"{name}: {moment}", crossing, rail) for moment in moments]
    return found


async def run_case(case: Case, databases: Databases, lnbits: LnbitsServer | None) -> Report:
    """Kill, start again, bring to the end, audit."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="boltwork-crash-") as folder:
        async with databases.one() as url:
            server = ForkedServer(Path(folder), url, {})
            side: Side = StubSide(server.folder, server.clock)
            if case.rail == "lnbits":
                assert lnbits is not None
                side = await LnbitsSide.on(lnbits)
            scenario = SCENARIOS[case.crossing.scenario]
            server.environment.update(side.environment() | scenario.environment)
            buyer = Buyer(side, Books(url), server.clock, server.command)
            died, wrong = False, []
            try:
                async with buyer.wallet.running(), buyer.receiver.running():
                    died = await _die(case, server, buyer)
                    if died:
                        wrong = await _go_on(case, server, buyer)
            except Exception as error:
                frames = traceback.extract_tb(error.__traceback__)
                ours = [
                    f"{Path(f.filename).name}:{f.lineno}" for f in frames if _is_ours(f.filename)
                ]
                told = f"{type(error).__name__}: {error} ({' < '.join(reversed(ours))})"
                wrong.append(f"{told}; log: {server.log[-600:]}")
            finally:
                await server.kill()
                await buyer.close()
                await buyer.books.close()
                await side.close()
    return Report(case, died, tuple(wrong), time.monotonic() - began_s)


def _is_ours(file: str) -> bool:
    return Path(file).is_relative_to(ROOT) and ".venv" not in file


async def _die(case: Case, server: ForkedServer, buyer: Buyer) -> bool:
    scenario = SCENARIOS[case.crossing.scenario]
    if scenario.first:
        assert await _ends_at(scenario.first, server, buyer, scenario.story)
        if scenario.meanwhile is not None:
            await scenario.meanwhile(buyer)
    where = f"{case.place}#{case.crossing.nth}"
    return await _ends_at(where, server, buyer, scenario.story)


async def _ends_at(
    where: str, server: ForkedServer, buyer: Buyer, story: Callable[[Buyer], Awaitable[None]]
) -> bool:
    """Tell the story to a server that dies there; say whether it did."""
    await server.start(crash_at=where)
    buyer.url = server.url
    with suppress(Died):
        await story(buyer)
    code = await server.exit_code(PATIENCE_S)  # a loop may pass it by itself
    assert code in (None, KILLED), f"it ended by itself with {code}"
    await server.kill()
    buyer.has_outlived |= code == KILLED
    return code == KILLED


async def _go_on(case: Case, server: ForkedServer, buyer: Buyer) -> list[str]:
    await server.start()
    buyer.url = server.url
    scenario = SCENARIOS[case.crossing.scenario]
    await scenario.story(buyer)
    due = await buyer.books.due()
    until_s = time.monotonic() + PATIENCE_S
    while due and time.monotonic() < until_s:
        await asyncio.sleep(0.1)
        due = await buyer.books.due()
    wrong = await audit(buyer.books, buyer.side, pay_may_rest=scenario.rests)
    if due:
        wrong.append(f"promises are due, and nobody keeps them: {due}; log: {server.log[-600:]}")
    if (code := await server.exit_code(0)) is not None:
        wrong.append(f"the second server ended with {code}")
    return wrong


async def run_all(
    wanted: Iterable[Case],
    databases: Databases,
    lnbits: LnbitsServer | None,
    told: Callable[[Report], None] = lambda _: None,
) -> dict[Case, Report]:
    """Run cases, several at once."""
    gate, reports = asyncio.Semaphore(AT_ONCE), {}

    async def one(case: Case) -> None:
        async with gate:
            reports[case] = await run_case(case, databases, lnbits)
            told(reports[case])

    async with asyncio.TaskGroup() as group:
        for case in wanted:
            group.create_task(one(case))
    return reports


def table_of(reports: Iterable[Report]) -> Table:
    """Return a line for each place: how often it was crossed on each rail, and survived."""
    table = Table("place", "stub", "lnbits", "survived", title="Crash points")
    by_place: dict[str, list[Report]] = {}
    for report in reports:
        by_place.setdefault(report.case.place, []).append(report)
    for place, of_place in sorted(by_place.items()):
        counts = [sum(r.died and r.case.rail == rail for r in of_place) for rail in RAILS]
        survived = sum(report.survived for report in of_place)
        table.add_row(place, *(str(n) for n in counts), f"{survived} of {len(of_place)}")
    return table


RAILS = ("stub", "lnbits")


async def _main(options: argparse.Namespace, template_url: str) -> int:
    began_s, console = time.monotonic(), Console(highlight=False)
    wanted = [
        case
        for rail in options.rail or RAILS
        for case in cases(rail, thorough=not options.once)
        if options.only in case.id
    ]

    def told(report: Report) -> None:
        mark = "ok " if report.survived else "BAD"
        console.print(f"{mark} {report.took_s:5.1f} s  {report.case.id}", markup=False)
        for sentence in report.wrong or (() if report.died else ("it was never passed",)):
            console.print(f"      {sentence}", markup=False)

    databases = Databases(template_url)
    if any(case.rail == "lnbits" for case in wanted):
        async with LnbitsServer.running() as lnbits:
            reports = await run_all(wanted, databases, lnbits, told)
    else:
        reports = await run_all(wanted, databases, None, told)
    console.print(table_of(reports.values()))
    nameless = [*crash_places.nameless()]
    known = {*CROSSED, *UNOPENED}
    nameless += [f"no scenario passes {n}" for n in crash_places.names() if n not in known]
    for sentence in nameless:
        console.print(sentence, markup=False)
    survived = sum(report.survived for report in reports.values())
    console.print(
        f"{len(crash_places.places())} places named, {len(reports)} deaths,"
        f" {survived} survived, {time.monotonic() - began_s:.0f} s"
    )
    return 0 if survived == len(reports) and not nameless else 1


def main() -> int:
    """Run what the command line asks for, on a Postgres of its own."""
    parser = argparse.ArgumentParser(prog="scripts/crash", description=__doc__)
    parser.add_argument("--rail", action="append", choices=RAILS, help="only this rail")
    parser.add_argument("--once", action="store_true", help="one crossing of each place")
    parser.add_argument("--only", default="", help="only cases whose name holds this")
    options = parser.parse_args()
    with own_postgres("crash") as (url, _):
        return asyncio.run(_main(options, url))


if __name__ == "__main__":
    sys.exit(main())
