"""Bring a database to the tables of this version. One process at a time; the others wait.

Alembic takes half a second to say that there is nothing to do, so that is asked without it.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from db.reach import Unfit, opened, reached

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

HERE = Path(__file__).parent / "migrations"
LOCK = 8402_2009  # any number of our own: the advisory lock that migrators share


def migrate(url: str, target: str = "head") -> None:
    """Apply what is missing, in one transaction. `url` is a libpq URL. Raises Unfit."""
    if target == "head":
        at = version(url)
        if at == newest():
            return
        refuse_unknown(at)
    import sqlalchemy
    from alembic import command

    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: opened(url))
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:n)"), {"n": LOCK})
            command.upgrade(config(connection), target)
    except sqlalchemy.exc.DBAPIError as error:
        # Of what Postgres says, the first line: it names the rule, the rest would quote rows.
        said = str(error.orig).strip().splitlines()[0]
        mend = "make room for them: a database of its own for Boltwork, and a user that owns it"
        raise Unfit(f"The tables can't be brought up to date ({said})", mend) from None
    finally:
        engine.dispose()


def newest() -> str:
    """Return the version that this program has tables for: its last step's number."""
    return max(step.name for step in (HERE / "versions").glob("[0-9]*.py"))[:4]


def version(url: str) -> str | None:
    """Return the version that a database is at; None for one without tables of ours.

    Raises Unfit when nothing there lets us in.
    """
    with reached(url) as connection:
        return version_at(connection)


def version_at(connection: psycopg.Connection[Any]) -> str | None:
    """Return the version that the database of this connection is at, as `version` does."""
    found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
    if found is None or found[0] is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def refuse_unknown(at: str | None) -> None:
    """Raise Unfit when the tables are not of this version or one before it."""
    if at is not None and not re.fullmatch(r"[0-9]{4}", at):
        raise Unfit(
            "The tables of another program are in this database",
            "give Boltwork a database of its own",
        )
    if at is not None and at > newest():
        raise Unfit(
            f"The tables are of version {at}, and this program knows those up to {newest()}",
            "run the newer Boltwork that made them",
        )


def config(connection: "Connection") -> "Config":
    """Return Alembic's configuration over a connection whose transaction is ours."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(HERE))
    settings.attributes["connection"] = connection
    return settings
