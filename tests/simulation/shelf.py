"""Where files lie in a world, and who encodes them anew: both are away when the weather says so.

The shelf survives every crash of a process. What was put there may not have been answered.
"""

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.ports import Made, NotNow, Recoded, Stepped, Undoable, Unfit, Wanted, unwatched_step
from app.trade.catalogue import PAINTER
from tests.simulation.clock import Clock
from tests.simulation.weather import Weather

Gate = Callable[[str], Awaitable[None]]
UNFIT = b"no picture"  # what such bytes begin with
OTHER_SIZE = b"large picture"  # and those of one that is not of the size that all ask for
PAGE = 20


def anew(data: bytes) -> bytes:
    """Return bytes as this world's press encodes them."""
    return b"anew: " + data


def look_of(data: bytes) -> str:
    """Return how a picture looks: two that show the same words look the same, whoever made them."""
    shows = data.removeprefix(anew(b"")).partition(b" by ")[0]
    return hashlib.sha256(shows).hexdigest()


@dataclass(frozen=True)
class File:
    """Bytes, and when they were put there."""

    data: bytes
    at: datetime


class Shelf:
    """Implements Store."""

    def __init__(self, weather: Weather, clock: Clock, gate: Gate) -> None:
        self._weather, self._clock, self._gate = weather, clock, gate
        self.files: dict[str, File] = {}

    async def put(self, name: str, data: bytes) -> NotNow | None:
        """See Store."""
        await self._gate("store put: before")
        if self._weather.strikes("store: away"):
            return NotNow("the store is away")
        self.files[name] = File(data, self._clock.true)
        away = self._weather.strikes("store: put, and no answer")
        await self._gate("store put: after")
        return NotNow("the store did not answer") if away else None

    async def read(self, name: str, start: int, length: int) -> bytes | NotNow | None:
        """See Store."""
        file = self.files.get(name)
        return None if file is None else file.data[start : start + length]

    async def delete(self, names: Sequence[str]) -> NotNow | None:
        """See Store."""
        await self._gate("store delete: before")
        if self._weather.strikes("store: away"):
            return NotNow("the store is away")
        for name in names:
            self.files.pop(name, None)
        await self._gate("store delete: after")
        return None

    async def older(self, before: datetime) -> AsyncGenerator[list[str] | NotNow, None]:
        """See Store."""
        names = [name for name, file in self.files.items() if file.at < before]
        for start in range(0, len(names), PAGE):
            yield names[start : start + PAGE]


class Painter:
    """Implements Executor: the house's own, which makes of the same words always the same."""

    name, at_once = PAINTER, 1

    def __init__(self, weather: Weather, gate: Gate) -> None:
        self._weather, self._gate = weather, gate

    async def make(self, wanted: Wanted, stepped: Stepped = unwatched_step) -> Made:
        """See Executor."""
        await self._gate("executor make: before")
        if self._weather.strikes("painter: breaks"):
            raise OSError("it broke")
        await self._gate("executor make: after")
        return Made(f"{wanted.prompt} by the house".encode(), "image/png")

    async def healthy(self) -> Undoable | None:
        """See Executor."""
        return Undoable("It is away.") if self._weather.strikes("painter: away") else None

    async def close(self) -> None:
        """Nothing to let go of."""


class Press:
    """Implements Recoder: whatever is not marked as unfit is a picture."""

    def __init__(self, weather: Weather, gate: Gate) -> None:
        self._weather, self._gate = weather, gate

    async def recode(self, data: bytes, media_type: str) -> Recoded | Unfit | NotNow:
        """See Recoder."""
        await self._gate("press recode: before")
        if self._weather.strikes("press: away"):
            return NotNow("the press is away")
        if data.startswith(UNFIT):
            return Unfit("It is not a picture.")
        side = 16 if data.startswith(OTHER_SIZE) else 8
        return Recoded(anew(data), media_type, side, side, look=look_of(anew(data)))

    async def close(self) -> None:
        """Nothing to let go of."""
