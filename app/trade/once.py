"""An Idempotency-Key: whatever creates or spends is done once for each name its caller gave it.

A request that is sent again gets the answer of the first one: it needs no price, and is refused
nothing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Generic, TypeVar

from app.advance import Act, Shell
from app.refusal import Refusal, Why
from db import idempotency
from db.engine import Database, Tx

T = TypeVar("T")
CLASHED = "This Idempotency-Key was used for another request. Use a new one."


@dataclass(frozen=True, slots=True)
class Name:
    """An Idempotency-Key: whose it is, and for which body."""

    caller: str
    key: str
    body_sha256: str


@dataclass(frozen=True, slots=True)
class Before:
    """A request of this name was answered before; `id` is that of what it made."""

    id: str


@dataclass(frozen=True, slots=True)
class Beginning(Generic[T]):
    """What is to be made under a name: its id, and the one transaction that makes it.

    The commit is named after `begin`. An id that only that transaction knows is a function of it.
    """

    id: str | Callable[[Act], Awaitable[str]]
    begin: Callable[[Act], Awaitable[T]]


async def once(
    shell: Shell, name: Name | None, prepare: Callable[[], Awaitable[Beginning[T]]]
) -> T | Before:
    """Return what was made, or what was made before under this name.

    `prepare` is asked for what is to be made where nothing was. Of two requests with one name at
    the same moment the second waits for the first, and makes nothing. Raises Refusal (409) when the
    name was used for another body.
    """
    before = await known_id(shell.db, name)
    if before is not None:
        return Before(before)
    new = await prepare()

    @wraps(new.begin)
    async def begin(act: Act) -> T | Before:
        made = new.id if isinstance(new.id, str) else await new.id(act)
        holder = await claimed(act.tx, act.now, name, made)
        return await new.begin(act) if holder == made else Before(holder)

    return await shell.do(begin)


async def known_id(db: Database, name: Name | None) -> str | None:
    """Return the id of what this name was given to before; None when it is new, or there is none.

    Raises Refusal (409) when it was used for another body.
    """
    if name is None:
        return None
    match await idempotency.find(db, name.caller, name.key, name.body_sha256):
        case idempotency.Replayed(before):
            return before
        case idempotency.Clashed():
            raise Refusal(Why.KEY_REUSED, CLASHED)
        case None:
            return None


async def claimed(tx: Tx, now: datetime, name: Name | None, made: str) -> str:
    """Return the id of what this name was given to: `made`, unless it was used before.

    Raises Refusal (409) when it was used for another body.
    """
    if name is None:
        return made
    match await idempotency.claim(tx, name.caller, name.key, name.body_sha256, made, now):
        case idempotency.Fresh():
            return made
        case idempotency.Replayed(before):
            return before
        case idempotency.Clashed():
            raise Refusal(Why.KEY_REUSED, CLASHED)
