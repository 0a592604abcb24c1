"""Artifacts are taken, read and let go: never a row without bytes, and no bytes for ever."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from app.adapters import make_store
from app.advance.leases import FRESH
from app.artifacts.keeping import ORPHANED, Artifacts
from app.artifacts.object_store import AWAY, ObjectStore
from app.ports import NotNow, Store, Unfit
from app.settings import Settings
from db import artifacts
from db.artifacts import Artifact
from db.engine import Database, Unwritten
from tests.world import hostile_media as media
from tests.world.artifact_fixtures import desk_of
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance
from tests.world.s3_server import BUCKET, KEY, KEY_ID, S3Server, s3

__all__ = ["s3"]

PICTURE = media.saved(media.many_coloured())


@pytest.fixture
def clock() -> Clock:
    """It stands at the real time: a store dates by its own clock what is put."""
    clock = Clock()
    clock.now = datetime.now(UTC)
    return clock


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, s3: S3Server) -> Store:
    """Each kind of store, empty."""
    if request.param == "folder":
        return ObjectStore.in_folder(tmp_path / "artifacts")
    return ObjectStore.at(f"s3://{BUCKET}/{tmp_path.name}", s3.config(), allow_http=True)


@pytest.fixture
async def desk(db: Database, store: Store, clock: Clock) -> AsyncIterator[Artifacts]:
    """The desk over it."""
    desk = desk_of(db, store, clock)
    yield desk
    await desk.recoder.close()


async def taken(desk: Artifacts) -> Artifact:
    """Take a picture, whose row is not written yet."""
    made = await desk.take(PICTURE, "image/png")
    assert isinstance(made, Artifact), made
    return made


async def kept(desk: Artifacts) -> Artifact:
    """Take a picture, and write its row."""
    made = await taken(desk)
    await desk.db.run("keep_artifact", lambda tx: artifacts.insert(tx, made))
    return made


async def is_there(desk: Artifacts, artifact: Artifact) -> bool:
    """Say whether its bytes can be read."""
    data = await desk.read(artifact, 0, artifact.size)
    assert not isinstance(data, NotNow)
    return data is not None


async def test_a_row_says_what_its_bytes_are(desk: Artifacts, clock: Clock) -> None:
    """Type, size, sha256 and sides are those of the bytes that are stored, and none other's."""
    made = await kept(desk)
    assert await desk.find(made.id) == made
    data = await desk.read(made, 0, made.size)
    assert isinstance(data, bytes)
    assert (made.size, made.sha256) == (len(data), sha256(data).hexdigest())
    assert (made.media_type, made.width, made.height, made.duration_ms) == (
        "image/png",
        24,
        16,
        None,
    )
    assert (made.created_at, made.expires_at) == (clock.now, clock.now + desk.kept)
    assert await desk.find("0" * 32) is None


async def test_what_cannot_be_kept_leaves_nothing(desk: Artifacts, clock: Clock) -> None:
    """Bytes that are no picture are refused before anything is stored."""
    made = await desk.take(b"<script>planted()</script>", "image/png")
    assert isinstance(made, Unfit)
    assert [page async for page in desk.store.older(clock.now + timedelta(days=1))] in ([], [[]])


async def test_no_artifact_comes_of_a_store_that_is_away(db: Database, clock: Clock) -> None:
    """Where the bytes could not be stored there is nothing that a row could be written of."""
    config = {"endpoint": "http://127.0.0.1:9", "access_key_id": "k", "secret_access_key": "k"}
    store = ObjectStore.at("s3://made", config, allow_http=True, put_s=2, ask_s=2)
    desk = desk_of(db, store, clock)
    assert await desk.take(PICTURE, "image/png") == AWAY
    await desk.sweep()
    await desk.recoder.close()


async def test_bytes_whose_row_was_never_written_are_swept_after_hours(
    desk: Artifacts, clock: Clock
) -> None:
    """A crash between the bytes and the row leaves an orphan. For an hour its row may yet be
    written, and clocks that disagree by as much are no trouble."""
    orphan, whole = await taken(desk), await kept(desk)
    assert timedelta(hours=4) <= ORPHANED - FRESH
    clock.forward(hours=5, minutes=59)
    await desk.sweep()
    assert await is_there(desk, orphan)
    clock.forward(minutes=2)
    await desk.sweep()
    assert (await is_there(desk, orphan), await is_there(desk, whole)) == (False, True)


async def test_bytes_are_deleted_once_they_have_expired(desk: Artifacts, clock: Clock) -> None:
    """At its time it is kept no more; whoever reads it then can read on for a while; then its bytes
    are deleted, and the row stays to say so."""
    made = await kept(desk)
    clock.now = made.expires_at - timedelta(seconds=1)
    assert not desk.has_expired(made)
    clock.forward(seconds=1)
    assert desk.has_expired(made)
    await desk.sweep()
    assert await is_there(desk, made)
    clock.forward(minutes=10)
    await desk.sweep()
    assert not await is_there(desk, made)
    assert await desk.find(made.id) == made


async def test_settings_name_the_store(tmp_path: Path, s3: S3Server) -> None:
    """A bucket where there is one, with its key and its server; else a folder below the data."""
    bucket = {
        "ARTIFACTS_URL": f"s3://{BUCKET}/{tmp_path.name}",
        "ARTIFACTS_ENDPOINT": s3.endpoint,
        "ARTIFACTS_KEY_ID": KEY_ID,
        "ARTIFACTS_KEY": KEY,
    }
    name = "1" * 32
    for given, folder in (
        (bucket, s3.data / BUCKET / tmp_path.name),
        ({}, tmp_path / "data" / "artifacts"),
    ):
        settings = Settings.model_validate({"BOLTWORK_DATA": tmp_path / "data", **given})
        assert KEY not in repr(settings)
        store = make_store(settings)
        assert await store.put(name, b"bytes") is None
        assert await store.read(name, 0, 5) == b"bytes"
        assert (folder / name).exists()


async def test_several_processes_sweep_at_once(desk: Artifacts, clock: Clock) -> None:
    """What one of them has deleted is no trouble to another."""
    gone = [await taken(desk) for _ in range(3)]
    whole = await kept(desk)
    clock.forward(hours=7)
    await asyncio.gather(*(desk.sweep() for _ in range(3)))
    assert not any([await is_there(desk, each) for each in gone])
    assert await is_there(desk, whole)


async def test_postgres_refuses_a_row_that_says_nothing(desk: Artifacts) -> None:
    """No empty file, no sha256 that is none, no artifact that expired before it was made."""
    made = await taken(desk)
    for wrong in (
        made._replace(size=0),
        made._replace(sha256="planted"),
        made._replace(width=0),
        made._replace(expires_at=made.created_at),
    ):
        with pytest.raises(Unwritten):
            await desk.db.run("keep_artifact", partial(artifacts.insert, artifact=wrong))
    assert await desk.find(made.id) is None


async def test_the_sweep_goes_on_by_itself(instance: Instance) -> None:
    """It is a loop like the others, whose beat readiness and the metrics tell."""
    assert (await instance.http.get("/api/readyz")).status_code == 200
    metrics = (await instance.http.get("/metrics")).text
    assert 'boltwork_loop_turned_seconds{loop="sweep_artifacts"}' in metrics
