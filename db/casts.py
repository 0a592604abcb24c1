"""Casts of spells: the row that their batches name, and where their steps stand."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from db.batches import CHARGED_MICROUSD
from db.engine import Database, Tx
from db.rows import Reads
from statemachine.batch import BatchState
from statemachine.cast import Made
from statemachine.entries import Asset
from statemachine.item import ItemState


async def insert(
    tx: Tx, cast_id: str, version_id: str, parameters: dict[str, Any], now: datetime
) -> None:
    """Write a new cast, before its first batch."""
    await tx.execute(
        "INSERT INTO spell_cast (id, version_id, parameters, created_at)"
        " VALUES (%(id)s, %(version_id)s, %(parameters)s, %(now)s)",
        id=cast_id,
        version_id=version_id,
        parameters=parameters,
        now=now,
    )


# The items of a batch, looked up for what is asked about: joined, all could be read.
ITEMS = "CROSS JOIN LATERAL (SELECT * FROM item WHERE batch_id = b.id LIMIT 500) i"
_PAID = """
WITH now_paid AS (
  UPDATE spell_cast SET paid_at = %(now)s WHERE id = %(id)s AND paid_at IS NULL
  RETURNING version_id)
UPDATE spell_use SET uses = uses + 1
 WHERE spell_id = (SELECT v.spell_id FROM spell_version v JOIN now_paid p ON p.version_id = v.id)
"""


async def paid(tx: Tx, cast_id: str, now: datetime) -> None:
    """Note that a cast is paid for: it counts as a use of its spell, once."""
    await tx.execute(_PAID, id=cast_id, now=now)


async def forget_unpaid(tx: Tx, ids: Sequence[str]) -> None:
    """Delete casts among these that have no batch any more: nobody had paid."""
    await tx.execute(
        "DELETE FROM spell_cast c WHERE id = ANY(%(ids)s)"
        " AND NOT EXISTS (SELECT FROM batch b WHERE b.cast_id = c.id)",
        ids=list(ids),
    )


class BatchOfCast(NamedTuple):
    """What was ordered for a cast at one time, and what it came to."""

    id: str
    state: BatchState
    account_id: str | None
    asset: Asset
    price_amount: int
    charged_amount: int
    version: int
    called_off: bool
    author_pct: int
    created_at: datetime
    completed_at: datetime | None

    @property
    def was_made(self) -> bool:
        """Whether it was paid for, and has come to its end."""
        return self.state in (BatchState.COMPLETED, BatchState.FAILED) or (
            self.state is BatchState.CANCELLED and self.charged_amount > 0
        )


class CastRow(NamedTuple):
    """A cast, and of what it is one."""

    id: str
    version_id: str
    spell_id: str
    slug: str
    number: int
    document: dict[str, Any]
    parameters: dict[str, Any]
    created_at: datetime
    paid_at: datetime | None
    forgotten_at: datetime | None  # since then nobody knows what it was given
    batches: list[BatchOfCast]


_BATCHES = """
SELECT b.id, b.state, b.account_id, b.asset, b.price_amount, b.charged_amount, b.version,
       b.called_off, b.author_pct, b.created_at, b.completed_at
  FROM batch b WHERE b.cast_id = %(id)s
 ORDER BY b.state IN ('awaiting_payment', 'queued', 'processing'), b.created_at, b.id
"""  # what is open, which is one at most, is the last


_HEAD = """
SELECT c.id, c.version_id, s.id AS spell_id, s.slug, v.number, v.document, c.parameters,
       c.created_at, c.paid_at, c.forgotten_at, NULL AS batches
  FROM spell_cast c JOIN spell_version v ON v.id = c.version_id JOIN spell s ON s.id = v.spell_id
 WHERE c.id = coalesce((SELECT b.cast_id FROM batch b WHERE b.id = %(id)s), %(id)s)
