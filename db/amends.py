"""Amends: what a batch's buyer has back of what a worker has forfeited."""

from datetime import datetime
from typing import NamedTuple

from db.engine import Database, Tx
from db.rows import columns
from statemachine.amends import AmendsFacts, AmendsState
from statemachine.entries import Asset

_INSERT = """
INSERT INTO amends (id, canary_id, batch_id, state, asset, amount, created_at)
VALUES (%(id)s, %(canary_id)s, %(batch_id)s, %(state)s, %(asset)s, %(amount)s, %(now)s)
"""


async def insert(tx: Tx, canary_id: str, facts: AmendsFacts, now: datetime) -> None:
    """Write amends that are due from now on."""
    await tx.execute(
        _INSERT,
        id=facts.id,
        canary_id=canary_id,
        batch_id=facts.batch_id,
        state=facts.state,
        asset=facts.asset,
        amount=facts.amount,
        now=now,
    )


class AmendsRow(NamedTuple):
    """Amends as they are now."""

    id: str
    batch_id: str
    state: AmendsState
    asset: Asset
    amount: int
    number: int | None


_ROW = f"SELECT {columns(AmendsRow)} FROM amends"


async def due(db: Database, most: int) -> list[AmendsRow]:
    """Return amends that are to be made, the oldest first."""
    query = f"{_ROW} WHERE state = 'due' ORDER BY created_at, id LIMIT %(most)s"
    return await db.rows(AmendsRow, query, most=most)


async def lock(tx: Tx, amends_id: str) -> AmendsRow | None:
    """Return a row, locked; its batch's lock is taken before."""
    return await tx.row(AmendsRow, f"{_ROW} WHERE id = %(id)s FOR UPDATE", id=amends_id)


class _Number(NamedTuple):
    number: int


async def next_number(tx: Tx, batch_id: str) -> int:
    """Return the number of the next amends that are made to a locked batch."""
    query = (
        "SELECT coalesce(max(number), 0) + 1 AS number FROM amends WHERE batch_id = %(batch_id)s"
    )
    row = await tx.row(_Number, query, batch_id=batch_id)
    assert row is not None, "an aggregate has a row"
    return row.number


def facts_of(row: AmendsRow) -> AmendsFacts:
    """Return the law's view of a row."""
    return AmendsFacts(row.id, row.batch_id, row.state, row.asset, row.amount, row.number)


async def move(tx: Tx, after: AmendsFacts, now: datetime) -> None:
    """Write that amends are made."""
    query = (
        "UPDATE amends SET state = %(state)s, number = %(number)s, made_at = %(now)s"
        " WHERE id = %(id)s"
    )
    await tx.execute(query, id=after.id, state=after.state, number=after.number, now=now)
