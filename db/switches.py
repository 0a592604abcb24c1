"""An operator's switches, in Postgres: whatever reads them, in whichever process, sees them now.

Before a backup is restored, paying out is switched off in a setting of the database itself: what
comes out of the backup does not know what was paid since, and must not say that it may be paid.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

import psycopg
from psycopg import sql

from db.engine import Database, Tx
from db.reach import opened

STAND_STILL = "boltwork.payouts_stand_still"


class Name(StrEnum):
    """What can be switched off. What was never switched is on."""

    SELLING = "selling"
    PAYING_OUT = "paying-out"


_OFF = f"""
SELECT name FROM switch WHERE NOT is_on
UNION SELECT 'paying-out' FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
       WHERE d.datname = current_database() AND s.setrole = 0
         AND EXISTS (SELECT 1 FROM unnest(s.setconfig) c WHERE c LIKE '{STAND_STILL}=%%')
"""


async def is_on(db: Database, name: Name) -> bool:
    """Say whether this is on."""
    return (await all_of(db))[name]


async def all_of(db: Database) -> dict[Name, bool]:
    """Return how every switch stands."""
    off = {row["name"] for row in await db.read_all(_OFF)}
    return {name: name.value not in off for name in Name}


_TURN = """
INSERT INTO switch (name, is_on, at) VALUES (%(name)s, %(is_on)s, %(now)s)
ON CONFLICT (name) DO UPDATE SET is_on = EXCLUDED.is_on, at = EXCLUDED.at
"""


async def turn(tx: Tx, name: Name, on: bool, now: datetime) -> None:
    """Switch it."""
    await tx.execute(_TURN, name=name, is_on=on, now=now)
    if name is Name.PAYING_OUT and on:
        reset = _of_database(tx.connection, sql.SQL("RESET {}")).as_string(tx.connection)
        await tx.execute(reset.replace("%", "%%"))


def stop_payouts(url: str) -> None:
    """Switch paying out off in a database that has no tables yet."""
    with opened(url, autocommit=True) as connection:
        connection.execute(_of_database(connection, sql.SQL("SET {} = 'yes'")))


def _of_database(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], how: sql.SQL
) -> sql.Composed:
    setting = how.format(sql.Identifier(*STAND_STILL.split(".")))
    database = sql.Identifier(connection.info.dbname)
    return sql.SQL("ALTER DATABASE {} {}").format(database, setting)
