"""Bring a database to the tables of this version. One process at a time; the others wait."""

from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text

HERE = Path(__file__).parent / "migrations"
LOCK = 8402_2009  # any number of our own: the advisory lock that migrators share


def migrate(url: str, target: str = "head") -> None:
    """Apply what is missing, in one transaction. `url` is a libpq URL."""
    engine = create_engine(sqlalchemy.make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": LOCK})
            command.upgrade(config(connection), target)
    finally:
        engine.dispose()


def config(connection: Connection) -> Config:
    """Return Alembic's configuration over a connection whose transaction is ours."""
    settings = Config()
    settings.set_main_option("script_location", str(HERE))
    settings.attributes["connection"] = connection
    return settings
