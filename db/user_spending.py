"""What people's accounts have paid for: by the day, by what made it, and the pieces themselves."""

from datetime import date, datetime
from typing import Any, NamedTuple

from db.engine import Database
from statemachine.batch import BatchState
from statemachine.entries import Asset

_LOST = "('failed', 'dead_letter', 'cancelled')"


class DaySpent(NamedTuple):
    """What was paid for on one day (UTC), in one asset: what is under way at its price."""

    day: date
    asset: Asset
    amount: int
    jobs: int


_BY_DAY = """
SELECT (created_at AT TIME ZONE 'UTC')::date AS day, asset,
       sum(CASE WHEN completed_at IS NULL THEN price_amount ELSE charged_amount END)::bigint
         AS amount,
       count(*) AS jobs
  FROM batch
 WHERE account_id = %(id)s AND funding = 'account' AND created_at >= %(first)s
   AND created_at < %(end)s
 GROUP BY 1, 2 ORDER BY 1, 2
"""


async def by_day(db: Database, account_id: str, first: datetime, end: datetime) -> list[DaySpent]:
    """Return what an account has paid between two times, by the day."""
    return await db.rows(DaySpent, _BY_DAY, id=account_id, first=first, end=end)


class ToolSpent(NamedTuple):
    """What was paid on one day for what one model or tool makes, in one asset.

    Shares of a batch's price: bitcoin's are rounded up to a whole sat for the whole batch alone.
    """

    day: date
    tool: str
    asset: Asset
    amount: int
    runs: int


_BY_TOOL = f"""
SELECT (b.created_at AT TIME ZONE 'UTC')::date AS day, i.lane AS tool, b.asset,
       sum(i.share_amount)::bigint AS amount, count(*) AS runs
  FROM batch b CROSS JOIN LATERAL (SELECT * FROM item WHERE batch_id = b.id LIMIT 500) i
 WHERE b.account_id = %(id)s AND b.funding = 'account' AND b.created_at >= %(first)s
   AND b.created_at < %(end)s AND i.state NOT IN {_LOST}
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


async def by_tool(db: Database, account_id: str, first: datetime, end: datetime) -> list[ToolSpent]:
    """Return what an account has paid between two times, by the day and what made it."""
    return await db.rows(ToolSpent, _BY_TOOL, id=account_id, first=first, end=end)


class Bought(NamedTuple):
    """What an account has bought at once."""

    id: str
    state: BatchState
    asset: Asset
    amount: int  # charged, or the price while it is under way
    items: int
    delivered: int
    tool: str | None  # that makes it, or the first of them
    created_at: datetime
    cast_id: str | None  # whose steps these are
    spell: str | None  # and its name


_BOUGHT = """
SELECT b.id, b.state, b.asset,
       CASE WHEN b.completed_at IS NULL THEN b.price_amount ELSE b.charged_amount END AS amount,
       b.items, b.delivered,
       (SELECT i.lane FROM item i WHERE i.batch_id = b.id ORDER BY i.place LIMIT 1) AS tool,
       b.created_at, b.cast_id, v.document->>'name' AS spell
  FROM batch b LEFT JOIN spell_cast c ON c.id = b.cast_id
  LEFT JOIN spell_version v ON v.id = c.version_id
 WHERE b.account_id = %(id)s AND b.state <> 'awaiting_payment'
 ORDER BY b.created_at DESC, b.id LIMIT %(most)s
"""


async def bought(db: Database, account_id: str, most: int) -> list[Bought]:
    """Return what an account has bought, whoever paid for it, the newest first."""
    return await db.rows(Bought, _BOUGHT, id=account_id, most=most)


class Piece(NamedTuple):
    """What was made for an account: a file that is kept still, or what is said."""

    item_id: str
    batch_id: str
    cast_id: str | None
    media_type: str | None  # of a file
    width: int | None
    height: int | None
    output: dict[str, Any] | None  # where it is no file
    tool: str
    prompt: str | None
    ended_at: datetime


# What was purged has no file any more.
_PIECES = """
SELECT i.id AS item_id, b.id AS batch_id, b.cast_id, a.media_type, a.width, a.height, i.output,
       i.lane AS tool,
       COALESCE(i.asked->>'prompt', i.asked->'inputs'->>'prompt',
                i.asked->'inputs'->>'input_prompt', i.asked->'inputs'->>'text') AS prompt,
       i.ended_at
  FROM batch b
 CROSS JOIN LATERAL (SELECT * FROM item WHERE batch_id = b.id LIMIT 500) i
  LEFT JOIN LATERAL (SELECT media_type, width, height, expires_at FROM artifact
                      WHERE id = i.artifact LIMIT 1) a ON true
 WHERE b.account_id = %(id)s AND b.purged_at IS NULL AND i.state = 'completed'
   AND (a.expires_at > %(now)s OR i.output IS NOT NULL)
 ORDER BY i.ended_at DESC, i.id LIMIT %(most)s OFFSET %(offset)s
"""


async def pieces(
    db: Database, account_id: str, now: datetime, offset: int, most: int
) -> list[Piece]:
    """Return what was made for an account, and is kept still if it is a file, the newest first."""
    return await db.rows(Piece, _PIECES, id=account_id, now=now, offset=offset, most=most)
