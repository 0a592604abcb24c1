"""How often each caller has asked, a row for each window that is open.

One statement counts, so that of two servers which count at once neither forgets the other's.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, Text
from sqlmodel import Field, SQLModel

from db.columns import time_column
from db.engine import Database, Tx


class RateLimit(SQLModel, table=True):
    """A window: what is counted in it, and when it closes."""

    __tablename__ = "rate_limit"

    key: str = Field(sa_column=Column(Text, primary_key=True))
    hits: int = Field(sa_column=Column(BigInteger, nullable=False))
    expires_at: datetime = Field(sa_column=time_column())

    __table_args__ = (Index("ix_rate_limit_expires_at", "expires_at"),)


# A count is no money: it need not wait for the disk, and is lost by a power failure at most.
_COUNT = """
INSERT INTO rate_limit AS kept (key, hits, expires_at)
SELECT %(key)s, %(hits)s, CAST(%(expires_at)s AS timestamptz)
  FROM set_config('synchronous_commit', 'off', true)
ON CONFLICT (key) DO UPDATE SET
   hits = CASE WHEN kept.expires_at <= %(now)s THEN excluded.hits
          ELSE kept.hits + excluded.hits END,
   expires_at = CASE WHEN kept.expires_at <= %(now)s THEN excluded.expires_at
          ELSE kept.expires_at END
RETURNING kept.hits
"""


async def count(tx: Tx, key: str, hits: int, expires_at: datetime, now: datetime) -> int:
    """Count in the window that is open, else in a new one; return what it then holds."""
    row = await tx.one(_COUNT, key=key, hits=hits, expires_at=expires_at, now=now)
    assert row is not None, "whatever was there before, a row is counted in"
    return int(row["hits"])


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
    await tx.execute("DELETE FROM rate_limit WHERE expires_at <= %(now)s", now=now)
