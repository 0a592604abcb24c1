"""Items: written with their batch, and ended. They are claimed by db.claims."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from db import artifacts, lanes
from db.artifacts import Artifact
from db.batches import BatchRow
from db.engine import Database, Tx
from db.rows import columns
from statemachine.item import ITEM, ItemEvent, ItemFacts, ItemState


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item as it is ordered: what shall be made, in which lane, and how long its turn is."""

    id: str
    lane: str
    weight: int
    share_amount: int
    asked: dict[str, Any]
    needs: tuple[str, ...] = ()  # items of its batch that must be made first
    step: int | None = None  # of the cast that it is of


class Output(NamedTuple):
    """What an item made that is no file: `{"text": …}` or `{"values": …}`."""

    sha256: str  # of the bytes that were brought
    value: dict[str, Any]


_INSERT = """
INSERT INTO item (id, batch_id, place, state, lane, weight, share_amount, asked, step, needs,
                  created_at)
SELECT id, %(batch_id)s, place, state, lane, weight, share_amount, asked, step,
       ARRAY(SELECT jsonb_array_elements_text(needs)), %(now)s
  FROM unnest(CAST(%(ids)s AS text[]), CAST(%(states)s AS text[]), CAST(%(lanes)s AS text[]),
              CAST(%(weights)s AS bigint[]), CAST(%(shares)s AS bigint[]),
              CAST(%(asked)s AS jsonb[]), CAST(%(steps)s AS bigint[]), CAST(%(needs)s AS jsonb[]))
       WITH ORDINALITY AS new(id, state, lane, weight, share_amount, asked, step, needs, place)
"""


async def insert(tx: Tx, batch_id: str, items: Sequence[NewItem], now: datetime) -> None:
    """Write the items of a new batch, in their order. None of them has its turn yet."""
    states = [ItemState.WAITING if item.needs else ItemState.PENDING for item in items]
    await tx.execute(
        _INSERT,
        batch_id=batch_id,
        ids=[item.id for item in items],
        states=[state.value for state in states],
        lanes=[item.lane for item in items],
        weights=[item.weight for item in items],
        shares=[item.share_amount for item in items],
        asked=[Jsonb(item.asked) for item in items],
        steps=[item.step for item in items],
        needs=[Jsonb(list(item.needs)) for item in items],
        now=now,
    )


class ItemRow(NamedTuple):
    """An item whose row is locked until the transaction ends."""

    id: str
    batch_id: str
    state: ItemState
    lane: str
    rank: int | None
    share_amount: int
    number: int
    tries: int
    reason: str | None
    weight: int


_LOCK = f"SELECT {columns(ItemRow)} FROM item WHERE id = %(id)s FOR UPDATE"


async def lock(tx: Tx, item_id: str) -> ItemRow | None:
    """Return an item's row, locked; who needs its batch's lock too takes that one first."""
    return await tx.row(ItemRow, _LOCK, id=item_id)


class Standing(NamedTuple):
    """Where an item stands."""

    state: ItemState


async def state_of(tx: Tx, item_id: str) -> ItemState | None:
    """Return where an item stood a moment ago. It is not locked."""
    row = await tx.row(Standing, "SELECT state FROM item WHERE id = %(id)s", id=item_id)
    return row.state if row else None


def facts_of(row: ItemRow, batch: BatchRow | None) -> ItemFacts:
    """Return the law's view of a row; without its batch, what that says is left out."""
    facts = ItemFacts(
        id=row.id,
        batch_id=row.batch_id,
        state=row.state,
        share_amount=row.share_amount,
        number=row.number,
        tries=row.tries,
        reason=row.reason,
    )
    if batch is None:
        return facts
    return replace(
        facts,
        called_off=batch.called_off,
        asset=batch.asset,
        author_id=batch.author_id,
        author_pct=batch.author_pct,
    )


_MOVE = """
UPDATE item SET state = %(state)s, tries = %(tries)s, reason = %(reason)s, sha256 = %(sha256)s,
       artifact = %(artifact)s, output = %(output)s, charged_amount = %(charged_amount)s,
       ended_at = %(ended_at)s,
       tried = CASE WHEN %(by)s::text IS NULL THEN tried ELSE tried || %(by)s::text END
 WHERE id = %(id)s
"""


