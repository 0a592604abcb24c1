"""What the rows of a statement are made by, once Postgres has sent them."""

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.rows import DictRow

from db.rows import R, maker

Connection = psycopg.AsyncConnection[DictRow]
Found = psycopg.AsyncCursor[tuple[Any, ...]]


class Columns:
    """What the rows of each statement are made by: asked of libpq once, and not for each row.

    Names once for each connection, which prepares it: elsewhere it may be prepared for other
    tables. A statement for a type names its columns itself, whatever the tables are.
    """

    def __init__(self) -> None:
        self._names = WeakKeyDictionary[Connection, dict[str, list[str]]]()
        self._makers: dict[tuple[type, str], Callable[[Sequence[Any]], Any]] = {}

    def keyed(self, query: str, cursor: Found, found: list[tuple[Any, ...]]) -> list[DictRow]:
        """Return what a cursor found, by the names of its columns."""
        known = self._names.setdefault(cursor.connection, {})
        names = known.get(query)
        if names is None or (found and len(found[0]) != len(names)):  # prepared anew
            names = known[query] = _names_of(cursor)
        return [dict(zip(names, row, strict=True)) for row in found]

    def typed(
        self, cls: type[R], query: str, cursor: Found, found: list[tuple[Any, ...]]
    ) -> list[R]:
        """Return what a cursor found, as this type. Raises Drifted where it has other columns."""
        make = self._makers.get((cls, query))
        if make is None:
            make = self._makers[cls, query] = maker(cls, _names_of(cursor))
        return [make(row) for row in found]


def _names_of(cursor: Found) -> list[str]:
    return [column.name for column in cursor.description or ()]
