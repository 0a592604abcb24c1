"""The tables that migrations make are the tables that the code speaks of."""

import re

import psycopg
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from db.migrate import migrate
from db.tables import SQLModel

NOT_OURS = r"procrastinate_|job_history_(before|after|\d{4}_\d\d)$"  # and tables of months


def _ours(thing: object, name: str | None, kind: str, *_: object) -> bool:
    return not (kind == "table" and re.match(NOT_OURS, name or ""))


def test_migrations_give_exactly_the_tables_of_the_code(database_url: str) -> None:
    """Nothing is missing from, and nothing is left over in, a migrated database."""
    url = sqlalchemy.make_url(database_url).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": _ours})
        assert compare_metadata(context, SQLModel.metadata) == []
    engine.dispose()


def test_migrating_again_changes_nothing(database_url: str) -> None:
    """A second migration of a current database is a replay."""
    migrate(database_url)


def test_the_books_refuse_to_be_edited(database_url: str) -> None:
    """Postgres itself refuses an unbalanced entry, and any change to a written one."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO entry (id, key, asset, at) VALUES (1, 'k', 'msat', now())")
        with pytest.raises(psycopg.errors.CheckViolation, match="balance"):
            connection.execute("INSERT INTO posting VALUES (1, 'rail:lightning', 5)")
        connection.execute("INSERT INTO posting VALUES (1, 'rail:lightning', 5), (1, 'job:x', -5)")
        for change in ("UPDATE posting SET amount = 6", "DELETE FROM entry"):
            with pytest.raises(psycopg.errors.CheckViolation, match="append-only"):
                connection.execute(change)
