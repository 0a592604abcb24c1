"""Where the bytes of artifacts lie: a folder, and a bucket of a real S3 server, keep one port."""

import os
import secrets
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.artifacts.object_store import AWAY, REFUSED, ObjectStore
from app.ports import NotNow, Store
from tests.world.s3_server import BUCKET, KEY, S3Server, s3
from tests.world.silent_proxy import SilentProxy

__all__ = ["s3"]

SOON = timedelta(minutes=1)


def new_name() -> str:
    """Return a name as ours are."""
    return secrets.token_hex(16)


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, s3: S3Server) -> Store:
    """Each kind of store, with nothing of this test's in it."""
    if request.param == "folder":
        return ObjectStore.in_folder(tmp_path / "artifacts")
    return ObjectStore.at(f"s3://{BUCKET}/{new_name()}", s3.config(), allow_http=True)


async def names(store: Store, before: datetime) -> list[str]:
    """Return all that was put before then."""
    found: list[str] = []
    async with aclosing(store.older(before)) as pages:
        async for page in pages:
            assert not isinstance(page, NotNow)
            found += page
    return sorted(found)


async def test_what_was_put_can_be_read_whole_and_in_part(store: Store) -> None:
    """Bytes come back as they were, from anywhere, and no further than they go."""
    name, data = new_name(), os.urandom(300_000)
    assert await store.put(name, data) is None
    assert await store.read(name, 0, len(data)) == data
    assert await store.read(name, 1_000, 7) == data[1_000:1_007]
    assert await store.read(name, 299_990, 10) == data[-10:]


async def test_of_a_name_that_has_none_there_is_nothing(store: Store) -> None:
    """Nothing is told from an outage: it is None."""
    assert await store.read(new_name(), 0, 10) is None


async def test_what_was_deleted_is_gone_and_may_be_deleted_again(store: Store) -> None:
    """Several at once, among them some that are gone."""
    kept, *gone = [new_name() for _ in range(4)]
    for name in (kept, *gone):
        assert await store.put(name, b"bytes") is None
    assert await store.delete([*gone, new_name()]) is None
    assert await store.delete(gone) is None
    assert [await store.read(name, 0, 5) for name in (kept, *gone)] == [b"bytes", None, None, None]


async def test_names_are_told_by_their_age(store: Store) -> None:
    """What was put before a time is told, with all of it, and nothing else."""
    put = sorted(new_name() for _ in range(5))
    for name in put:
        assert await store.put(name, b"bytes") is None
    now = datetime.now(UTC)
    assert await names(store, now + SOON) == put
    assert await names(store, now - SOON) == []


async def test_a_folder_keeps_the_first_that_was_put(tmp_path: Path) -> None:
    """Nothing is written over."""
    store, name = ObjectStore.in_folder(tmp_path), new_name()
    assert await store.put(name, b"first") is None
    assert await store.put(name, b"other") == REFUSED
    assert await store.read(name, 0, 9) == b"first"


async def test_a_folder_is_its_owners_alone(tmp_path: Path) -> None:
    """Nobody else on this machine may look into it, and no path leads out of it."""
    store = ObjectStore.in_folder(tmp_path / "data" / "artifacts")
    assert (tmp_path / "data" / "artifacts").stat().st_mode & 0o777 == 0o700
    (tmp_path / "data" / "planted").write_bytes(b"planted")
    assert await store.read("../planted", 0, 7) in (None, AWAY)
    await store.delete(["../planted"])
    assert (tmp_path / "data" / "planted").exists()


async def test_what_others_put_there_is_left_alone(tmp_path: Path) -> None:
    """Only names that can be ours are told; what we left half written is removed."""
    store = ObjectStore.in_folder(tmp_path)
    (tmp_path / "notes.txt").write_text("theirs")
    half = tmp_path / f"{new_name()}#1"
    half.write_bytes(b"half")
    assert await names(store, datetime.now(UTC) - SOON) == []
    assert half.exists()
    assert await names(store, datetime.now(UTC) + SOON) == []
    assert (tmp_path / "notes.txt").exists() and not half.exists()


async def every_answer(store: Store) -> list[object]:
    """Return what each call answers."""
    pages = [page async for page in store.older(datetime.now(UTC))]
    name = new_name()
    return [
        await store.put(name, b"bytes"),
        await store.read(name, 0, 5),
        await store.delete([name]),
        *pages,
    ]


async def test_a_folder_that_is_gone_is_away(tmp_path: Path) -> None:
    """A disk that was taken out is not an empty one: nothing that it holds counts as deleted."""
    store = ObjectStore.in_folder(tmp_path / "disk")
    (tmp_path / "disk").rmdir()
    (tmp_path / "disk").write_bytes(b"")
    put, read, delete, *pages = await every_answer(store)
    assert (put, delete) == (AWAY, AWAY)
    assert read in (AWAY, None) and pages in ([], [AWAY])


async def test_a_server_that_is_not_there_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody listens, every call has one answer."""
    config = {"endpoint": "http://127.0.0.1:9", "access_key_id": "k", "secret_access_key": KEY}
    store = ObjectStore.at(f"s3://{BUCKET}", config, allow_http=True, put_s=3, ask_s=3)
    assert await every_answer(store) == [AWAY] * 4
    assert KEY not in "".join(capsys.readouterr())


async def test_a_server_that_is_silent_is_away_in_time(s3: S3Server) -> None:
    """What is not answered by its deadline has no other answer; afterwards it works as before."""
    async with SilentProxy.before("127.0.0.1", s3.port) as proxy:
        config = s3.config(endpoint=f"http://127.0.0.1:{proxy.port}")
        store = ObjectStore.at(f"s3://{BUCKET}/x", config, allow_http=True, ask_s=2)
        name = new_name()
        assert await store.put(name, b"bytes") is None
        assert proxy.freeze() > 0
        answers = [await store.read(name, 0, 5)]
        while answers[-1] == AWAY:  # on a connection that was there before
            answers.append(await store.read(name, 0, 5))
            assert len(answers) < 20
        assert answers[-1] == b"bytes"


async def test_wrong_keys_are_refused_and_shown_nowhere(
    s3: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that the server does not know opens nothing; neither it nor its name is logged."""
    for wrong in ({"secret_access_key": "planted-wrong"}, {"access_key_id": "planted-nobody"}):
        config = s3.config(**wrong)
        store = ObjectStore.at(f"s3://{BUCKET}", config, allow_http=True, put_s=30, ask_s=30)
        *answers, listed = await every_answer(store)
        assert answers == [REFUSED] * 3
        assert listed in (REFUSED, AWAY)  # of a listing the library tells no reason
    assert "planted" not in "".join(capsys.readouterr())


async def test_plain_http_is_not_spoken_unless_it_is_allowed(s3: S3Server) -> None:
    """Else a key would be shown to everybody on the way."""
    store = ObjectStore.at(f"s3://{BUCKET}", s3.config(), put_s=3, ask_s=3)
    assert await every_answer(store) == [AWAY] * 4
