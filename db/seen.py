"""Workers of the network that were heard of at one moment, and what each asks for, in one
statement.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from db.arrays import integers, texts
from db.engine import Tx
from db.workers import NOTED


class Seen(NamedTuple):
    """A worker that asks for items of these lanes, and how much its machine can."""

    worker_id: str
    lanes: tuple[str, ...]
    most_pixels: int
    vram_gb: int


# Whose row is locked is at work: when it was heard of is written the next time. Nobody waits here
# for a worker while it keeps others waiting.
_SEEN = """
WITH there AS (
  UPDATE worker SET seen_at = %(now)s WHERE id = ANY(ARRAY(
         SELECT w.id FROM worker w WHERE w.id = ANY(%(ids)s::text[]) AND w.seen_at < %(noted)s
          ORDER BY w.id FOR NO KEY UPDATE SKIP LOCKED)))
INSERT INTO worker_lane (worker_id, lane, most_pixels, vram_gb, last_seen)
SELECT offered.worker_id, offered.lane, offered.most_pixels, offered.vram_gb, %(now)s
  FROM unnest(%(of)s::text[], %(lanes)s::text[], %(most_pixels)s::bigint[], %(vram_gb)s::bigint[])
       AS offered(worker_id, lane, most_pixels, vram_gb)
 ORDER BY offered.worker_id, offered.lane
ON CONFLICT (worker_id, lane) DO UPDATE SET most_pixels = excluded.most_pixels,
       vram_gb = excluded.vram_gb, last_seen = excluded.last_seen
 WHERE worker_lane.last_seen < %(noted)s OR worker_lane.most_pixels <> excluded.most_pixels
    OR worker_lane.vram_gb <> excluded.vram_gb
"""


async def see(tx: Tx, seen: Sequence[Seen], now: datetime) -> None:
    """Note that workers were heard of, none of them twice, and what each asks for."""
    offered = [(each, lane) for each in seen for lane in dict.fromkeys(each.lanes)]
    await tx.execute(
        _SEEN,
        ids=texts([each.worker_id for each in seen]),
        of=texts([each.worker_id for each, _ in offered]),
        lanes=texts([lane for _, lane in offered]),
        most_pixels=integers([each.most_pixels for each, _ in offered]),
        vram_gb=integers([each.vram_gb for each, _ in offered]),
        now=now,
        noted=now - NOTED,
    )
