"""Idempotency-Key: a caller's name for a request that creates something, kept for 24 hours."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from db.engine import Tx
from db.rows import Reads

LIFE = timedelta(hours=24)

_CLAIM = """
INSERT INTO idempotency_key (caller, key, body_sha256, made, created_at)
VALUES (%(caller)s, %(key)s, %(sha)s, %(made)s, %(now)s) ON CONFLICT (caller, key) DO NOTHING
"""
_OLD = """
SELECT body_sha256, made FROM idempotency_key WHERE caller = %(caller)s AND key = %(key)s
"""


class Kept(NamedTuple):
    """What a key was used for."""

    body_sha256: str
    made: str


@dataclass(frozen=True, slots=True)
class Fresh:
    """The key is new: go on and make it."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The same request was made before; `made` is the id of what it created."""

    made: str


@dataclass(frozen=True, slots=True)
class Clashed:
    """The key was used for another body."""


async def claim(
    tx: Tx, caller: str, key: str, body_sha256: str, made: str, now: datetime
) -> Fresh | Replayed | Clashed:
    """Claim a key for a request, in the transaction that creates `made`.

    Two requests with one key wait for each other here: the second sees what the first one made.
    """
    if await tx.count(_CLAIM, caller=caller, key=key, sha=body_sha256, made=made, now=now):
        return Fresh()
    old = await find(tx, caller, key, body_sha256)
    assert old is not None, "keys are forgotten by the day, and this one was there just now"
    return old


async def find(reads: Reads, caller: str, key: str, body_sha256: str) -> Replayed | Clashed | None:
    """Return what a key was used for; None while it is free."""
    old = await reads.row(Kept, _OLD, caller=caller, key=key)
    if old is None:
        return None
    return Replayed(old.made) if old.body_sha256 == body_sha256 else Clashed()


async def purge(tx: Tx, now: datetime) -> None:
    """Forget keys older than a day."""
    await tx.execute("DELETE FROM idempotency_key WHERE created_at < %(before)s", before=now - LIFE)
