"""Two things asked in turn, one question at a time: how long each takes, and what it costs us.

Each question is a slice by itself, so that a row of them is judged as any other.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .slices import Pairs, Slice
from .stand import Stand
from .window import cpu_of

MOST = 60  # of each: what is made stays


@dataclass(frozen=True)
class Once:
    """What one question took, and the CPU that the server used meanwhile."""

    took_s: float
    cpu_s: float


Ask = Callable[[], Awaitable[Once]]


async def timed(pid: int, asked: Callable[[], Awaitable[object]]) -> Once:
    """Ask once."""
    cpu_s, began = cpu_of(pid), time.perf_counter()
    await asked()
    return Once(time.perf_counter() - began, cpu_of(pid) - cpu_s)


async def by_turns(stand: Stand, ours: Ask, peer: Ask, seconds: float) -> Pairs:
    """Ask both in turn for so long, the first of each uncounted."""
    both: Pairs = []
    await ours(), await peer()
    ended = time.perf_counter() + seconds
    while len(both) < MOST and (time.perf_counter() < ended or len(both) < 4):
        weather = stand.weather()
        mine, theirs = await ours(), await peer()
        foreign = weather()
        both.append((_slice(mine, foreign), _slice(theirs, foreign)))
        await asyncio.sleep(0)
    return both


def _slice(once: Once, foreign: float) -> Slice:
    took_us = int(once.took_s * 1e6)
    return Slice(1 / once.took_s, once.cpu_s * 1e6, 0, [took_us], foreign)
