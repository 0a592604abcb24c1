"""Root keys: closed at rest, made once, rotated without breaking what is out, shown nowhere."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.keys import receipt_check, signing
from app.keys.credentials import Credentials, name_of
from app.keys.secret import FILE, operator_secrets
from app.main import utc_now
from app.operator.key_rotation import check_secret, rotate
from app.settings import Settings
from db import root_keys, signing_keys
from db.embedded import running_url
from db.engine import Database
from payments.challenge import BadProof, Offer, Proof
from payments.key_ring import KeyRing
from payments.l402 import L402
from payments.macaroon import Invalid
from payments.seal import BadSecret, Seal
from payments.session_macaroon import Verified
from pricing.money import Msat
from tests.world.command import Terminal, boltwork
from tests.world.house_fixtures import Instance
from tests.world.macaroon_fixtures import HASH, NONCE, PREIMAGE, SESSION, narrowed
from tests.world.server_process import ServerProcess

OLD, NEW = "an old secret of 32 characters or more", "a new secret of 32 characters or more"
OFFER = Offer("ask", HASH, "lnbc1", Msat(1000), utc_now(), "", "localhost", "ab" * 16)


def credentials(db: Database, *secrets: str) -> Credentials:
    """Return the credentials of another process on this database."""
    ring = KeyRing()
    seal = Seal(secrets or (OLD,))
    return Credentials(db, seal, ring, (L402(ring, utc_now),), utc_now)


async def rows(db: Database) -> list[dict[str, Any]]:
    """Return the rows of root keys."""
    return await db.read_all("SELECT * FROM root_key ORDER BY number")


def proof_headers(lines: list[tuple[str, str]]) -> dict[str, str]:
    """Return what a client sends who has paid for an offer."""
    token = lines[0][1].split('"')[1]
    return {"Authorization": f"L402 {token}:{PREIMAGE.hex()}"}


async def test_the_first_who_needs_a_key_makes_it_and_all_find_that_one(database_url: str) -> None:
    """Forty first needs at once over two pools, each a process of its own: one key."""
    pools = [Database(database_url), Database(database_url)]
    for db in pools:
        await db.open()
    made = [credentials(pools[n % 2]) for n in range(40)]
    texts = await asyncio.gather(*(each.session_macaroon(SESSION, NONCE) for each in made))
    assert len(set(texts)) == 1 and len(await rows(pools[0])) == 1
    for each in made:
        assert isinstance(await each.verify(texts[0]), Verified)
    for db in pools:
        await db.close()


async def test_a_rotation_lets_what_is_out_go_on(db: Database) -> None:
    """New macaroons are made with the new key, in every process; older ones still hold."""
    one, other = credentials(db), credentials(db)
    first = await one.session_macaroon(SESSION, NONCE)
    offered = proof_headers(await one.offers(OFFER))
    assert isinstance(await other.verify(first), Verified)
    done = await rotate(db, one.seal, utc_now())
    assert (done.number, done.kept, done.forgotten) == (2, 1, 0)
    second = await one.session_macaroon(SESSION, NONCE)
    later = await other.session_macaroon(SESSION, NONCE)
    assert first != second == later
    for each in (one, other, credentials(db)):
        for text, number in ((first, 1), (second, 2), (narrowed(["max_sats=5"], second), 2)):
            found = await each.verify(text)
            assert isinstance(found, Verified) and found.key_number == number
        assert await each.accept(offered) == Proof("L402", HASH, frozenset({"ask"}))
    assert [row["retired_at"] is None for row in await rows(db)] == [False, True]


async def test_a_key_made_elsewhere_is_looked_for(db: Database) -> None:
    """A process that has read its keys before takes what another has made since, of both kinds."""
    one, other = credentials(db), credentials(db)
    await one.session_macaroon(SESSION, NONCE)
    await rotate(db, one.seal, utc_now())
    text = await other.session_macaroon(SESSION, NONCE)
    found = await one.verify(text)
    assert isinstance(found, Verified) and found.key_number == 2
    await rotate(db, one.seal, utc_now())
    headers = proof_headers(await other.offers(OFFER))
    assert isinstance(await one.accept(headers), Proof)


async def test_known_keys_cost_no_question(db: Database) -> None:
    """Once read, a credential is checked, and a forged one refused, without the database."""
    asked: list[str] = []

    class Counted(Database):
        async def read_all(self, query: str, **values: Any) -> list[dict[str, Any]]:
            asked.append(query)
            return await super().read_all(query, **values)

    counted = Counted(db.url, 1)
    await counted.open()
    one = credentials(counted)
    text = await one.session_macaroon(SESSION, NONCE)
    asked.clear()
    for _ in range(20):
        assert isinstance(await one.verify(text), Verified)
        assert isinstance(await one.verify(text[:-2] + "AA"), Invalid)
        assert isinstance(await one.verify("junk"), Invalid)
        assert await one.accept({"authorization": f"Bearer {text}"}) is None
    assert asked == []
    await counted.close()


async def test_forgotten_keys_make_their_credentials_a_clean_no(db: Database) -> None:
    """Nothing holds that was made before, of sessions or of purchases; what comes after does."""
    one = credentials(db)
    old = await one.session_macaroon(SESSION, NONCE)
    offered = proof_headers(await one.offers(OFFER))
    await rotate(db, one.seal, utc_now())
    done = await rotate(db, one.seal, utc_now(), forget=True)
    assert (done.number, done.kept, done.forgotten) == (3, 0, 2)
    assert [row["number"] for row in await rows(db)] == [3]
    new = await one.session_macaroon(SESSION, NONCE)
    for each in (one, credentials(db)):
        refused = await each.verify(old)
        assert isinstance(refused, Invalid) and "not in use" in refused.reason
        assert isinstance(await each.accept(offered), BadProof)
        assert isinstance(await each.verify(new), Verified)


async def test_rotations_at_once_take_turns(database_url: str) -> None:
    """Twenty over two pools, and first needs among them: as many keys, one of them active."""
    pools = [Database(database_url), Database(database_url)]
    for db in pools:
        await db.open()
    seal = Seal((OLD,))
    turns = [rotate(pools[n % 2], seal, utc_now()) for n in range(20)]
    needs = [credentials(pools[n % 2]).session_macaroon(SESSION, NONCE) for n in range(10)]
    done, _ = await asyncio.gather(asyncio.gather(*turns), asyncio.gather(*needs))
    numbers = sorted(each.number for each in done)
    kept = await rows(pools[0])
    assert [row["number"] for row in kept] == list(range(1, len(kept) + 1))
    assert len(set(numbers)) == 20 and len(kept) in (20, 21)
    assert [row["retired_at"] is None for row in kept].count(True) == 1
    assert len(await signing_keys.public(pools[0])) == 20
    assert await check_secret(pools[0], seal) == len(kept) + 1
    for db in pools:
        await db.close()


async def test_postgres_refuses_a_second_active_key(db: Database) -> None:
    """Whoever writes it."""
    await credentials(db).session_macaroon(SESSION, NONCE)
    second = "INSERT INTO root_key VALUES (2, 'x', now(), NULL)"
    with (
        psycopg.connect(db.url, autocommit=True) as connection,
        pytest.raises(psycopg.errors.UniqueViolation, match="one_active"),
    ):
        connection.execute(second)


async def test_the_operator_s_secret_can_be_changed(db: Database) -> None:
    """New before old: both open. After a rotation the new one alone opens all, the old one none."""
    text = await credentials(db, OLD).session_macaroon(SESSION, NONCE)
    with pytest.raises(BadSecret, match=r"BOLTWORK_SECRET does not open the root key 1"):
        await check_secret(db, Seal((NEW,)))
    both = credentials(db, NEW, OLD)
    assert isinstance(await both.verify(text), Verified)
    await rotate(db, both.seal, utc_now())
    await check_secret(db, Seal((NEW,)))
    assert isinstance(await credentials(db, NEW).verify(text), Verified)
    with pytest.raises(BadSecret):
        await check_secret(db, Seal((OLD,)))


async def test_with_a_wrong_secret_nothing_is_said_of_a_credential(db: Database) -> None:
    """It may be good, so it is not refused; what known keys check goes on."""
    one = credentials(db, OLD)
    text = await one.session_macaroon(SESSION, NONCE)
    wrong = credentials(db, NEW)
    for _ in range(2):
        with pytest.raises(BadSecret):
            await wrong.verify(text)
        with pytest.raises(BadSecret):
            await wrong.session_macaroon(SESSION, NONCE)
    assert isinstance(await wrong.verify("junk"), Invalid)
    await rotate(db, Seal((NEW, OLD)), utc_now())
    assert isinstance(await one.verify(text), Verified)
    with pytest.raises(BadSecret):
        await one.session_macaroon(SESSION, NONCE)


async def test_rows_can_t_be_swapped(db: Database) -> None:
    """What was closed as one key does not open as another, nor as a key for receipts."""
    seal = Seal((OLD,))
    closed = seal.close(name_of(1), b"k" * 32)
    assert seal.open(name_of(1), closed) == b"k" * 32
    for name in (name_of(2), name_of(11), "signing key x", ""):
        with pytest.raises(BadSecret):
            seal.open(name, closed)
    for broken in ("", "x", closed[:-4], "ä", closed.lower()):
        with pytest.raises(BadSecret):
            seal.open(name_of(1), broken)


async def test_a_rotation_makes_a_new_key_for_receipts(instance: Instance) -> None:
    """The new one signs; the old one's public half is shown still, and its private half is gone."""
    built = instance.built
    old = await signing.active_key(built.db, built.credentials.seal, utc_now)
    compact = signing.sign({"receiptVersion": 1}, old)
    done = await rotate(built.db, built.credentials.seal, utc_now())
    new = await signing.active_key(built.db, built.credentials.seal, utc_now)
    assert new.kid == done.kid != old.kid
    jwks = (await instance.http.get("/.well-known/jwks.json")).json()
    assert [key["kid"] for key in jwks["keys"]] == [new.kid, old.kid]
    keys = receipt_check.keys_in(jwks)
    assert receipt_check.verify(compact, keys) == {"receiptVersion": 1}
    assert receipt_check.verify(signing.sign({"a": 1}, new), keys) == {"a": 1}
    kept = await built.db.read_all("SELECT private_key FROM signing_key ORDER BY created_at")
    assert kept[0]["private_key"] == "" and kept[1]["private_key"].startswith("closed:")


