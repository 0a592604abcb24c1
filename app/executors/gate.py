"""Whether a provider is asked at all: closed while it is away, and longer each time in a row.

A closed gate stops claims, so that what waits loses none of its tries to an outage. It opens when
the provider answers a probe that costs nothing; the pause starts anew with what was made.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from app.ports import Undoable

PAUSES_S: Final = (5.0, 15.0, 60.0, 300.0)
FRESH_S: Final = 60.0  # an answer counts for so long

Probe = Callable[[], Awaitable[Undoable | None]]


class Gate:
    """One for each provider. `probe` asks it, and never raises."""

    def __init__(self, probe: Probe, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._probe, self._pauses_s = probe, pauses_s
        self._trouble: Undoable | None = None
        self._asks_at_s = 0.0
        self._shut_in_a_row = 0
        self._asking = asyncio.Lock()

    async def trouble(self) -> Undoable | None:
        """Return why it isn't asked now, or None. Many who ask at once make one probe."""
        async with self._asking:
            if self._now() >= self._asks_at_s:
                found = await self._probe()
                if found is None:
                    self._trouble, self._asks_at_s = None, self._now() + FRESH_S
                else:
                    self.shut(found)
            return self._trouble

    def shut(self, trouble: Undoable, least_s: float = 0) -> None:
        """Ask it no more for a while."""
        pause_s = self._pauses_s[min(self._shut_in_a_row, len(self._pauses_s) - 1)]
        self._shut_in_a_row += 1
        self._trouble, self._asks_at_s = trouble, self._now() + max(pause_s, least_s)

    def made(self) -> None:
        """Hear that it made something: it is well."""
        self._trouble, self._shut_in_a_row = None, 0
        self._asks_at_s = self._now() + FRESH_S

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
