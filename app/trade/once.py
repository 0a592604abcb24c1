"""An Idempotency-Key: whatever creates or spends is done once for each name its caller gave it.

A replay is told what was told before: it needs no price, and is refused nothing.
"""

from dataclasses import dataclass
from datetime import datetime

from app.advance import Act
from app.refusal import Refusal, Why
from db import idempotency
from db.engine import Database, Tx

CLASHED = "This Idempotency-Key was used for another request. Use a new one."


@dataclass(frozen=True, slots=True)
class Name:
    """An Idempotency-Key: whose it is, and for which body."""

    caller: str
    key: str
    body_sha256: str


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


async def claimed_id(act: Act, name: Name | None, made: str) -> str:
    """Return the id of what this name was given to: `made`, unless it was used before.

    Raises Refusal (409) when it was used for another body.
    """
    return await claimed(act.tx, act.now, name, made)


async def claimed(tx: Tx, now: datetime, name: Name | None, made: str) -> str:
    """Do the same in a transaction that tells the law nothing."""
    if name is None:
        return made
    match await idempotency.claim(tx, name.caller, name.key, name.body_sha256, made, now):
        case idempotency.Fresh():
            return made
        case idempotency.Replayed(before):
            return before
        case idempotency.Clashed():
            raise Refusal(Why.KEY_REUSED, CLASHED)
