"""How often each caller has asked, a row for each window that is open.

One statement counts, so that of two servers which count at once neither forgets the other's.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, Text, text
from sqlmodel import Field, SQLModel

from db.columns import time_column
from db.engine import Database, Tx, execute


class RateLimit(SQLModel, table=True):
    """A window: what is counted in it, and when it closes."""

    __tablename__ = "rate_limit"

    key: str = Field(sa_column=Column(Text, primary_key=True))
    hits: int = Field(sa_column=Column(BigInteger, nullable=False))
    expires_at: datetime = Field(sa_column=time_column())

    __table_args__ = (Index("ix_rate_limit_expires_at", "expires_at"),)


# A count is no money: it need not wait for the disk, and is lost by a power failure at most.
_COUNT = text(
    "INSERT INTO rate_limit AS kept (key, hits, expires_at)"
    " SELECT :key, :hits, :expires_at FROM set_config('synchronous_commit', 'off', true)"
    " ON CONFLICT (key) DO UPDATE SET"
    " hits = CASE WHEN kept.expires_at <= :now THEN excluded.hits"
    " ELSE kept.hits + excluded.hits END,"
    " expires_at = CASE WHEN kept.expires_at <= :now THEN excluded.expires_at"
    " ELSE kept.expires_at END"
    " RETURNING kept.hits"
)
_PURGE = text("DELETE FROM rate_limit WHERE expires_at <= :now")


async def count(tx: Tx, key: str, hits: int, expires_at: datetime, now: datetime) -> int:
    """Count in the window that is open, else in a new one; return what it then holds."""
    values = {"key": key, "hits": hits, "expires_at": expires_at, "now": now}
    counted: int = (await execute(tx, _COUNT, values)).scalar_one()
    return counted


async def window(db: Database, key: str, now: datetime) -> tuple[int, datetime] | None:
    """Return what the open window holds, and when it closes; None when none is open."""
    row = await db.read_one(
        "SELECT hits, expires_at FROM rate_limit WHERE key = %(key)s AND expires_at > %(now)s",
        key=key,
        now=now,
    )
    return (row["hits"], row["expires_at"]) if row else None


async def purge(tx: Tx, now: datetime) -> None:
    """Forget windows that are closed."""
    await execute(tx, _PURGE, {"now": now})
