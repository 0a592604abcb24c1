"""The embedded painter, `scene-1`: a small painter of scenes from words, not a diffusion model.

It paints in processes of its own, which are started with the first wish, bounded by the system,
ended when nothing was asked of them for a while, and killed when they are late. Needs no key, no
graphics card and no network.
"""

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from app.ports import Declined, Made, Step, Stepped, Undoable, Wanted, unwatched_step

MODEL: Final = "scene-1"
LEAST_SIDE, MOST_SIDE = 256, 2_048
MOST_FILM_SIDE: Final = 1_280
LEAST_FILM_MS, MOST_FILM_MS = 2_000, 15_000
MOST_STEPS: Final = 50
START_DEADLINE_S: Final = 60
STOP_DEADLINE_S: Final = 3
IDLE_S: Final = 300
NICE: Final = 5
MOST_BYTES: Final = 64 * 1024 * 1024  # of one answer: more is not a picture of ours
MOST_PROMPT: Final = 4_000  # characters that are sent on: it reads fewer
PARTS: Final = ("av", "numpy", "PIL", "resvg_py", "skia")
INSTALL: Final = "The embedded painter is not whole: install Boltwork with the extra `server`"
SYSTEM: Final = ", and of the system libegl1 and libgl1 (in Debian's names)."
UNAVAILABLE: Final = "The painter is not available."

NOTHING: Final = Declined("There is nothing to paint in the prompt.")


class PainterBroke(Exception):
    """The process died, was late, or ran out of what it may use. It may be tried again."""


class _Missing(Exception):
    """Something isn't installed that it paints with."""


@dataclass(slots=True)
class _Easel:
    """One place to paint at; its process is there while it is used."""

    process: Process | None = None
    leaving: asyncio.TimerHandle | None = None


class ScenePainter:
    """Paints pictures and films, as many side by side as there are easels."""

    name = MODEL

    def __init__(
        self, *, at_once: int = 1, memory_mb: int = 3_072, deadline_s: float = 120,
        idle_s: float = IDLE_S, parts: Sequence[str] = PARTS,
    ) -> None:  # fmt: skip
        self.at_once = at_once
        self._memory_mb, self._deadline_s, self._idle_s = memory_mb, deadline_s, idle_s
        self._parts = parts
        self._easels = [_Easel() for _ in range(at_once)]
        self._free: asyncio.LifoQueue[_Easel] = asyncio.LifoQueue()  # the warm one first
        for easel in self._easels:
            self._free.put_nowait(easel)
        self._closed = False

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """See Executor. Waits for a free easel, and then no longer than the deadline."""
        refusal = refused(wanted) or await self.healthy()
        if refusal is not None:
            return refusal
        easel = await self._free.get()
        try:
            if easel.leaving is not None:
                easel.leaving.cancel()
            # A long film is many pictures: each five seconds of it have a deadline of their own.
            parts = max(1, wanted.duration_ms / 5_000)
            async with asyncio.timeout(self._deadline_s * parts):
                return await self._paint(easel, wanted, stepped)
        except _Missing as missing:
            return Undoable(UNAVAILABLE, f"{INSTALL}{SYSTEM} Missing: {missing}")
        except TimeoutError:
            await _end(easel, at_once=True)
            raise PainterBroke("the painter was late") from None
        except BaseException:
            # Whatever it was doing: the next wish must not be answered with this one's picture.
            await _end(easel, at_once=True)
            raise
        finally:
            if easel.process is not None:
                loop = asyncio.get_running_loop()
                easel.leaving = loop.call_later(self._idle_s, self._leave, easel)
            self._free.put_nowait(easel)

    async def healthy(self) -> Undoable | None:
        """Return None when all that it paints with is installed."""
        if self._closed:
            return Undoable("The painter was closed.")
        if any(find_spec(part) is None for part in self._parts):
            return Undoable(UNAVAILABLE, f"{INSTALL}.")
        return None

    async def close(self) -> None:
        """End the processes. It paints nothing afterwards."""
        self._closed = True
        for easel in self._easels:
            if easel.leaving is not None:
                easel.leaving.cancel()
            await _end(easel)

    @property
    def processes(self) -> list[int]:
        """The ids of the processes that are there now."""
        return [easel.process.pid for easel in self._easels if easel.process is not None]

    def _leave(self, easel: _Easel) -> None:
        """End a process that nothing was asked of for a while: it ends when its input does."""
        process, easel.process = easel.process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()

    async def _paint(self, easel: _Easel, wanted: Wanted, stepped: Stepped) -> Made:
        if easel.process is None or easel.process.returncode is not None:
            easel.process = await self._start()
        process = easel.process
        assert process.stdin is not None
        asked = asdict(wanted) | {
            "prompt": wanted.prompt[:MOST_PROMPT],
            "negative_prompt": wanted.negative_prompt[:MOST_PROMPT],
            "width": _side(wanted, wanted.width),
            "height": _side(wanted, wanted.height),
        }
        for name in ("reference", "inputs", "files"):
            del asked[name]
        try:
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            await process.stdin.drain()
            while True:
                said, data = await _heard(process)
                if "step" in said:
                    stepped(Step(said["step"], said["of"], data))
                elif "made" in said:
                    return Made(
                        data, said["made"], asked["width"], asked["height"], wanted.duration_ms
                    )
                else:
                    raise PainterBroke(f"the painter failed: {said.get('failed')}")
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise PainterBroke("the painter's process died") from error

    async def _start(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "app.executors.scene.easel",
            stdin=PIPE, stdout=PIPE, stderr=DEVNULL,
            env=_environment(),
            start_new_session=True,  # a Ctrl-C in the terminal is for us, who then let it finish
        )  # fmt: skip
        bounds = {"memory_mb": self._memory_mb, "nice": NICE, "parts": list(self._parts)}
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                assert process.stdin is not None
                process.stdin.write(json.dumps(bounds).encode() + b"\n")
                said, _ = await _heard(process)
                if "missing" in said:
                    raise _Missing(said["missing"])
        except BaseException as error:
            await _end(_Easel(process), at_once=True)
            if isinstance(error, TimeoutError | OSError | asyncio.IncompleteReadError | ValueError):
                raise PainterBroke("the painter does not start") from error
            raise
        return process