"""


async def get(reads: Reads, cast_id: str) -> CastRow | None:
    """Return a cast with all that was ordered for it, the oldest first; also by the id of what was
    ordered when it was resumed."""
    row = await reads.row(CastRow, _HEAD, id=cast_id)
    if row is None:
        return None
    return row._replace(batches=await reads.rows(BatchOfCast, _BATCHES, id=row.id))


class StepView(NamedTuple):
    """A step of a cast, as it was ordered last."""

    step: int
    item_id: str
    batch_id: str
    place: int
    state: ItemState
    batch_state: BatchState
    charged_microusd: int  # what it cost, or would
    reason: str | None
    created_at: datetime
    ended_at: datetime | None
    progress: int  # in percent
    preview: str | None  # by what name it is stored how it looks, while it is made

    @property
    def made(self) -> Made:
        """How the law sees it."""
        is_paid = self.batch_state in (BatchState.QUEUED, BatchState.PROCESSING)
        return Made(self.step, self.state, is_paid)


_STEPS = f"""
WITH last AS (
  SELECT DISTINCT ON (i.step) i.step, i.id AS item_id, i.batch_id, i.place, i.state,
         b.state AS batch_state, {CHARGED_MICROUSD} AS charged_microusd, i.reason,
         i.created_at, i.ended_at
    FROM batch b {ITEMS}
   WHERE b.cast_id = %(id)s
   ORDER BY i.step, i.state = 'completed' DESC,
            b.state IN ('awaiting_payment', 'queued', 'processing') DESC, b.created_at DESC,
            b.id DESC)
SELECT last.*, CASE last.state WHEN 'completed' THEN 100 ELSE coalesce(l.progress, 0) END
       AS progress, l.preview
  FROM last LEFT JOIN LATERAL (SELECT progress, preview FROM lease
                                WHERE item_id = last.item_id AND state = 'held' LIMIT 1) l ON true
 ORDER BY last.step
"""


async def steps(reads: Reads, cast_id: str) -> list[StepView]:
    """Return each step of a cast, as it was ordered last, in their order."""
    return await reads.rows(StepView, _STEPS, id=cast_id)


class Runtime(NamedTuple):
    """How long a step of a spell takes."""

    step: int
    took_ms: int


_RUNTIMES = f"""
WITH last AS MATERIALIZED (
  SELECT c.id FROM spell_cast c WHERE c.version_id = %(version_id)s AND c.paid_at IS NOT NULL
   ORDER BY c.paid_at DESC LIMIT %(sample)s)
SELECT i.step, CAST(1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY
         extract(epoch FROM i.ended_at - l.created_at)) AS bigint) AS took_ms
  FROM last CROSS JOIN LATERAL (SELECT id FROM batch WHERE cast_id = last.id LIMIT 100) b {ITEMS}
 CROSS JOIN LATERAL (SELECT created_at FROM lease
                      WHERE item_id = i.id AND state = 'done' LIMIT 1) l
 WHERE i.state = 'completed' GROUP BY i.step ORDER BY i.step
"""


async def runtimes(db: Database, version_id: str, sample: int) -> dict[int, int]:
    """Return how long each step took, in milliseconds: the median of the last so many casts."""
    rows = await db.rows(Runtime, _RUNTIMES, version_id=version_id, sample=sample)
    return {row.step: row.took_ms for row in rows}


class Output(NamedTuple):
    """What a step has made: a file, or what is no file."""

    step: int
    artifact: str | None
    output: dict[str, Any] | None

    @property
    def text(self) -> str:
        """As those are told it that are made from it."""
        if self.artifact is not None:
            return f"artifact:{self.artifact}"
        return str((self.output or {}).get("text", ""))


_OUTPUTS = f"""
SELECT DISTINCT ON (i.step) i.step, i.artifact, i.output
  FROM batch b {ITEMS}
 WHERE b.cast_id = %(id)s AND i.state = 'completed' ORDER BY i.step, b.created_at DESC, b.id DESC
"""


async def outputs(reads: Reads, cast_id: str) -> dict[int, list[str]]:
    """Return what each step of a cast has made: files by the names of their artifacts, or texts."""
    rows = await reads.rows(Output, _OUTPUTS, id=cast_id)
    return {row.step: [row.text] for row in rows}


class _Kept(NamedTuple):
    step: int


_KEPT = f"""
SELECT i.step FROM batch b {ITEMS}
  LEFT JOIN LATERAL (SELECT expires_at FROM artifact WHERE id = i.artifact LIMIT 1) a ON true
 WHERE b.cast_id = %(id)s AND i.state = 'completed'
   AND (i.output IS NOT NULL OR a.expires_at > %(now)s)
"""


async def kept(reads: Reads, cast_id: str, now: datetime) -> set[int]:
    """Return the steps of a cast whose outputs are there: each is kept for its time alone."""
    return {row.step for row in await reads.rows(_Kept, _KEPT, id=cast_id, now=now)}
