"""How pictures looked that workers of the network have brought, to find one that was given before.

A look is forgotten with what was asked for: without that nobody can say whether it was the same.
"""

from datetime import datetime
from typing import Any, NamedTuple

from db.engine import Tx
from statemachine.look import REUSED_PCT, Given, keys_of

MOST = 50  # that look the same are compared
_BITS = 256

_INSERT = """
INSERT INTO look (item_id, bits, keys, created_at)
VALUES (%(item_id)s, CAST(%(bits)s AS bit(256)), %(keys)s, %(now)s)
"""


def _values(look: str) -> dict[str, Any]:
    return {"bits": f"{int(look, 16):0{_BITS}b}", "keys": keys_of(look)}


async def insert(tx: Tx, item_id: str, look: str, now: datetime) -> None:
    """Write how the picture looks that a worker has brought for an item."""
    await tx.execute(_INSERT, item_id=item_id, now=now, **_values(look))


class _Found(NamedTuple):
    look: str
    sha256: str
    asked: dict[str, Any]


# Two that bring the same picture at once: the second waits, and then sees the first.
_WAIT = "SELECT pg_advisory_xact_lock(hashtextextended(%(look)s, 0))"
_NEAR = """
SELECT a.look, i.sha256, i.asked
  FROM look l JOIN item i ON i.id = l.item_id JOIN artifact a ON a.id = i.artifact
 WHERE l.keys && CAST(%(keys)s AS integer[]) AND i.id <> %(item_id)s AND i.asked_sha256 IS NULL
   AND bit_count(l.bits # CAST(%(bits)s AS bit(256))) * 100
       <= %(pct)s * (bit_count(l.bits) + %(ones)s)
 ORDER BY l.created_at LIMIT %(most)s
"""


async def near(tx: Tx, item_id: str, look: str) -> list[Given]:
    """Return pictures that look the same, and were brought for other items."""
    await tx.execute(_WAIT, look=look)
    ones, pct = int(look, 16).bit_count(), REUSED_PCT
    found = await tx.rows(
        _Found, _NEAR, item_id=item_id, ones=ones, pct=pct, most=MOST, **_values(look)
    )
    return [given(row.look, row.sha256, row.asked) for row in found]


def given(look: str, sha256: str, asked: dict[str, Any]) -> Given:
    """Return a picture with what was asked for; a run of a tool has its words among its inputs."""
    inputs = asked.get("inputs") or asked
    return Given(look, sha256, str(inputs.get("prompt", "")), int(inputs.get("seed") or 0))