def refused(wanted: Wanted) -> Declined | Undoable | None:
    """Return why something isn't painted, or None when it can be."""
    film = wanted.duration_ms > 0
    most = MOST_FILM_SIDE if film else MOST_SIDE
    if not all(LEAST_SIDE <= side <= most for side in (wanted.width, wanted.height)):
        return Undoable(f"{MODEL} makes sides of {LEAST_SIDE} to {most} pixels.")
    if film and not LEAST_FILM_MS <= wanted.duration_ms <= MOST_FILM_MS:
        least, longest = LEAST_FILM_MS // 1000, MOST_FILM_MS // 1000
        return Undoable(f"{MODEL} makes films of {least} to {longest} seconds.")
    if not 0 <= wanted.steps <= MOST_STEPS:
        return Undoable(f"{MODEL} paints in at most {MOST_STEPS} steps.")
    if wanted.reference:
        return Undoable(f"{MODEL} paints from words alone, and takes no picture.")
    # A sign of any script counts: what it doesn't know becomes a pattern of the prompt's seed.
    if not any(c.isalnum() or ord(c) > 0x2190 for c in wanted.prompt):
        return NOTHING
    return None


def _side(wanted: Wanted, side: int) -> int:
    """Return a side as it is made: those of a film are even."""
    return side - side % 2 if wanted.duration_ms else side


async def _heard(process: Process) -> tuple[dict[str, Any], bytes]:
    """Return one line of a process, and the bytes that belong to it."""
    assert process.stdout is not None
    said = json.loads(await process.stdout.readuntil(b"\n"))
    size = said["bytes"]
    if not 0 <= size <= MOST_BYTES:
        raise ValueError("more bytes than a picture has")
    return said, await process.stdout.readexactly(size)


async def _end(easel: _Easel, *, at_once: bool = False) -> None:
    """End an easel's process: by closing its input, or by killing it."""
    process, easel.process = easel.process, None
    if process is None:
        return
    if process.stdin is not None:
        process.stdin.close()
    if not at_once:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_DEADLINE_S):
                await process.wait()
                return
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _environment() -> dict[str, str]:
    """Return what the process needs of our environment: nothing that could hold a secret."""
    kept = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT")
    own = {name: os.environ[name] for name in kept if name in os.environ}
    here = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH", ""))))
    # One thread each: more would only wait for each other, and each takes address space.
    return own | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
