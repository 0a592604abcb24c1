"""The whole contract against a running server, by schemathesis: all its checks, and our own.

`python -m tests.runs.fuzz` (scripts/fuzz) plays round after round, each with the next seed, until
so many cases were sent, by turns with nothing, with a session's macaroon and with an account. Exits
with 1 and how to see it again when any answer is outside of the contract.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from tests.runs.crash_run import Databases
from tests.runs.fuzz_rules import Rules, Who
from tests.runs.fuzz_world import World, world_on
from tests.runs.own_postgres import own_postgres

FIRST = ("examples", "coverage")  # go through the contract once: again, they would find the same
MORE = ("fuzzing", "stateful")
KNOWN_VALUES = 0.6  # how often a parameter is something that is really there


@dataclass
class Report:
    """What was sent, and what was wrong with the answers."""

    cases: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many cases were sent."""
        return sum(self.cases.values())

    def add(self, who: str, phase: str, recorder: ScenarioRecorder) -> None:
        """Count what a scenario has sent, and keep the first of each failure."""
        for case_id, node in recorder.cases.items():
            answer = recorder.interactions.get(case_id)
            if answer is None:
                continue  # it was made and not sent
            operation = node.value.operation.label
            self.cases[who, phase, operation] += 1
            told = ""
            if answer.response is not None:
                told = f"    {answer.response.status_code} {answer.response.content[:500]!r}"
                self.answers[operation, answer.response.status_code] += 1
            for check in recorder.checks.get(case_id, ()):
                if check.status == Status.FAILURE and check.failure_info is not None:
                    failure, sample = check.failure_info.failure, check.failure_info.code_sample
                    said = f"{failure.title}\n{failure.message}\n\n    {sample}\n\n{told}"
                    self.wrong.setdefault((check.name, operation, failure.title), said)

    def table(self) -> Iterable[str]:
        """Yield a line for each operation: how many cases of it each phase has sent."""
        columns = [*FIRST, *MORE]
        yield f"{'operation':60} {' '.join(f'{name:>9}' for name in columns)}  answers"
        for operation in sorted({key[2] for key in self.cases}):
            counts = [
                sum(n for key, n in self.cases.items() if key[1:] == (phase, operation))
                for phase in columns
            ]
            told = {
                code: n for (name, code), n in sorted(self.answers.items()) if name == operation
            }
            answers = " ".join(f"{code}:{n}" for code, n in told.items())
            yield f"{operation:60} {' '.join(f'{n:9}' for n in counts)}  {answers}"


@dataclass(frozen=True)
class Round:
    """One run of the engine: what it is seeded with, and how much it tries."""

    seed: int
    phases: tuple[str, ...]
    examples: int
    who: Who = Who.VISITOR


def play(world: World, played: Round, report: Report) -> None:
    """Send one round's cases, and add what came of them to the report."""
    schema = schemathesis.openapi.from_dict(world.document(), config=_config(world, played))
    Rules(world, played.who).teach(schema)
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            report.add(played.who, event.phase.value, event.recorder)
        elif isinstance(event, events.NonFatalError):
            said = f"{event.info.title}\n{event.info.message}"
            report.wrong.setdefault(("engine", event.label, event.info.title), said)
        elif isinstance(event, events.FatalError):
            raise event.exception


def _config(world: World, played: Round) -> Any:
    phases: dict[str, Any] = {name: {"enabled": name in played.phases} for name in (*FIRST, *MORE)}
    for name in (*FIRST, "fuzzing"):
        # What was answered before would be drawn from too: the engine then takes its own test for
        # a flaky one, and ends it early without a word.
        phases[name]["extra-data-sources"] = {"responses": False}
    dictionaries: dict[str, Any] = {}
    operations: list[dict[str, Any]] = [
        {"include-path-regex": "/events$", "max-stream-events": 2, "request-timeout": 2}
    ]
    for addresses, values in world.parameters().items():
        bound = {}
        for name, each in values.items():
            dictionaries[f"{addresses} {name}"] = {"values": each}
            bound[name] = {"dictionary": f"{addresses} {name}", "probability": KNOWN_VALUES}
        operations.append({"include-path-regex": addresses, "parameters": bound})
    return schemathesis.Config.from_dict(
        {
            "seed": played.seed,
            "base-url": world.url,
            "cache": {"enabled": False},
            "suppress-health-check": ["all"],
            "continue-on-failure": True,
            "request-timeout": 30,
            "dictionaries": dictionaries,
            "operations": operations,
            "generation": {
                "max-examples": played.examples, "database": "none", "no-shrink": True,
            },
            "phases": phases,
            "checks": {"enabled": True},
            "output": {"sanitization": {"enabled": False}},
        }
    )  # fmt: skip


async def rounds(template_url: str, seed: int, cases: int, examples: int) -> Report:
    """Play until so many cases were sent, or something is wrong; then look into the books."""
    report, number = Report(), 0
    async with world_on(Databases(template_url)) as world:
        while report.total < cases and not report.wrong:
            whose = tuple(Who)
            phases = (*FIRST, *MORE) if number < len(whose) else MORE
            who = whose[number % len(whose)]
            await _timed(world, Round(seed + number, phases, examples, who), report)
            number += 1
        for finding in await world.findings():
            report.wrong["books", "", finding] = finding
    return report


async def limited_round(template_url: str, seed: int, examples: int) -> Report:
    """Play one round on a server that soon answers 429: that too is in the contract."""
    report = Report()
    async with world_on(Databases(template_url), limited=True) as world:
        await _timed(world, Round(seed, ("fuzzing",), examples), report)
    if not any(code == 429 for _, code in report.answers):
        report.wrong["limits", "", ""] = "nothing was limited"
    return report


async def _timed(world: World, played: Round, report: Report) -> None:
    await world.furnish()
    began_s, before = time.monotonic(), report.total
    await asyncio.to_thread(play, world, played, report)
    sent, took_s = report.total - before, time.monotonic() - began_s
    print(f"seed {played.seed}, {played.who}: {sent} cases, {took_s:.0f} s", flush=True)
    if report.wrong:
        faults = [line for line in world.server.log.splitlines() if '"fault"' in line]
        report.wrong.update({("fault", "", line): line for line in faults[:20]})


async def _main(template_url: str, seed: int, cases: int, examples: int) -> list[Report]:
    reports = [await rounds(template_url, seed, cases, examples)]
    if not reports[0].wrong:
        reports.append(await limited_round(template_url, seed, 20))
    return reports


def main() -> int:
    """Read the command line, and play on a Postgres of its own."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="how many to send, at least")
    parser.add_argument("--seed", type=int, default=None, help="another seed, other cases")
    parser.add_argument("--examples", type=int, default=100, help="cases of an operation a round")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else int(time.time())
    with own_postgres("fuzz") as (url, _):
        reports = asyncio.run(_main(url, seed, asked.cases, asked.examples))
    wrong = False
    for report in reports:
        print("", *report.table(), sep="\n")
        print(f"{report.total} cases from seed {seed}, {len(report.wrong)} kinds of failures")
        for (check, operation, _), said in report.wrong.items():
            print(f"\n== {check} {operation}: {said}")
        wrong = wrong or bool(report.wrong)
    if wrong:
        print(f"\nTo see it again: scripts/fuzz --seed {seed} --cases {asked.cases}", end=" ")
        print(f"--examples {asked.examples}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
