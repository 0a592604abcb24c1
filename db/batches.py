"""Batches: insert, lock, move, and the row that answers a poll."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from db.engine import Database, Tx
from db.jobs import CHANNEL
from db.lookups import Lookup
from db.payouts import PayoutView
from db.rows import columns
from statemachine.batch import BATCH, BatchFacts, BatchState, Funding
from statemachine.entries import Asset

_INSERT = """
INSERT INTO batch (id, state, version, funding, asset, price_amount, items, cancelled, called_off,
                   session_id, account_id, paid_by, credential, budgets, refund_to, payer, quote,
                   cast_id, author_id, author_pct, created_at, updated_at)
VALUES (%(id)s, %(state)s, 1, %(funding)s, %(asset)s, %(price_amount)s, %(items)s, %(cancelled)s,
        %(called_off)s, %(session_id)s, %(account_id)s, %(paid_by)s, %(credential)s, %(budgets)s,
        %(refund_to)s, %(payer)s, %(quote)s, %(cast_id)s, %(author_id)s, %(author_pct)s, %(now)s,
        %(now)s)
"""


@dataclass(frozen=True, slots=True)
class OfCast:
    """Of which cast a batch is, and what the spell's author has of each of its items."""

    cast_id: str
    author_id: str | None = None
    author_pct: int = 0


async def insert(
    tx: Tx,
    facts: BatchFacts,
    payer: str,
    quote: dict[str, Any],
    refund_to: str | None,
    now: datetime,
    *,
    credential: Sequence[str] | None = None,
    budgets: Sequence[str] | None = None,
    cast: OfCast | None = None,
) -> None:
    """Write a new batch, without its items.

    `credential` are the links of what asked for it, `budgets` those of them that it spends.
    """
    await tx.execute(
        _INSERT,
        id=facts.id,
        state=facts.state,
        funding=facts.funding,
        asset=facts.asset,
        price_amount=facts.price_amount,
        items=facts.items,
        cancelled=facts.cancelled,
        called_off=facts.called_off,
        session_id=facts.session_id,
        account_id=facts.account_id,
        paid_by=facts.paid_by,
        credential=None if credential is None else list(credential),
        budgets=list(budgets) if budgets else None,
        refund_to=refund_to,
        payer=payer,
        quote=quote,
        cast_id=cast.cast_id if cast else None,
        author_id=cast.author_id if cast else None,
        author_pct=cast.author_pct if cast else 0,
        now=now,
    )


class BatchRow(NamedTuple):
    """A batch whose row is locked until the transaction ends."""

    id: str
    state: BatchState
    funding: Funding
    asset: Asset
    price_amount: int
    charged_amount: int
    items: int
    delivered: int
    failed: int
    cancelled: int
    called_off: bool
    session_id: str | None
    account_id: str | None
    paid_by: str | None
    budgets: list[str] | None
    refund_to: str | None
    payer: str
    cast_id: str | None
    author_id: str | None
    author_pct: int


_LOCK = f"SELECT {columns(BatchRow)} FROM batch WHERE id = %(id)s FOR UPDATE"
_LOCK_OF_ITEM = f"""
SELECT {columns(BatchRow)} FROM batch
 WHERE id = (SELECT batch_id FROM item WHERE id = %(id)s) FOR UPDATE
"""


_LOCK_UNPAID = f"""
SELECT {columns(BatchRow)} FROM batch
 WHERE cast_id = %(id)s AND state = 'awaiting_payment' AND funding = 'invoice' FOR UPDATE
"""


async def lock_unpaid(tx: Tx, cast_id: str) -> list[BatchRow]:
    """Return what was offered for a cast and is not paid for, locked."""
    return await tx.rows(BatchRow, _LOCK_UNPAID, id=cast_id)


async def lock(tx: Tx, batch_id: str) -> BatchRow | None:
    """Return the batch's row, locked; None when there is none."""
    return await tx.row(BatchRow, _LOCK, id=batch_id)


