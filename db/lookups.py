"""Looking rows up by their keys, together with whoever does the same meanwhile.

What most requests begin with is one small SELECT by a key. Under load many of them wait for their
turn at the same time: then one statement answers them all. Nobody is told less than he would be
alone: a statement that answers somebody was sent after he had asked.
"""

import asyncio
from asyncio import Future
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context
from functools import partial
from typing import Generic, TypeVar

from db.arrays import texts
from db.engine import Database
from db.rows import R

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
Key = tuple[str, ...]

MOST_AT_ONCE = 100  # keys of one statement


class Lookup(Generic[R]):
    """A statement that looks rows of a type up. `found` selects what there is for `asked`, whose
    fields are the parts of a key, all texts; its first column is never NULL.
    """

    def __init__(self, cls: type[R], parts: Sequence[str], found: str) -> None:
        arrays = ", ".join(f"%({part})s::text[]" for part in parts)
        self._cls, self._parts = cls, parts
        self._query = f"""
SELECT found.* FROM unnest({arrays}) WITH ORDINALITY AS asked({", ".join(parts)}, place)
  LEFT JOIN LATERAL ({found}) AS found ON true
 ORDER BY asked.place
"""

    async def find(self, db: Database, *key: str) -> R | None:
        """Return the row of a key, or None. Raises DatabaseAway."""
        together = db.lookups.get(self)
        if together is None:
            together = db.lookups[self] = Together(partial(self._rows, db), db.slow_s)
        row: R | None = await together.find(key)
        return row

    async def _rows(self, db: Database, keys: Sequence[Key]) -> list[R | None]:
        columns = zip(self._parts, zip(*keys, strict=True), strict=True)
        values = {part: texts(column) for part, column in columns}
        rows = await db.rows(self._cls, self._query, **values)
        return [None if row[0] is None else row for row in rows]


class Together(Generic[K, T]):
    """Those who look something up, or have something done, by one and the same statement. `read`
    returns what each of so many keys finds, in their order, or None; equal keys are one. Nobody
    waits longer than `slow_s` for the statement before his own.
    """

    def __init__(
        self, read: Callable[[Sequence[K]], Awaitable[Sequence[T | None]]], slow_s: float
    ) -> None:
        self._read, self.slow_s = read, slow_s
        self._waiting: list[tuple[K, Future[T | None]]] = []
        self._under_way, self._began_s = 0, 0.0
        self._tasks = set[asyncio.Task[None]]()

    async def find(self, key: K) -> T | None:
        """Return what a key finds, or None. Raises what reading it does."""
        loop = asyncio.get_running_loop()
        if self._under_way and loop.time() - self._began_s < self.slow_s:
            answer: Future[T | None] = loop.create_future()
            self._waiting.append((key, answer))
            return await answer
        self._serve_waiting()
        self._begin()
        try:
            [row] = await self._read([key])
        finally:
            self._end()
        return row

    def _begin(self) -> None:
        self._under_way += 1
        self._began_s = asyncio.get_running_loop().time()

    def _end(self) -> None:
        self._under_way -= 1
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        """Have it read for those who have come meanwhile."""
        if not self._waiting:
            return
        turn, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
        self._begin()
        # A context of its own: what is logged on the way is no one request's.
        task = asyncio.get_running_loop().create_task(self._serve(turn), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, turn: Sequence[tuple[K, Future[T | None]]]) -> None:
        keys = list(dict.fromkeys(key for key, answer in turn if not answer.done()))
        try:
            rows = dict(zip(keys, await self._read(keys), strict=True)) if keys else {}
        except Exception as fault:
            for _, answer in turn:
                if not answer.done():
                    answer.set_exception(fault)
        except BaseException:
            for _, answer in turn:
                answer.cancel()
            raise
        else:
            for key, answer in turn:
                if not answer.done():
                    answer.set_result(rows[key])
        finally:
            self._end()
