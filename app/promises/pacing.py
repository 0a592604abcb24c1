"""Work that can wait, done a piece at a time, so that whoever asks for something is not held up.

A server has one thread for all that it does. However much of such work is due at once, no more than
one piece of it stands in a request's way, and two thirds of the time none does.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

RESTS: Final = 2  # times as long as the piece before took
LONGEST_REST_S: Final = 0.05  # so that work goes on where every piece takes long


class Pacing:
    """Lets one piece of work in after the other, with a rest between them."""

    def __init__(
        self,
        now_s: Callable[[], float] = monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._now_s, self._pause = now_s, pause
        self._door = asyncio.Lock()
        self._rests_until = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, first come first served; it lasts as long as the block."""
        async with self._door:
            if (rest_s := self._rests_until - self._now_s()) > 0:
                await self._pause(rest_s)
            began = self._now_s()
            try:
                yield
            finally:
                ended = self._now_s()
                self._rests_until = ended + min(LONGEST_REST_S, RESTS * (ended - began))
