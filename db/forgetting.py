"""Of what ended long ago a slim row stays: what was asked for, and what is no file, is forgotten.

What a receipt, the books and a cast's history need is in that row: the model, the size, the shares,
the hashes and the times. Of the words there is the sha256 that the receipt has always told.
"""

from datetime import datetime
from typing import NamedTuple

from db.engine import Tx


class _Ended(NamedTuple):
    id: str


# So many batches that all of them have so many items together: one more where a batch is large.
_ENDED = """
SELECT id FROM (
  SELECT id, sum(items) OVER (ORDER BY completed_at, id) - items AS before FROM (
    SELECT id, items, completed_at FROM batch
     WHERE purged_at IS NOT NULL AND forgotten_at IS NULL AND completed_at < %(ended)s
     ORDER BY completed_at LIMIT %(most)s FOR UPDATE SKIP LOCKED) due) counted
 WHERE before < %(most)s
"""
_SLIM = """
UPDATE item SET asked_sha256 = encode(sha256(convert_to(
         coalesce(asked ->> 'prompt', (asked -> 'inputs')::text, ''), 'UTF8')), 'hex'),
       asked = jsonb_strip_nulls(jsonb_build_object('model', asked -> 'model',
         'width', asked -> 'width', 'height', asked -> 'height',
         'duration_ms', asked -> 'duration_ms')),
       output = NULL, tried = '{}'
 WHERE batch_id = ANY(%(ids)s) AND asked_sha256 IS NULL
"""
# How what a worker brought looked: nobody can say any more whether another was asked the same.
_LOOKS = """
DELETE FROM look
 WHERE item_id = ANY(ARRAY(SELECT id FROM item WHERE batch_id = ANY(%(ids)s)))
"""
# Another version: whoever has seen it before sees that something has gone.
_MARK = """
UPDATE batch SET forgotten_at = %(now)s, version = version + 1 WHERE id = ANY(%(ids)s)
"""
# A cast may have been resumed: what it was given goes with the last of its batches.
_CASTS = """
UPDATE spell_cast c SET parameters = '{}', forgotten_at = %(now)s
 WHERE id = ANY(ARRAY(SELECT cast_id FROM batch WHERE id = ANY(%(ids)s) AND cast_id IS NOT NULL))
   AND NOT EXISTS (SELECT FROM batch b WHERE b.cast_id = c.id AND b.forgotten_at IS NULL OFFSET 0)
"""


async def forget(tx: Tx, ended: datetime, now: datetime, most: int) -> int:
    """Forget what was asked for by batches that ended before then, of about so many items in all;
    return how many batches that were.

    Their leases and their files are gone before.
    """
    ids = [row.id for row in await tx.rows(_Ended, _ENDED, ended=ended, most=most)]
    if ids:
        await tx.execute(_SLIM, ids=ids)
        await tx.execute(_LOOKS, ids=ids)
        await tx.execute(_MARK, ids=ids, now=now)
        await tx.execute(_CASTS, ids=ids, now=now)
    return len(ids)