async def test_a_signing_key_that_was_kept_open_still_signs(instance: Instance) -> None:
    """The first ones were not closed: they sign until the next rotation."""
    made = signing.make_key()
    db = instance.built.db
    await db.run("test", lambda tx: signing_keys.offer(tx, made, utc_now()))
    seal = instance.built.credentials.seal
    assert await signing.active_key(db, seal, utc_now) == made
    assert await check_secret(db, seal) == 1


# ------------------------------------------------------------------ the secret


def settings_in(folder: Path, **more: str) -> Settings:
    """Return settings with a data folder."""
    return Settings.model_validate({"BOLTWORK_DATA": folder, **more})


def test_in_development_a_secret_is_made_once(tmp_path: Path) -> None:
    """In the data folder, for its owner alone; what is set goes before it."""
    folder = tmp_path / "data"
    [made] = operator_secrets(settings_in(folder))
    assert len(made) == 64 and operator_secrets(settings_in(folder)) == (made,)
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600
    given = settings_in(folder, BOLTWORK_SECRET=f"{NEW}, {OLD}")
    assert operator_secrets(given) == (NEW, OLD) and given.secrets == (NEW, OLD)
    (folder / FILE).write_text("\n")
    with pytest.raises(BadSecret, match="is empty"):
        operator_secrets(settings_in(folder))