async def lock_of_item(tx: Tx, item_id: str) -> BatchRow | None:
    """Return the row of the batch that an item is of, locked. Whoever ends an item takes it first,
    and the item's after it."""
    return await tx.row(BatchRow, _LOCK_OF_ITEM, id=item_id)


def facts_of(row: BatchRow) -> BatchFacts:
    """Return the law's view of a row."""
    return BatchFacts(
        id=row.id,
        state=row.state,
        funding=row.funding,
        price_amount=row.price_amount,
        items=row.items,
        delivered=row.delivered,
        failed=row.failed,
        cancelled=row.cancelled,
        charged_amount=row.charged_amount,
        called_off=row.called_off,
        session_id=row.session_id,
        asset=row.asset,
        account_id=row.account_id,
        paid_by=row.paid_by,
    )


class Quoted(NamedTuple):
    """What a batch's buyer was told that it costs."""

    quote: dict[str, Any]


async def quote_of(tx: Tx, batch_id: str) -> dict[str, Any]:
    """Return what the buyer of a batch that is there was told."""
    row = await tx.row(Quoted, "SELECT quote FROM batch WHERE id = %(id)s", id=batch_id)
    assert row is not None, "its row is locked"
    return row.quote


_MOVE = """
UPDATE batch SET state = %(state)s, version = version + 1, charged_amount = %(charged_amount)s,
       delivered = %(delivered)s, failed = %(failed)s, cancelled = %(cancelled)s,
       called_off = %(called_off)s, updated_at = %(now)s, completed_at = %(completed_at)s
 WHERE id = %(id)s
"""
_TELL = "SELECT pg_notify(%(channel)s, %(id)s)"
_TOUCH = """
WITH changed AS (
  UPDATE batch SET version = version + 1, updated_at = %(now)s WHERE id = %(id)s)
SELECT pg_notify(%(channel)s, %(id)s)
"""


async def move(tx: Tx, row: BatchRow, after: BatchFacts, now: datetime) -> None:
    """Write the facts after an event, and tell whoever waits for another state.

    That one item more has ended is told to nobody: Postgres commits what it has to tell of one
    after the other, and these are many.
    """
    await tx.execute(
        _MOVE,
        id=after.id,
        state=after.state,
        charged_amount=after.charged_amount,
        delivered=after.delivered,
        failed=after.failed,
        cancelled=after.cancelled,
        called_off=after.called_off,
        completed_at=now if BATCH.final(after.state) else None,
        now=now,
    )
    if row.state is not after.state:
        await tx.execute(_TELL, channel=CHANNEL, id=after.id)


async def touch(tx: Tx, batch_id: str, now: datetime) -> None:
    """Count a visible change that leaves the state as it is: an invoice opened, a refund paid."""
    await tx.execute(_TOUCH, id=batch_id, now=now, channel=CHANNEL)


class BatchView(NamedTuple):
    """All that a buyer may see of a batch, but its items."""

    id: str
    state: BatchState
    version: int
    funding: Funding
    asset: Asset
    price_amount: int
    charged_amount: int
    items: int
    delivered: int
    failed: int
    cancelled: int
    called_off: bool
    session_id: str | None
    account_id: str | None
    paid_by: str | None
    credential: list[str] | None
    quote: dict[str, Any]
    created_at: datetime
    completed_at: datetime | None
    forgotten_at: datetime | None  # since then nothing tells what was asked for
    payouts: list[PayoutView]

    @property
    def is_final(self) -> bool:
        """Say whether the batch has come to its end."""
        return BATCH.final(self.state)


