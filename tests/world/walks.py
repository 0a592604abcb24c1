"""Follows a way through the house: the files of ours whose coroutines run on it, in order.

A file is a stop where an `async def` of it is entered on the way: what is only looked up there (a
table, a price, a word) is no stop.
"""

import contextvars
import re
import sys
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[2]
ROOMS = ("app", "db", "payments", "pricing", "statemachine")

_WAITS = CO_COROUTINE | CO_ASYNC_GENERATOR
_way: contextvars.ContextVar[dict[str, None] | None] = contextvars.ContextVar("way", default=None)


def _seen(frame: FrameType, event: str, _: Any) -> None:
    way = _way.get() if event == "call" and frame.f_code.co_flags & _WAITS else None
    if way is None:
        return
    path = Path(frame.f_code.co_filename)
    if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in ROOMS:
        way.setdefault(str(path.relative_to(ROOT)))


@contextmanager
def _watched() -> Iterator[None]:
    before = sys.getprofile()
    sys.setprofile(_seen)
    try:
        yield
    finally:
        sys.setprofile(before)


async def followed(way: Awaitable[Any]) -> list[str]:
    """Go a way to its end, and return its stops: in this task and in those that it begins."""
    stops: dict[str, None] = {}
    token = _way.set(stops)
    try:
        with _watched():
            await way
    finally:
        _way.reset(token)
    return list(stops)


def written(text: str, name: str) -> list[str]:
    """Return the stops of a way as a text tells them: the files named below its heading."""
    _, found, rest = text.partition(f"\n**{name}**")
    assert found, f"there is no way called {name}"
    told = rest.partition("\n\n")[0]
    return re.findall(r"`([a-z_]+/[a-z_/0-9]+\.py)`", told)
