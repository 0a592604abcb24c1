"""How long a buyer waits: as long as was asked for, and then it is said how to go on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from app.buyer.payer import Exit, Stop


def until_of(wait_s: float | None) -> float | None:
    """Return until when is waited from now on, by the clock of the event loop; None: for ever."""
    return None if wait_s is None else asyncio.get_running_loop().time() + wait_s


@contextlib.asynccontextmanager
async def no_longer_than(until: float | None, command: str) -> AsyncIterator[None]:
    """Do what is within until then; raises Stop, with the command that goes on, when it is over."""
    try:
        async with asyncio.timeout_at(until):
            yield
    except TimeoutError:
        raise Stop(Exit.FAILED, f"To continue: {command}") from None
