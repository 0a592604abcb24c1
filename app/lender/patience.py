"""How a server is asked that does not answer just now: again, later each time, and not by all who
wait for it in the same moment.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from app.buyer.exchange import Lost

T = TypeVar("T")
AWAY_S: Final = 1.0
MOST_AWAY_S: Final = 60.0


async def sleep(pause_s: float) -> bool:
    """Rest for a while; nothing ends it."""
    await asyncio.sleep(pause_s)
    return False


async def patiently(
    call: Callable[[], Awaitable[T]],
    say: Callable[[str], None],
    rest: Callable[[float], Awaitable[bool]] = sleep,
) -> T:
    """Call until there is an answer, and return it. `rest` says whether it is to end meanwhile.

    Raises Lost where it is to end, or where the same call can never be answered.
    """
    pause_s, reason = AWAY_S, ""
    while True:
        try:
            answer = await call()
        except Lost as lost:
            if not lost.may_pass:
                raise
            if lost.reason != reason:
                say(f"The server does not answer: {lost.reason}.")
                reason = lost.reason
            if await rest(pause_s * random.uniform(0.5, 1)):
                raise
            pause_s = min(MOST_AWAY_S, 2 * pause_s)
        else:
            if reason:
                say("The server answers again.")
            return answer
