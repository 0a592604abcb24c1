"""An operator's switches, in Postgres: whatever reads them, in whichever process, sees them now."""

from datetime import datetime
from enum import StrEnum

from db.engine import Database, Tx


class Name(StrEnum):
    """What can be switched off. What was never switched is on."""

    SELLING = "selling"
    PAYING_OUT = "paying-out"


async def is_on(db: Database, name: Name) -> bool:
    """Say whether this is on."""
    row = await db.read_one("SELECT is_on FROM switch WHERE name = %(name)s", name=name)
    return row is None or bool(row["is_on"])


async def all_of(db: Database) -> dict[Name, bool]:
    """Return how every switch stands."""
    rows = {row["name"]: row["is_on"] for row in await db.read_all("SELECT * FROM switch")}
    return {name: bool(rows.get(name.value, True)) for name in Name}


_TURN = """
INSERT INTO switch (name, is_on, at) VALUES (%(name)s, %(is_on)s, %(now)s)
ON CONFLICT (name) DO UPDATE SET is_on = EXCLUDED.is_on, at = EXCLUDED.at
"""


async def turn(tx: Tx, name: Name, on: bool, now: datetime) -> None:
    """Switch it."""
    await tx.execute(_TURN, name=name, is_on=on, now=now)
