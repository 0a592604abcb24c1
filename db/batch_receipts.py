"""What a receipt tells of a batch, in one SELECT and so in one snapshot."""

from datetime import datetime
from typing import Any, NamedTuple

from db.engine import Database
from db.receipts import PAID_AND_BACK, Payment, Refund
from statemachine.batch import BatchState, Funding
from statemachine.entries import Asset
from statemachine.item import ItemState


class Piece(NamedTuple):
    """An item of a batch."""

    place: int
    state: ItemState
    model: str
    prompt: str
    prompt_sha256: str | None  # of that, once it is forgotten
    share_amount: int
    charged_amount: int | None  # None: the whole share, once it is delivered
    sha256: str | None
    reason: str | None
    step: int | None  # of the cast that it is of


class CastFacts(NamedTuple):
    """Of what spell a batch is a cast, or the rest of one."""

    id: str
    slug: str
    number: int  # of its version
    author_pct: int  # of what is charged: on top of each price, as everywhere


class BatchFacts(NamedTuple):
    """What a receipt tells of a batch. Amounts are in the smallest unit of its asset."""

    id: str
    state: BatchState
    funding: Funding
    asset: Asset
    account_id: str | None
    paid_by: str | None
    price_amount: int
    charged_amount: int
    quote: dict[str, Any]
    created_at: datetime
    completed_at: datetime | None
    cast_of: list[CastFacts]  # one at most
    items: list[Piece]
    payments: list[Payment]
    refunds: list[Refund]


_FACTS = f"""
SELECT b.id, b.state, b.funding, b.asset, b.account_id, b.paid_by, b.price_amount,
       b.charged_amount, b.quote, b.created_at, b.completed_at, c.cast_of, m.items, i.payments,
       p.refunds
  FROM batch b
  LEFT JOIN LATERAL (
       SELECT json_agg(json_build_object('id', c.id, 'slug', s.slug, 'number', v.number,
              'author_pct', CASE WHEN b.author_id IS NULL THEN 0 ELSE b.author_pct END)) AS cast_of
         FROM spell_cast c JOIN spell_version v ON v.id = c.version_id
         JOIN spell s ON s.id = v.spell_id WHERE c.id = b.cast_id) c ON true
  LEFT JOIN LATERAL (
       SELECT json_agg(json_build_object('place', place, 'state', state,
              'model', asked ->> 'model',
              'prompt', coalesce(asked ->> 'prompt', (asked -> 'inputs')::text, ''),
              'prompt_sha256', asked_sha256,
              'share_amount', share_amount, 'charged_amount', m.charged_amount,
              'sha256', sha256, 'reason', reason, 'step', step)
              ORDER BY place) AS items
         FROM item m WHERE batch_id = b.id) m ON true
{PAID_AND_BACK.format(column="batch_id", owner="b.id")}
 WHERE b.id = %(id)s
"""


async def facts(db: Database, batch_id: str) -> BatchFacts | None:
    """Return a batch with its items, payments and refunds; None when there is no such batch."""
    return await db.row(BatchFacts, _FACTS, id=batch_id)
