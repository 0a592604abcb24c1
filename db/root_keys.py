"""The root keys of macaroons, closed with the operator's secret: one is active, older ones check.

What opens them is not known here.
"""

from dataclasses import dataclass, field
from datetime import datetime

from db.engine import Database, Tx

_EVERY = "SELECT number, sealed, retired_at FROM root_key ORDER BY number"


@dataclass(frozen=True, slots=True)
class SealedKey:
    """One root key as it is kept."""

    number: int
    sealed: str = field(repr=False)
    retired_at: datetime | None


async def every(db: Database) -> list[SealedKey]:
    """Return all root keys, the oldest first."""
    return [SealedKey(**row) for row in await db.read_all(_EVERY)]


async def offer_first(tx: Tx, sealed: str, now: datetime) -> None:
    """Make this root key number 1, unless there is one: of two who make the first, one wins."""
    await tx.execute(
        "INSERT INTO root_key (number, sealed, created_at) SELECT 1, %(sealed)s, %(now)s"
        " WHERE NOT EXISTS (SELECT FROM root_key) ON CONFLICT DO NOTHING",
        sealed=sealed,
        now=now,
    )


async def take_all(tx: Tx) -> list[SealedKey]:
    """Return all root keys, the oldest first. Until this transaction ends nobody else adds one."""
    await tx.execute("LOCK TABLE root_key IN SHARE ROW EXCLUSIVE MODE")
    return [SealedKey(**row) for row in await tx.all(_EVERY)]


async def reseal(tx: Tx, number: int, sealed: str) -> None:
    """Write a root key as it was closed anew."""
    await tx.execute(
        "UPDATE root_key SET sealed = %(sealed)s WHERE number = %(number)s",
        sealed=sealed,
        number=number,
    )


async def succeed(tx: Tx, number: int, sealed: str, now: datetime) -> None:
    """Retire the active root key and put this one in its place."""
    await tx.execute("UPDATE root_key SET retired_at = %(now)s WHERE retired_at IS NULL", now=now)
    await tx.execute(
        "INSERT INTO root_key (number, sealed, created_at)"
        " VALUES (%(number)s, %(sealed)s, %(now)s)",
        number=number,
        sealed=sealed,
        now=now,
    )


async def forget_retired(tx: Tx) -> int:
    """Delete all retired root keys; return how many. What they made is taken nowhere any more."""
    return await tx.count("DELETE FROM root_key WHERE retired_at IS NOT NULL")
