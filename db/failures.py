"""Failures that have cost the house: how many each payer had on one day."""

from datetime import date, datetime, timedelta

from db.engine import Database, Tx

KEPT = timedelta(days=2)

_COUNT = """
INSERT INTO failure_day AS kept (payer, day, n) VALUES (%(payer)s, %(day)s, 1)
ON CONFLICT (payer, day) DO UPDATE SET n = kept.n + 1 RETURNING n
"""


async def count(tx: Tx, payer: str, day: date) -> int:
    """Count a failure of a payer; return which of this day's it is."""
    row = await tx.one(_COUNT, payer=payer, day=day)
    assert row is not None
    return int(row["n"])


async def of_payer(db: Database, payer: str, day: date) -> int:
    """Return how many failures a payer had on a day."""
    row = await db.read_one(
        "SELECT n FROM failure_day WHERE payer = %(payer)s AND day = %(day)s", payer=payer, day=day
    )
    return int(row["n"]) if row else 0


async def beyond(db: Database, day: date, most: int) -> int:
    """Return how many payers had more failures than so many on a day."""
    row = await db.read_one(
        "SELECT count(*) AS n FROM failure_day WHERE day = %(day)s AND n > %(most)s",
        day=day,
        most=most,
    )
    assert row is not None
    return int(row["n"])


async def purge(tx: Tx, now: datetime) -> None:
    """Forget days that are over."""
    await tx.execute("DELETE FROM failure_day WHERE day < %(day)s", day=(now - KEPT).date())
