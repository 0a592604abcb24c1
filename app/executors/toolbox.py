"""The tools that run on this machine, each in a process of its own with hard limits.

They need no key, no graphics card and no network.
"""

import asyncio
import json
from collections.abc import Collection
from importlib.util import find_spec
from typing import Any, Final

from app.confining import MIB, Closed, Confining, Died, Late, Overdone
from app.executors.tools.shop import MOST_INPUT, RUNS, VISION, VISION_NEEDS, packed
from app.ports import Declined, Made, Stepped, Undoable, Wanted, unwatched_step

NAME: Final = "toolbox"
VISION_NAME: Final = "vision"  # of those that need the extra `tools`
SHOP: Final = "app.executors.tools.shop"
# One thread each: more would only wait for each other, and each takes address space.
THREADS: Final = tuple(
    (name, "1") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_THREAD_LIMIT")
)
MOST_ANSWER: Final = 96 * MIB
TOO_MUCH: Final = Declined("It takes more time or memory than is given to one run. Ask for less.")
TOO_LARGE: Final = Declined("Its pictures are too large for one run. Send smaller ones.")


class ToolBroke(Exception):
    """The process died, or did not answer. It may be tried again."""


class Toolbox:
    """An executor of tools. `tools`: those that are there, by their names in the catalogue."""

    def __init__(
        self, tools: Collection[str] = tuple(RUNS), *, name: str = NAME, at_once: int = 2
    ) -> None:
        self.name, self.at_once, self._tools = name, at_once, frozenset(tools)
        self._shop = Confining(SHOP, THREADS)
        self._room = asyncio.Semaphore(at_once)
        self._closed = False

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """See Executor. There is one answer, and no step before it."""
        if wanted.model not in self._tools:
            return Undoable(f"{wanted.model} isn't made here.")
        piece = packed(json.dumps(dict(wanted.inputs)).encode(), dict(wanted.files))
        if len(piece) > MOST_INPUT:
            return TOO_LARGE
        means = (RUNS | VISION)[wanted.model][2]
        async with self._room:
            try:
                told, data = await self._shop.ask(wanted.model, means, piece, MOST_ANSWER)
            except Overdone:
                return TOO_MUCH
            except (Closed, Late, Died) as error:
                raise ToolBroke(type(error).__name__) from None
        return _made(told, data)

    async def healthy(self) -> Undoable | None:
        """See Executor."""
        return Undoable("The tools were closed.") if self._closed else None

    async def close(self) -> None:
        """See Executor."""
        self._closed = True
        await self._shop.close()


def make_vision() -> Toolbox | None:
    """Return the tools of the extra `tools`, where it is installed."""
    return None if missing() else Toolbox(tuple(VISION), name=VISION_NAME)


def missing() -> list[str]:
    """Return the modules that the extra `tools` brings and that aren't there. None is imported."""
    return [name for name in VISION_NEEDS if find_spec(name) is None]


def _made(told: dict[str, Any], data: bytes) -> Made | Declined:
    if "impossible" in told:
        return Declined(str(told["impossible"]))
    if "broke" in told:
        raise ToolBroke(told["broke"])
    sides = told["width"], told["height"]
    return Made(data, told["media_type"], *sides, told["duration_ms"])
