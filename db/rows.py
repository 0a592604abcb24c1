"""What a statement returns, as a type: a row is a NamedTuple, and its fields are columns.

A field that is an enum's gets its member, one that is a list of NamedTuples is read from JSON by
name. A statement whose columns are not its type's fields is refused, and not only where they are
read.
"""

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, NamedTuple, Protocol, TypeVar, get_args, get_origin, get_type_hints

R = TypeVar("R", bound=NamedTuple)
T = TypeVar("T")
U = TypeVar("U")


class Drifted(Exception):
    """The columns of a statement are not the fields of its type."""


class Reads(Protocol):
    """Where a SELECT can be run: a transaction, which sees its own writes, or the database."""

    async def rows(self, cls: type[R], query: str, **values: Any) -> list[R]:
        """Return the rows of one SELECT, whose columns are the fields of this type."""
        ...

    async def row(self, cls: type[R], query: str, **values: Any) -> R | None:
        """Return the first row of one SELECT, or None."""
        ...


async def in_one_moment(
    reading: Callable[[], Awaitable[T]], beside: Callable[[], Awaitable[U]]
) -> tuple[T, U]:
    """Return what two SELECTs tell of one moment: the second's answer is the same before and after
    the first. It must be one that never becomes again what it was."""
    before = await beside()
    while True:
        told = await reading()
        if (after := await beside()) == before:
            return told, before
        before = after


def columns(cls: type[NamedTuple]) -> str:
    """Return the fields of a type as a SELECT names them."""
    return ", ".join(cls._fields)


def maker(cls: type[R], names: Sequence[str]) -> Callable[[Sequence[Any]], R]:
    """Return what makes a row out of the values of these columns. Raises Drifted."""
    if tuple(names) != cls._fields:
        raise Drifted(f"{cls.__name__} has {cls._fields}, the statement {tuple(names)}")
    return _making(cls)


@cache
def _making(cls: type[R]) -> Callable[[Sequence[Any]], R]:
    hints = get_type_hints(cls)
    read = [(at, _reading(hints[name])) for at, name in enumerate(cls._fields)]
    changed = [(at, reads) for at, reads in read if reads is not None]
    if not changed:
        return cls._make

    def make(values: Sequence[Any]) -> R:
        told = list(values)
        for at, reads in changed:
            told[at] = reads(told[at])
        return cls._make(told)

    return make


def _reading(hint: Any) -> Callable[[Any], Any] | None:
    """Return what reads a value of such a field; None where Postgres' own is what it holds."""
    kinds = [kind for kind in get_args(hint) if kind is not NoneType] or [hint]
    if get_origin(hint) is list:
        return _list_of(kinds[0]) if hasattr(kinds[0], "_fields") else None
    if isinstance(kinds[0], type) and issubclass(kinds[0], Enum):
        members: dict[Any, Any] = {member.value: member for member in kinds[0]}
        return (members | {None: None}).__getitem__
    return None


def _list_of(cls: type[R]) -> Callable[[list[dict[str, Any]] | None], list[R]]:
    make, names = _making(cls), cls._fields
    return lambda told: [make([one[name] for name in names]) for one in told or ()]
