"""How long a test waits for what must come: far longer than it takes on the busiest machine, as
only what never comes is waited for so long. Nobody in tests/ has a patience of their own.
"""

import asyncio
import time

PATIENCE_S = 180


class Looks:
    """See patiently."""

    def __init__(self, never: str, pause_s: float) -> None:
        self.saw: object = ""  # what was found so far, for who must find out
        self._never, self._pause_s = never, pause_s
        self._until_s = time.monotonic() + PATIENCE_S
        self._is_first = True

    def __aiter__(self) -> "Looks":
        """See AsyncIterator."""
        return self

    async def __anext__(self) -> "Looks":
        """Come back at once the first time, and then after a pause; raise when it is too late."""
        if not self._is_first:
            if time.monotonic() > self._until_s:
                raise AssertionError(f"{self._never}: {self.saw}" if self.saw else self._never)
            await asyncio.sleep(self._pause_s)
        self._is_first = False
        return self


def patiently(never: str, pause_s: float = 0.05) -> Looks:
    """Look again and again, until the loop is left; say what never came where it is not.

    `async for look in patiently("it is never paid"):`, for what tells nobody by itself: another
    process, a page, the rows of a database.
    """
    return Looks(never, pause_s)
