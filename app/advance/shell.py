"""The one way to tell the law something: a function over an Act, in a transaction of its own.

The commit is named after the function, so that a place where a process may end is a function.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from app.advance.act import Act
from app.advance.act import new_id as by_chance
from app.advance.outcome import Terms
from db.engine import Database, Tx
from db.promises import Outbox
from statemachine.cell import ALONE, Cell

P = ParamSpec("P")
T = TypeVar("T")
NUMBERS = 10**15  # what is counted by nobody has one of these
E = TypeVar("E", bound=Callable[..., Awaitable[object]])


@dataclass(frozen=True)
class Shell:
    """Opens the transactions in which money and states change, each at one moment of the clock."""

    db: Database
    outbox: Outbox
    terms: Terms
    clock: Callable[[], datetime]
    new_id: Callable[[], str] = by_chance
    cell: Cell = ALONE  # which all that is made here begins with

    async def do(
        self,
        event: Callable[Concatenate[Act, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do this in one transaction, anew while Postgres asks for another try.

        Where the event has a shortcut, that is tried first. Raises as `Database.run` does.
        """

        async def work(tx: Tx) -> T:
            return await event(self.act(tx), *args, **kwargs)

        name, short = name_of(event), _SHORTCUTS.get(event)
        if event in _ALONE:
            return await self.db.run(name, work, alone=True)
        if short is not None:
            done: T | None = await self.db.run(
                name, lambda tx: short(self.act(tx), *args, **kwargs), alone=True
            )
            if done is not None:
                return done
        return await self.db.run(name, work)

    def act(self, tx: Tx) -> Act:
        """Return what a function in this transaction works with."""
        return Act(tx, self.clock(), self.terms, self.outbox, self.new_id, self.cell)

    def new_number(self) -> int:
        """Return a number by chance, for the name of one of many things of one owner."""
        return int(self.new_id(), 16) % NUMBERS


_ALONE: set[Callable[..., object]] = set()


def in_one_statement(event: E) -> E:
    """Have an event be one statement, which is a transaction of its own."""
    _ALONE.add(event)
    return event


_SHORTCUTS: dict[Callable[..., object], Callable[..., Awaitable[Any]]] = {}


def has_shortcut(short: Callable[..., Awaitable[object]]) -> Callable[[E], E]:
    """Have an event be tried in one statement first, which is a transaction of its own.

    The shortcut takes what the event takes. Where it does not apply it returns None, and nothing
    was written.
    """

    def kept(event: E) -> E:
        _SHORTCUTS[event] = short
        return event

    return kept


def name_of(event: Callable[..., object]) -> str:
    """Return what the commit of a function is called: by its file and its own name."""
    return f"{event.__module__.rpartition('.')[2]}.{event.__name__}"
