"""A database that would fail later, in the middle of a paid job, is refused at the start."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
import sqlalchemy

from app.commands import doctor
from app.commands.findings import Level
from db.embedded import running_url
from db.engine import Database
from db.fitness import look
from db.migrate import migrate, newest, version
from db.reach import Unfit, reached
from tests.world.command import boltwork
from tests.world.database_fixtures import at, execute
from tests.world.house_fixtures import settings_for
from tests.world.patience import PATIENCE_S
from tests.world.pooler import pooled
from tests.world.server_process import ServerProcess

_numbers = itertools.count(1)


def refused(command: str, url: str, folder: Path) -> str:
    """Run a command that must refuse, and return its one sentence."""
    done = boltwork(command, BOLTWORK_DATA=str(folder), DATABASE_URL=url, PORT="0")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("boltwork: ")
    return done.stderr


async def found_by_doctor(url: str, folder: Path) -> str:
    """Return what the doctor says of the database, which must be wrong."""
    given = settings_for(folder, DATABASE_URL=url, PORT=0, BTC_PRICE_USD_FALLBACK=1)
    findings = await doctor.examine_all(given, url, None)
    [wrong] = [x for x in findings if x.part in ("database", "tables") and x.level is Level.WRONG]
    return f"{wrong.said}: {wrong.mend}."


@pytest.fixture
def make_database(postgres: str) -> Iterator[Callable[[str], str]]:
    """Makes an empty database with the options that a test names; returns its URL."""
    made, admin = [], at(postgres, database="postgres")

    def make(options: str) -> str:
        name = f"odd_{next(_numbers)}"
        execute(admin, f"CREATE DATABASE {name} {options}")
        made.append(name)
        return at(postgres, database=name)

    yield make
    for name in made:
        execute(admin, f"DROP DATABASE {name} WITH (FORCE)")


# ---------------------------------------------------------------- poolers


@pytest.mark.parametrize("command", ["serve", "worker", "migrate"])
def test_a_pooler_by_the_transaction_is_refused(
    database_url: str, tmp_path: Path, command: str
) -> None:
    """Through PgBouncer with pool_mode=transaction nobody would hear LISTEN: no command starts."""
    with pooled(database_url, "transaction") as through:
        assert "pool_mode=session" in refused(command, through, tmp_path)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_the_doctor_knows_a_pooler(database_url: str, tmp_path: Path, mode: str) -> None:
    """It says what a start says, and finds the same each time that it looks."""
    with pooled(database_url, mode) as through:
        for _ in range(3):
            assert "pool_mode=session" in await found_by_doctor(through, tmp_path)


def test_a_pooler_by_the_session_will_do(database_url: str, server: ServerProcess) -> None:
    """Through PgBouncer with pool_mode=session a server starts, and a job hears of its payment."""
    with pooled(database_url, "session") as through:
        server.environment["DATABASE_URL"] = through
        with httpx2.Client(base_url=server.start(), timeout=PATIENCE_S) as http:
            made = http.post("/api/jobs", json={"request": "Say hello."}).json()
            http.post(f"/api/dev/stub/pay/{made['evalInvoice']['paymentHash']}")
            job = http.get(f"/api/jobs/{made['jobId']}", params={"wait": "55"}).json()
            assert job["state"] != "awaiting_eval_payment"
        assert server.stop() == 0


# -------------------------------------------------------------- encodings


@pytest.mark.parametrize("encoding", ["WIN1252", "SQL_ASCII", "LATIN1"])
async def test_another_encoding_is_refused(
    make_database: Callable[[str], str], tmp_path: Path, encoding: str
) -> None:
    """A database that can't hold an emoji would lose a paid answer: it is refused."""
    url = make_database(f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    for said in (refused("serve", url, tmp_path), await found_by_doctor(url, tmp_path)):
        assert encoding in said and "ENCODING 'UTF8'" in said
    with pytest.raises(Unfit, match="encoding"):
        look(url)


async def test_we_speak_utf8_whatever_a_role_says(
    database_url: str, make_role: Callable[[], str]
) -> None:
    """A role whose client_encoding is another reads and writes every letter all the same."""
    url = make_role()
    name = sqlalchemy.make_url(url).username
    execute(database_url, f"ALTER ROLE {name} SET client_encoding = 'LATIN1'")
    db = Database(url, 1)
    await db.open()
    try:
        row = await db.read_one("SELECT %(said)s::text AS said", said="₿ \N{ROCKET} ü")
        async with db.transaction() as tx:
            told = await tx.one("SELECT %(said)s::text AS said", said="₿ \N{ROCKET} ü")
    finally:
        await db.close()
    assert row == told == {"said": "₿ \N{ROCKET} ü"}
    with reached(url) as connection:
        assert connection.execute("SELECT '\N{ROCKET}'").fetchone() == ("\N{ROCKET}",)


# ------------------------------------------------------------------ rights


async def test_a_role_that_may_make_nothing_is_refused(
    make_database: Callable[[str], str], make_role: Callable[[], str], tmp_path: Path
) -> None:
    """Without CREATE on its schema a role is told the GRANT, and with that it starts."""
    empty = make_database("TEMPLATE template0")
    url = at(make_role(), database=sqlalchemy.make_url(empty).database or "")
    name = sqlalchemy.make_url(url).username
    grant = f"GRANT CREATE ON SCHEMA public TO {name}"
    for said in (
        refused("migrate", url, tmp_path),
        refused("serve", url, tmp_path),
        await found_by_doctor(url, tmp_path),
    ):
        assert grant in said
    execute(empty, grant)
    look(url)
    migrate(url)
    assert version(url) == newest()
    execute(empty, f"DROP OWNED BY {name} CASCADE")


def test_a_role_without_a_schema_is_refused(
    database_url: str, make_role: Callable[[], str], tmp_path: Path
) -> None:
    """So is one whose search_path leads nowhere."""
    url = make_role()
    name = sqlalchemy.make_url(url).username
    execute(database_url, f"ALTER ROLE {name} SET search_path = 'nowhere'")
    assert "GRANT USAGE, CREATE ON SCHEMA public" in refused("serve", url, tmp_path)


def test_a_role_that_may_not_write_is_refused(
    database_url: str, make_role: Callable[[], str], tmp_path: Path
) -> None:
    """Tables of another owner can be worked with once that owner is granted."""
    url = make_role()
    name = sqlalchemy.make_url(url).username
    execute(database_url, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    said = refused("serve", url, tmp_path)
    assert f"GRANT boltwork TO {name}" in said
    execute(database_url, f"GRANT boltwork TO {name}")
    look(url)


def test_older_tables_of_another_owner_are_refused(
    database_url: str, make_role: Callable[[], str]
) -> None:
    """Who may write to the tables, but not change them, can't bring them up to date."""
    url = make_role()
    name = sqlalchemy.make_url(url).username
    execute(
        database_url,
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}",
    )
    look(url)
    execute(database_url, "UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(Unfit, match="boltwork migrate"):
        look(url)


async def test_a_database_that_can_only_be_read_is_refused(
    database_url: str, make_role: Callable[[], str], tmp_path: Path
) -> None:
    """A standby, or a role that may read only, is refused before anybody pays."""
    url = make_role()
    name = sqlalchemy.make_url(url).username
    execute(database_url, f"ALTER ROLE {name} SET default_transaction_read_only = on")
    said = "default_transaction_read_only"
    assert said in refused("serve", url, tmp_path) and said in await found_by_doctor(url, tmp_path)


# ------------------------------------------------------------------ tables


@pytest.mark.parametrize(
    ("number", "said"), [("9999", "run the newer Boltwork"), ("c0ffee12ab34", "of its own")]
)
async def test_tables_of_others_are_refused(
    database_url: str, tmp_path: Path, number: str, said: str
) -> None:
    """Tables of a newer version, or of another program, are left as they are."""
    execute(database_url, f"UPDATE alembic_version SET version_num = '{number}'")
    for command in ("serve", "worker", "migrate"):
        assert said in refused(command, database_url, tmp_path)
    assert said in await found_by_doctor(database_url, tmp_path)


def test_newer_tables_of_the_embedded_postgres_are_refused(server: ServerProcess) -> None:
    """An older Boltwork on a data folder of a newer one says so, and so does a worker beside."""
    server.start()
    execute(running_url(server.folder) or "", "UPDATE alembic_version SET version_num = '9999'")
    beside = boltwork("worker", BOLTWORK_DATA=str(server.folder))
    assert server.stop() == 0
    alone = boltwork("serve", BOLTWORK_DATA=str(server.folder), PORT="0")
    for done in (beside, alone):
        assert done.returncode == 1 and "run the newer Boltwork" in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1


def test_tables_that_are_in_the_way_are_named(make_database: Callable[[str], str]) -> None:
    """A database with a table of one of our names in it is refused in a sentence."""
    url = make_database("TEMPLATE template0")
    execute(url, "CREATE TABLE job (id int)")
    with pytest.raises(Unfit, match=r'"job".*database of its own'):
        migrate(url)


# ----------------------------------------------------------- the way there


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "planted"}, "does not accept the password of the user boltwork"),
        ({"username": "planter", "password": "planted"}, "the user planter"),
        ({"database": "no_such"}, "has no database no_such"),
        ({"port": 9}, "does not answer at 127.0.0.1:9"),
        ({"host": "nowhere.invalid"}, "(nowhere.invalid:"),
    ],
)
async def test_reasons_are_told_apart(
    database_url: str, tmp_path: Path, change: dict[str, str | int], said: str
) -> None:
    """A wrong password, user, database, port and host each have a sentence of their own."""
    url = at(database_url, **change)
    for told in (refused("serve", url, tmp_path), await found_by_doctor(url, tmp_path)):
        assert said in told and "DATABASE_URL" in told and "planted" not in told


def test_a_server_without_tls_is_named(database_url: str, tmp_path: Path) -> None:
    """Where DATABASE_URL asks for TLS and there is none, that is said."""
    assert "has no TLS" in refused("serve", database_url + "?sslmode=require", tmp_path)


def test_a_database_that_is_closed_to_a_role_is_named(
    make_database: Callable[[str], str], make_role: Callable[[], str]
) -> None:
    """A role that may not connect is told the GRANT."""
    closed = make_database("TEMPLATE template0")
    name = sqlalchemy.make_url(closed).database or ""
    execute(closed, f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    with pytest.raises(Unfit, match=f"GRANT CONNECT ON DATABASE {name}"):
        look(at(make_role(), database=name))


def test_a_password_that_is_not_escaped_is_not_told(tmp_path: Path) -> None:
    """Signs of a password that end up in another part of the URL are quoted nowhere."""
    for url in (
        "postgresql://user:plan@ted@127.0.0.1:5432/db",
        "postgresql://user:pla%zznted@127.0.0.1/db",
        "postgresql://user@127.0.0.1:planted/db",
    ):
        with pytest.raises(Unfit, match="isn't a URL") as unfit:
            look(url)
        assert "ted" not in str(unfit.value).replace("accepted", "")