async def move(
    tx: Tx,
    row: ItemRow,
    after: ItemFacts,
    now: datetime,
    made: Artifact | Output | None = None,
    tried_by: str | None = None,
) -> None:
    """Write the facts after an event, with what was made where something was.

    `tried_by`: who gives it back, and never gets it again.
    """
    rank = row.rank if after.state is ItemState.PENDING else None  # where it is had again
    if rank is not None:
        await lanes.wake(tx, row.lane)
    file = made if isinstance(made, Artifact) else None
    if file is not None:
        await artifacts.insert(tx, file._replace(batch_id=row.batch_id))
    await tx.execute(
        _MOVE,
        id=after.id,
        state=after.state,
        tries=after.tries,
        reason=after.reason,
        sha256=made.sha256 if made else None,
        artifact=file.id if file else None,
        output=made.value if isinstance(made, Output) else None,
        charged_amount=after.charged_amount,
        ended_at=now if ITEM.final(after.state) else None,
        by=tried_by,
    )
    if rank is not None:
        await lanes.uncover(tx, row.lane, rank)


_UNBEGUN = """
SELECT i.id FROM item i JOIN batch b ON b.id = i.batch_id
 WHERE b.state = 'queued' AND i.state = 'pending' AND {which} ORDER BY i.id FOR UPDATE OF i
"""
_LOCK_UNBEGUN = _UNBEGUN.format(which="b.id = %(batch_id)s")
_LOCK_IF_UNBEGUN = _UNBEGUN.format(which="i.id = %(item_id)s")


async def lock_unbegun(tx: Tx, batch_id: str) -> None:
    """Lock the items of a batch that nobody has begun; who needs its lock too takes that one next.

    Whoever claims the first of them has locked that, and then begins the batch.
    """
    await tx.all(_LOCK_UNBEGUN, batch_id=batch_id)


async def lock_if_unbegun(tx: Tx, item_id: str) -> None:
    """Lock an item if nobody has begun its batch, as `lock_unbegun` does all of them."""
    await tx.all(_LOCK_IF_UNBEGUN, item_id=item_id)


_CANCEL = """
UPDATE item SET state = %(state)s, ended_at = %(now)s
 WHERE batch_id = %(batch_id)s AND state IN ('waiting', 'pending')
"""


async def cancel(tx: Tx, batch_id: str, now: datetime) -> int:
    """Cancel the items of a locked batch that nobody holds; return how many those were."""
    state = ITEM.step(ItemState.PENDING, ItemEvent.CANCELLED)
    return await tx.count(_CANCEL, batch_id=batch_id, state=state, now=now)


_DUE = f"""
SELECT {columns(ItemRow)} FROM item i
 WHERE i.batch_id = %(batch_id)s AND i.state = 'waiting' AND %(made)s = ANY(i.needs)
   AND NOT EXISTS (SELECT FROM item n WHERE n.id = ANY(i.needs) AND n.state <> 'completed')
 ORDER BY i.place FOR UPDATE OF i
"""


async def due(tx: Tx, batch_id: str, made: str) -> list[ItemRow]:
    """Return those items of a locked batch that waited for this one last, locked."""
    return await tx.rows(ItemRow, _DUE, batch_id=batch_id, made=made)


class _Asked(NamedTuple):
    id: str
    asked: dict[str, Any]


