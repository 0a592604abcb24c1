"""Names for every place where the code calls the outside, and who may stand there.

A part is known by its port, a Protocol: what the port awaits or streams is a call, named after the
part and the method, counted and timed by that name. A probe is told the name before and after; it
does nothing, or ends the process there on purpose. `db.engine` names its commits itself.
"""

import inspect
import os
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
)
from contextlib import aclosing
from enum import Enum, auto
from functools import wraps
from typing import Any, TypeVar, cast, get_origin

from app.telemetry.calls import calling, counting
from db.engine import Probe

T = TypeVar("T")

UNTOLD = {"close"}  # it lets go, and asks nobody
SHORT = {"balance_msat": "balance", "fetch_invoice": "fetch"}  # method → its name, where it differs
# What streams → the name of one thing that comes.
PIECE = {"pushes": "push", "answer": "piece", "older": "page"}


class Way(Enum):
    """How a method of a port reaches the outside."""

    ASKS = auto()  # and gets one answer
    STREAMS = auto()  # the pieces of one answer, which ends
    LISTENS = auto()  # for ever: what comes is named, and no call is


def crash_at(where: str) -> Probe:
    """Return a probe that ends the process, as a crash does, at the n-th passing of a place.

    `where` is the name of the place, and `#n` for another passing than the first.
    """
    name, _, number = where.partition("#")
    passings: Counter[str] = Counter()

    def passing(place: str) -> None:
        passings[place] += 1
        if place == name and passings[place] == int(number or 1):
            os._exit(137)

    return passing


def observed(part: T, port: type[object], name: str, passing: Probe) -> T:
    """Return a part as its port shows it, and nothing beyond, with every call observed.

    `port` is the Protocol that the part keeps: how each of its methods is declared says what is
    observed.
    """
    ways = ways_of(port)
    calls = {
        method: _MAKE[way](getattr(part, method), name, method, passing)
        for method, way in ways.items()
    }
    return cast(T, _Observed(part, _members(port) - ways.keys(), calls))


def ways_of(port: type[object]) -> dict[str, Way]:
    """Return the methods of a port that reach the outside, and how."""
    found = ((name, _way(getattr(port, name, None))) for name in sorted(_members(port)))
    return {name: way for name, way in found if way is not None and name not in UNTOLD}


def places_of(port: type[object], name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the name of each place of an observed part, with the moments that a probe is told."""
    for method, way in ways_of(port).items():
        if way is not Way.LISTENS:
            yield _place(name, method), ("before", "after")
        if way is not Way.ASKS:
            yield f"{name} {PIECE[method]}", ("before",)


class _Observed:
    """What a port shows of a part: its calls observed, all else as it is at the moment."""

    def __init__(
        self, part: object, shown: set[str], calls: Mapping[str, Callable[..., Any]]
    ) -> None:
        self._part, self._shown = part, shown
        self.__dict__.update(calls)

    def __getattr__(self, name: str) -> Any:
        if name not in self._shown:
            raise AttributeError(f"{name} is not of the port")
        return getattr(self._part, name)


def _members(port: type[object]) -> set[str]:
    declared = (name for of in port.__mro__ for name in inspect.get_annotations(of))
    return {name for name in (*dir(port), *declared) if not name.startswith("_")}


def _way(method: object) -> Way | None:
    if not inspect.isfunction(method):
        return None
    if inspect.iscoroutinefunction(method):
        return Way.ASKS
    given = get_origin(inspect.signature(method).return_annotation)
    return {AsyncGenerator: Way.STREAMS, AsyncIterator: Way.LISTENS}.get(given)


def _place(name: str, method: str) -> str:
    return f"{name} {SHORT.get(method, method)}"


def _asking(
    ask: Callable[..., Awaitable[Any]], name: str, method: str, passing: Probe
) -> Callable[..., Awaitable[Any]]:
    place = _place(name, method)

    @wraps(ask)
    async def told(*given: Any, **named: Any) -> Any:
        passing(f"{place}: before")
        with calling(place) as call:
            answer = await ask(*given, **named)
            call.answered(answer)
        passing(f"{place}: after")
        return answer

    return told


def _streaming(
    stream: Callable[..., AsyncGenerator[Any, None]], name: str, method: str, passing: Probe
) -> Callable[..., AsyncGenerator[Any, None]]:
    place, one = _place(name, method), f"{name} {PIECE[method]}: before"

    @wraps(stream)
    async def told(*given: Any, **named: Any) -> AsyncGenerator[Any, None]:
        passing(f"{place}: before")
        with counting(place) as call:
            async with aclosing(stream(*given, **named)) as pieces:
                async for piece in pieces:
                    passing(one)
                    call.answered(piece)
                    yield piece
        passing(f"{place}: after")

    return told


def _listening(
    listen: Callable[..., AsyncIterator[Any]], name: str, method: str, passing: Probe
) -> Callable[..., AsyncIterator[Any]]:
    one = f"{name} {PIECE[method]}: before"

    @wraps(listen)
    async def told(*given: Any, **named: Any) -> AsyncIterator[Any]:
        async for heard in listen(*given, **named):
            passing(one)
            yield heard

    return told


_MAKE: Mapping[Way, Callable[..., Callable[..., Any]]] = {
    Way.ASKS: _asking,
    Way.STREAMS: _streaming,
    Way.LISTENS: _listening,
}
