"""What the doctor says of who makes pictures and films: whether each of them answers."""

import asyncio

from app.adapters import make_executors
from app.commands.findings import Finding, ok, warn, wrong
from app.executors.toolbox import missing
from app.executors.tools.shop import VISION
from app.ports import Executor
from app.settings import Settings

PART = "makers"
PAINTER_MEND = "see `scene-1` in the README"


async def of_makers(settings: Settings) -> list[Finding]:
    """Ask each how it is, which costs nothing."""
    executors = make_executors(settings)
    try:
        return [*await asyncio.gather(*map(_of_one, executors)), *of_the_extra(missing())]
    finally:
        for executor in executors:
            await executor.close()


def of_the_extra(lacks: list[str]) -> list[Finding]:
    """Say which tools aren't sold, where the extra that they need isn't installed."""
    if not lacks:
        return []
    said = f"{', '.join(VISION)} aren't sold here: {', '.join(lacks)} can't be found"
    return [warn(PART, said, "install the extra, boltwork[tools], if you want to sell them")]


async def _of_one(executor: Executor) -> Finding:
    trouble = await executor.healthy()
    if trouble is None:
        return ok(PART, f"{executor.name} can be asked")
    return wrong(PART, f"{executor.name}: {trouble.reason}", trouble.mend or PAINTER_MEND)
