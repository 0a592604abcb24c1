"""Whether payouts stand still. It is said of the database, beside all tables: what is restored into
it from a backup does not know what was paid since, and must not say that it may be paid again.
"""

import psycopg
from psycopg import sql

from db.engine import Database

NAME = "boltwork.payouts_stand_still"


def hold(url: str) -> None:
    """Have payouts stand still from now on, in every process, until they are released."""
    _say(url, sql.SQL("SET {} = 'yes'"))


def release(url: str) -> None:
    """Have them go on."""
    _say(url, sql.SQL("RESET {}"))


def _say(url: str, how: sql.SQL) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        database = sql.Identifier(connection.info.dbname)
        said = how.format(sql.Identifier(*NAME.split(".")))
        connection.execute(sql.SQL("ALTER DATABASE {} {}").format(database, said))


async def stands(db: Database) -> bool:
    """Say whether payouts stand still now."""
    found = await db.read_one(
        "SELECT 1 AS held FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase"
        " WHERE d.datname = current_database() AND s.setrole = 0"
        " AND EXISTS (SELECT 1 FROM unnest(s.setconfig) c WHERE c LIKE %(name)s)",
        name=f"{NAME}=%",
    )
    return found is not None
