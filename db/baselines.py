"""What each wallet held beyond the books: when it was first seen, and each time a person said why.

An operator's own money may lie in the wallet, so that only what changed since is compared.
"""

from dataclasses import dataclass
from datetime import datetime

from db.engine import Database, Tx

FIRST_SEEN = "first seen"


@dataclass(frozen=True, slots=True)
class Baseline:
    """The newest one of a wallet."""

    beyond: int  # held by it and not in the books, in its smallest unit; negative when it held less
    reason: str
    at: datetime


async def newest(db: Database, identity: str) -> Baseline | None:
    """Return what a wallet is compared with; None when it was never seen."""
    row = await db.read_one(
        "SELECT beyond, reason, at FROM rail_baseline WHERE identity = %(identity)s"
        " ORDER BY number DESC LIMIT 1",
        identity=identity,
    )
    return Baseline(**row) if row else None


_FIRST = """
INSERT INTO rail_baseline (identity, number, beyond, reason, at)
VALUES (%(identity)s, 1, %(beyond)s, %(reason)s, %(at)s) ON CONFLICT DO NOTHING
"""
_NEXT = """
INSERT INTO rail_baseline (identity, number, beyond, reason, at)
SELECT %(identity)s, coalesce(max(number), 0) + 1, %(beyond)s, %(reason)s, %(at)s
  FROM rail_baseline WHERE identity = %(identity)s
"""


async def first(tx: Tx, identity: str, baseline: Baseline) -> None:
    """Write down what a wallet held when it was first seen; whoever saw it first is right."""
    await tx.execute(_FIRST, **_values(identity, baseline))


async def add(tx: Tx, identity: str, baseline: Baseline) -> None:
    """Compare with this from now on. The older ones stay to be read."""
    await tx.execute(_NEXT, **_values(identity, baseline))


def _values(identity: str, baseline: Baseline) -> dict[str, object]:
    return {
        "identity": identity,
        "beyond": baseline.beyond,
        "reason": baseline.reason,
        "at": baseline.at,
    }
