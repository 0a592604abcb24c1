"""Bring a database to the tables of this version. One process at a time; the others wait.

Alembic takes half a second to say that there is nothing to do, so that is asked without it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

HERE = Path(__file__).parent / "migrations"
LOCK = 8402_2009  # any number of our own: the advisory lock that migrators share


def migrate(url: str, target: str = "head") -> None:
    """Apply what is missing, in one transaction. `url` is a libpq URL. Raises DatabaseAway."""
    if target == "head" and version(url) == newest():
        return
    import sqlalchemy
    from alembic import command

    there = sqlalchemy.make_url(url).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(there)
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:n)"), {"n": LOCK})
            command.upgrade(config(connection), target)
    finally:
        engine.dispose()


def newest() -> str:
    """Return the version that this program has tables for: its last step's number."""
    return max(step.name for step in (HERE / "versions").glob("[0-9]*.py"))[:4]


def version(url: str) -> str | None:
    """Return the version that a database is at; None for one without tables of ours.

    Raises DatabaseAway when nothing there lets us in.
    """
    try:
        with psycopg.connect(url, connect_timeout=15) as connection:
            found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
            if found is None or found[0] is None:
                return None
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return None if row is None else str(row[0])
    except psycopg.Error as error:
        from db.engine import DatabaseAway

        raise DatabaseAway(f"Postgres does not let us in ({type(error).__name__})") from error


def config(connection: "Connection") -> "Config":
    """Return Alembic's configuration over a connection whose transaction is ours."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(HERE))
    settings.attributes["connection"] = connection
    return settings
