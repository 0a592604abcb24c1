"""Artifacts by their ids: what there is to say of each, and which still have bytes to lose.

A row is written in the transaction that ends the item, after its bytes were stored; so there is
none without bytes before it expires. Bytes whose row was never written are swept.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from db.engine import Tx
from db.rows import Reads, columns


class Artifact(NamedTuple):
    """What there is to say of a file that an item made, or is made from."""

    id: str
    media_type: str
    sha256: str
    size: int
    width: int
    height: int
    duration_ms: int | None
    created_at: datetime
    expires_at: datetime
    batch_id: str | None = None  # it was made in, or for
    look: str | None = None  # how it looks, in 64 hex digits; None: too plain to be told by that


class _Named(NamedTuple):
    id: str


_INSERT = f"""
INSERT INTO artifact ({columns(Artifact)})
VALUES (%(id)s, %(media_type)s, %(sha256)s, %(size)s, %(width)s, %(height)s, %(duration_ms)s,
        %(created_at)s, %(expires_at)s, %(batch_id)s, %(look)s)
"""


async def insert(tx: Tx, artifact: Artifact) -> None:
    """Write the row of an artifact whose bytes are in the store."""
    await tx.execute(_INSERT, **artifact._asdict())


_FIND = f"SELECT {columns(Artifact)} FROM artifact WHERE id = %(id)s"


async def find(db: Reads, artifact_id: str) -> Artifact | None:
    """Return an artifact, expired or not; None when there is none of that id."""
    return await db.row(Artifact, _FIND, id=artifact_id)


class Owned(NamedTuple):
    """A file, and whose account it is of; None: it is its finder's."""

    expires_at: datetime
    account_id: str | None
    media_type: str


_OWNED = """
SELECT a.expires_at, b.account_id, a.media_type FROM artifact a JOIN batch b ON b.id = a.batch_id
 WHERE a.id = %(id)s
"""


async def owned(db: Reads, artifact_id: str) -> Owned | None:
    """Return until when a file is kept, whose it is and what; None: there is none of that id."""
    return await db.row(Owned, _OWNED, id=artifact_id)


_LIVING = f"""
SELECT {columns(Artifact)} FROM artifact WHERE id = ANY(%(ids)s) AND expires_at > %(now)s
"""


async def living(db: Reads, ids: Sequence[str], now: datetime) -> list[Artifact]:
    """Return those of these artifacts that have not expired."""
    return await db.rows(Artifact, _LIVING, ids=list(ids), now=now)


_KEPT = "SELECT id FROM artifact WHERE id = ANY(%(ids)s) AND expires_at > %(after)s"


async def kept(db: Reads, ids: Sequence[str], after: datetime) -> set[str]:
    """Return which of these have a row, and had not expired then."""
    return {row.id for row in await db.rows(_Named, _KEPT, ids=list(ids), after=after)}