_VIEW = """
SELECT b.id, b.state, b.version, b.funding, b.asset, b.price_amount, b.charged_amount, b.items,
       b.delivered, b.failed, b.cancelled, b.called_off, b.session_id, b.account_id, b.paid_by,
       b.credential, b.quote, b.created_at, b.completed_at, b.forgotten_at, p.payouts
  FROM batch b
  LEFT JOIN LATERAL (
       SELECT json_agg(json_build_object('id', o.id, 'secret', o.secret, 'reason', o.reason,
              'state', o.state, 'amount', o.amount, 'asset', o.asset,
              'attempts', o.attempts,
              'note', o.note, 'refund_to', o.refund_to, 'failures', o.failures,
              'txid', t.txid)
              ORDER BY o.created_at, o.id) AS payouts
         FROM payout o LEFT JOIN usdc_attempt t
           ON t.payout_id = o.id AND t.outcome IN ('live', 'settled')
        WHERE o.batch_id = b.id) p ON true
 WHERE b.id = %(id)s AND b.funding <> 'house'
"""  # what the house orders of a worker is shown to nobody


async def view(db: Database, batch_id: str) -> BatchView | None:
    """Return all that a buyer may see of a batch, but its items."""
    return await db.row(BatchView, _VIEW, id=batch_id)


class Mark(NamedTuple):
    """By what a look at a batch is told from an earlier one."""

    version: int
    state: BatchState
    account_id: str | None  # whose it is, where it is anybody's
    held: str | None  # what is being made, how far it is and looks: that is no change of the batch

    @property
    def is_final(self) -> bool:
        """Say whether the batch has come to its end."""
        return BATCH.final(self.state)


_MARKS = Lookup(
    Mark,
    ["id"],
    """
SELECT b.version, b.state, b.account_id,
       CASE b.state WHEN 'processing' THEN (
         SELECT string_agg(concat_ws(':', i.place, i.state, l.number, l.progress,
                                     left(l.preview, 8)), ','
                           ORDER BY i.place)
           FROM item i LEFT JOIN lease l ON l.item_id = i.id AND l.state = 'held'
          WHERE i.batch_id = b.id AND i.state IN ('claimed', 'processing')) END AS held
  FROM batch b WHERE b.id = asked.id AND b.funding <> 'house'
""",
)


async def mark(db: Database, batch_id: str) -> Mark | None:
    """Return by what this look at a batch is told from an earlier one; None: there is none."""
    return await _MARKS.find(db, batch_id)


class Pace(NamedTuple):
    """How fast the items of a batch are made, and what those that were delivered cost."""

    began: datetime | None  # the first claim
    last: datetime  # the last change
    charged_microusd: int


# What a delivered item has come to in micro-USD, of its price as much as was charged of its share;
# rounded up, as `pricing.money.part_of` is.
CHARGED_MICROUSD = """
CASE WHEN coalesce(i.charged_amount, i.share_amount) = i.share_amount THEN i.weight
     ELSE ceil(i.weight::numeric * i.charged_amount / i.share_amount)::bigint END
"""
_PACE = f"""
SELECT (SELECT min(l.created_at) FROM item i
         CROSS JOIN LATERAL (SELECT lease.created_at FROM lease WHERE lease.item_id = i.id
                              ORDER BY lease.number LIMIT 1) l
         WHERE i.batch_id = b.id) AS began,
       b.updated_at AS last,
       (SELECT coalesce(sum({CHARGED_MICROUSD}), 0)::bigint FROM item i
         WHERE i.batch_id = b.id AND i.state = 'completed') AS charged_microusd
  FROM batch b WHERE b.id = %(id)s
"""


async def pace(db: Database, batch_id: str) -> Pace | None:
    """Return how fast a batch goes on, and what it has come to cost."""
    return await db.row(Pace, _PACE, id=batch_id)


class Load(NamedTuple):
    """What one payer has under way, and has paid for."""

    batches: int
    items: int


_LOAD = """
SELECT count(*) AS batches,
       coalesce(sum(items - delivered - failed - cancelled), 0)::bigint AS items
  FROM batch WHERE payer = %(payer)s
   AND state IN ('queued', 'processing')
"""


async def load_of(db: Database, payer: str) -> Load:
    """Return what one payer has under way, and has paid for."""
    load = await db.row(Load, _LOAD, payer=payer)
    assert load is not None
    return load