async def asked_for(tx: Tx, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what each of these items asks for."""
    query = "SELECT id, asked FROM item WHERE id = ANY(%(ids)s)"
    return {row.id: row.asked for row in await tx.rows(_Asked, query, ids=list(ids))}


async def ready(tx: Tx, row: ItemRow, after: ItemFacts, asked: dict[str, Any]) -> None:
    """Give an item its turn, and write what it asks for now that all it needs is made."""
    await lanes.wake(tx, row.lane)
    await tx.execute(
        "UPDATE item SET state = %(state)s, asked = %(asked)s WHERE id = %(id)s",
        id=row.id,
        state=after.state,
        asked=asked,
    )
    if row.rank is not None:
        await lanes.uncover(tx, row.lane, row.rank)


_FORSAKE = """
WITH RECURSIVE lost AS (
  SELECT CAST(%(lost)s AS text) AS id
  UNION SELECT i.id FROM item i JOIN lost ON lost.id = ANY(i.needs)
   WHERE i.batch_id = %(batch_id)s AND i.state = 'waiting')
UPDATE item SET state = %(state)s, reason = %(reason)s, ended_at = %(now)s FROM lost
 WHERE item.id = lost.id AND item.state = 'waiting'
"""
FORSAKEN = "A step that this one needs could not be made."


async def forsake(tx: Tx, batch_id: str, lost: str, now: datetime) -> int:
    """Cancel what in a locked batch was to be made from an item that is lost; return how many."""
    state = ITEM.step(ItemState.WAITING, ItemEvent.CANCELLED)
    values: dict[str, Any] = {"batch_id": batch_id, "lost": lost, "now": now}
    return await tx.count(_FORSAKE, state=state, reason=FORSAKEN, **values)


class ItemView(NamedTuple):
    """What a buyer may see of an item."""

    id: str
    place: int
    state: ItemState
    lane: str
    share_amount: int
    charged_amount: int | None
    tries: int
    progress: int
    reason: str | None
    asked: dict[str, Any]
    weight: int  # its price in micro-USD
    worker: str | None  # who holds it, or has made it
    preview: str | None  # by what name it is stored how it looks, while it is made
    sha256: str | None
    artifact: str | None
    output: dict[str, Any] | None
    media_type: str | None  # of the artifact, as is what follows
    size: int | None
    width: int | None
    height: int | None
    duration_ms: int | None
    expires_at: datetime | None
    created_at: datetime
    ended_at: datetime | None
    asked_sha256: str | None  # of its words, once they are forgotten; and with them what no file is
    started_at: datetime | None  # when whoever holds it, or has made it, claimed it

    @property
    def model(self) -> str:
        """Return what makes it; its lane, once what was asked for is no longer kept."""
        return str(self.asked.get("model", self.lane))


_VIEW = """
SELECT i.id, i.place, i.state, i.lane, i.share_amount, i.charged_amount, i.tries,
       CASE i.state WHEN 'completed' THEN 100 ELSE coalesce(l.progress, 0) END AS progress,
       i.reason, i.asked, i.weight, l.worker, l.preview, i.sha256, i.artifact, i.output,
       a.media_type, a.size, a.width, a.height, a.duration_ms, a.expires_at, i.created_at,
       i.ended_at, i.asked_sha256, l.created_at AS started_at
  FROM item i
  LEFT JOIN LATERAL (SELECT progress, worker, preview, created_at FROM lease
                      WHERE item_id = i.id AND state IN ('held', 'done') LIMIT 1) l ON true
  LEFT JOIN LATERAL (SELECT media_type, size, width, height, duration_ms, expires_at
                       FROM artifact WHERE id = i.artifact LIMIT 1) a ON true
"""  # each looked up for what is shown: joined, both would be read whole
_PAGE = f"""
{_VIEW} WHERE i.batch_id = %(batch_id)s AND i.place > %(after)s ORDER BY i.place LIMIT %(most)s
"""


async def page(db: Database, batch_id: str, after: int, most: int) -> list[ItemView]:
    """Return the items of a batch that come after a place, in their order."""
    return await db.rows(ItemView, _PAGE, batch_id=batch_id, after=after, most=most)


async def get(db: Database, batch_id: str, item_id: str) -> ItemView | None:
    """Return one item of a batch."""
    query = f"{_VIEW} WHERE i.id = %(id)s AND i.batch_id = %(batch_id)s"
    return await db.row(ItemView, query, id=item_id, batch_id=batch_id)


class _Whose(NamedTuple):
    batch_id: str


async def batch_of(db: Database, item_id: str) -> str | None:
    """Return the id of the batch that an item is of; None when there is no such item."""
    row = await db.row(_Whose, "SELECT batch_id FROM item WHERE id = %(id)s", id=item_id)
    return row.batch_id if row else None
