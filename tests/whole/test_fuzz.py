"""The whole contract on a running server, for a moment; `scripts/fuzz` is the long run."""

import asyncio

from tests.runs.crash_run import Databases
from tests.runs.fuzz import Report, Round, play
from tests.runs.fuzz_rules import Who
from tests.runs.fuzz_world import world_on

PHASES = ("examples", "fuzzing", "stateful")


async def test_no_answer_is_outside_of_the_contract(postgres: str) -> None:
    """Whatever is sent, right or wrong: no 5xx, and nothing that the contract does not promise."""
    report = Report()
    async with world_on(Databases(postgres)) as world:
        await world.furnish()
        await asyncio.to_thread(play, world, Round(1, PHASES, 2, Who.SESSION), report)
        assert await world.findings() == []
        log = world.server.log
    assert not report.wrong, "\n\n".join([*report.wrong.values(), log[-2000:]])
    assert len({operation for _, _, operation in report.cases}) > 30