def test_processes_that_start_at_once_make_one_secret(tmp_path: Path) -> None:
    """Eight processes on one empty folder read the same, and leave nothing else behind."""
    program = (
        "import sys; from pathlib import Path; from app.settings import Settings;"
        "from app.keys.secret import operator_secrets; sys.stdin.read();"
        "print(*operator_secrets(Settings.model_validate({'BOLTWORK_DATA': Path(sys.argv[1])})))"
    )
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", program, str(tmp_path / "new")],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    cwd=Path(__file__).parents[2],
                    text=True,
                )
            )
            for _ in range(8)
        ]
        for process in started:
            assert process.stdin is not None
            process.stdin.close()
        said = {process.stdout.read().strip() for process in started if process.stdout}
    assert len(said) == 1 and len(said.pop()) == 64
    assert os.listdir(tmp_path / "new") == [FILE]


def test_a_folder_that_takes_no_secret_is_named(tmp_path: Path) -> None:
    """The sentence says what to set."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSecret, match="set BOLTWORK_SECRET"):
        operator_secrets(settings_in(tmp_path / "file"))


# ------------------------------------------------------------------ the command


@pytest.fixture
async def started(server: ServerProcess) -> AsyncIterator[ServerProcess]:
    """A server process that has a root key and a key for receipts."""
    server.environment |= {"BOLTWORK_SECRET": OLD, "LOG_LEVEL": "debug"}
    await asyncio.to_thread(server.start)
    url = running_url(server.folder)
    assert url is not None
    db = Database(url, 1)
    await db.open()
    await rotate(db, Seal((OLD,)), utc_now())
    await db.close()
    yield server


async def test_rotate_runs_beside_a_server(started: ServerProcess) -> None:
    """It says what it did, closes all with the first secret, and shows no key."""
    here = {"BOLTWORK_DATA": str(started.folder)}

    def rotating() -> None:
        terminal = Terminal(**here, BOLTWORK_SECRET=f"{NEW},{OLD}")
        code, told = terminal.run("keys", "rotate")
        assert code == 0 and "root key 2" in told and "still check: 1" in told, told
        code, told = terminal.run("keys", "rotate", "--forget-old")
        assert code == 0 and "root key 3" in told and "Forgotten: 2" in told, told
        assert "ok    secret: opens all 2 keys" in terminal.run("doctor")[1]
        code, told = Terminal(**here, BOLTWORK_SECRET=OLD).run("keys", "rotate")
        assert code == 1 and told.startswith("boltwork: BOLTWORK_SECRET does not open"), told

    await asyncio.to_thread(rotating)


@pytest.mark.parametrize(("place", "newest"), [("before", 1), ("after", 2)])
async def test_a_rotation_that_is_killed_is_done_or_not_at_all(
    database_url: str, tmp_path: Path, place: str, newest: int
) -> None:
    """It ends before or after its commit: one key is active, all open, and what is out goes on."""
    here = {"BOLTWORK_DATA": str(tmp_path), "BOLTWORK_SECRET": OLD, "DATABASE_URL": database_url}
    killed = {"BOLTWORK_CRASH_AT": f"commit rotate_keys: {place}"}
    db = Database(database_url, 1)
    await db.open()
    text = await credentials(db).session_macaroon(SESSION, NONCE)
    done = await asyncio.to_thread(boltwork, "keys", "rotate", **here | killed)
    assert done.returncode == 137, done.stderr
    kept = await rows(db)
    assert [row["number"] for row in kept if row["retired_at"] is None] == [newest]
    assert await check_secret(db, Seal((OLD,))) == newest + (newest - 1)
    assert isinstance(await credentials(db).verify(text), Verified)
    await db.close()


async def test_a_start_with_a_wrong_secret_ends_with_a_sentence(started: ServerProcess) -> None:
    """Server and worker, exit code 1, no trace; the doctor has a line for it."""
    here = {
        "BOLTWORK_DATA": str(started.folder),
        "BOLTWORK_SECRET": NEW,
        "PORT": "0",
        "DATABASE_URL": running_url(started.folder) or "",
    }

    def starting() -> None:
        terminal = Terminal(**here)
        for command in ("serve", "worker"):
            code, told = terminal.run(command)
            assert code == 1
            assert told.startswith("boltwork: BOLTWORK_SECRET does not open the root key 1")
            assert "Traceback" not in told and NEW not in told
        code, told = terminal.run("doctor")
        assert code == 1 and "wrong secret: " in told and "another secret" in told

    await asyncio.to_thread(starting)


async def test_keys_and_secrets_are_shown_nowhere(started: ServerProcess) -> None:
    """Not in the log, not in the representation of anything that holds one."""
    url = running_url(started.folder)
    assert url is not None
    db, seal = Database(url, 1), Seal((OLD,))
    await db.open()
    one = credentials(db)
    text = await one.session_macaroon(SESSION, NONCE)
    [row] = await root_keys.every(db)
    key = seal.open(name_of(1), row.sealed)
    await db.close()
    told = f"{seal!r} {row!r} {one!r} {one._ring!r} {one._ring} {await one.verify(text)!r}"
    told += started.log
    shown: list[Callable[[bytes], str]] = [bytes.hex, repr]
    assert OLD not in told and row.sealed not in told and text not in told
    assert not any(show(key).strip("b'\"") in told for show in shown)
