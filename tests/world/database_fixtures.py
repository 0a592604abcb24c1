"""A real Postgres for the whole run, and a fresh database, migrated, for each test that asks."""

import gc
import itertools
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from psycopg import sql

from db.embedded import EmbeddedPostgres
from db.engine import Database
from db.migrate import migrate
from tests.world.in_memory import memory
from tests.world.once import made_once

_numbers = itertools.count(1)


def pytest_collection_finish() -> None:
    """Set aside what stays until the end: each test below would have it looked through again. What
    is garbage by then stays too, as to look for it among all of it takes each process a second."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def made_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an embedded Postgres that was migrated, and has ended: to be copied."""

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="boltwork-test-", dir=memory()) as name:
            Path(name).chmod(0o711)  # as root, the server is another user and must get in
            data = Path(name) / "data"
            with EmbeddedPostgres(data, fast_for_tests=True) as cluster:
                url = cluster.start()
                migrate(url)
                _ease(url)
            (data / "postgres" / "postmaster.opts").unlink()  # every copy looks for its own port
            copy_of(data, folder)

    return made_once(tmp_path_factory, "made-data", make)


def copy_of(data: Path, to: Path) -> Path:
    """Copy such a folder, and return where to; a first start without its two seconds."""
    to.mkdir(mode=0o711, exist_ok=True)
    for name in ("postgres", "postgres.password"):
        subprocess.run(["cp", "-a", data / name, to / name], check=True)
    return to


@pytest.fixture(scope="session")
def postgres(made_data: Path) -> Iterator[str]:
    """The libpq URL of a throw-away cluster, whose template database is migrated."""
    with tempfile.TemporaryDirectory(prefix="boltwork-test-", dir=memory()) as folder:
        Path(folder).chmod(0o711)
        cluster = EmbeddedPostgres(copy_of(made_data, Path(folder) / "data"), fast_for_tests=True)
        url = cluster.start()
        try:
            yield url
        finally:
            cluster.stop()


def _ease(url: str) -> None:
    """Make the password one that is quickly checked: each connection computes it on both sides."""
    user = sqlalchemy.make_url(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET scram_iterations = 1")
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(user.username or ""), sql.Literal(str(user.password))
            )
        )


@pytest.fixture(scope="session")
def admin(postgres: str) -> Iterator[psycopg.Connection[Any]]:
    """Who makes databases of that cluster, and drops them: one connection for the whole run."""
    with psycopg.connect(at(postgres, database="postgres"), autocommit=True) as connection:
        yield connection


@contextmanager
def _a_database(postgres: str, admin: psycopg.Connection[Any]) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    template = sqlalchemy.make_url(postgres).database
    # To copy the files is quicker than to write all that is in them to the log first.
    admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY".encode())
    yield at(postgres, database=name)
    # A connection that was given up in its handshake lets go only when it is collected, and
    # Postgres would wait a minute for it.
    gc.collect()
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database_url(postgres: str, admin: psycopg.Connection[Any]) -> Iterator[str]:
    """The URL of an empty, migrated database of the test's own."""
    with _a_database(postgres, admin) as url:
        yield url


@pytest.fixture(scope="module")
def database_url_of_file(postgres: str, admin: psycopg.Connection[Any]) -> Iterator[str]:
    """The same, for all tests of a file."""
    with _a_database(postgres, admin) as url:
        yield url


@pytest.fixture(scope="module")
def database_urls(postgres: str, admin: psycopg.Connection[Any]) -> Iterator[Callable[[], str]]:
    """The same, as many as the tests of a file ask for."""
    with ExitStack() as made:
        yield lambda: made.enter_context(_a_database(postgres, admin))


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """An open Database over an empty, migrated database."""
    database = Database(database_url)
    await database.open()
    yield database
    await database.close()


def at(url: str, **parts: Any) -> str:
    """Return a URL with some of its parts changed."""
    return sqlalchemy.make_url(url).set(**parts).render_as_string(hide_password=False)


def execute(url: str, *statements: str) -> None:
    """Run statements, each by itself."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture
def make_role(database_url: str) -> Iterator[Callable[[], str]]:
    """Makes a role that may log in, and nothing else; returns its URL."""
    made = []

    def make() -> str:
        name = f"role_{next(_numbers)}"
        execute(database_url, f"CREATE ROLE {name} LOGIN PASSWORD 'planted'")
        made.append(name)
        return at(database_url, username=name, password="planted")

    yield make
    for name in made:
        execute(database_url, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")
