"""Many files as one zip: made while it is read, and never more of them in memory than a piece."""

import io
import os
import zipfile
from datetime import timedelta
from hashlib import sha256
from typing import cast

import pytest
from obstore.store import MemoryStore
from starlette.requests import Request
from starlette.responses import StreamingResponse

from app.artifacts.keeping import Artifacts
from app.artifacts.object_store import ObjectStore
from app.http.downloads import PIECE, BrokeOff
from app.http.zipped import zipped
from app.ports import NotNow
from app.refusal import Refusal, Why
from db.artifacts import Artifact
from db.engine import Database
from tests.world.artifact_fixtures import desk_of
from tests.world.clock import Clock

SIZE = 2 * PIECE + 1_000  # of each file: three pieces


class Counted(ObjectStore):
    """A store in memory whose reads are counted."""

    reads = 0

    async def read(self, name: str, start: int, length: int) -> bytes | NotNow | None:
        """See Store."""
        self.reads += 1
        return await super().read(name, start, length)


@pytest.fixture
def store() -> Counted:
    """An empty one."""
    return Counted(MemoryStore(), None, 1, 1)


@pytest.fixture
def desk(db: Database, store: Counted) -> Artifacts:
    """The desk over it."""
    return desk_of(db, store, Clock())


def asked(method: str = "GET") -> Request:
    """Return a request for it."""
    return Request({"type": "http", "method": method, "headers": []})


async def kept(desk: Artifacts, name: str) -> tuple[Artifact, bytes]:
    """Put a file, and return what is said of it."""
    data, now = os.urandom(SIZE), desk.clock()
    assert await desk.store.put(name, data) is None
    told = (sha256(data).hexdigest(), SIZE, 8, 8, None, now, now + timedelta(days=1))
    return Artifact(name, "image/png", *told), data


async def test_files_come_as_one_zip_piece_by_piece(desk: Artifacts, store: Counted) -> None:
    """The next piece is read once the one before it was taken; the zip is a whole one."""
    made = [await kept(desk, name) for name in ("a", "b")]
    files = [(f"{place:03}", artifact) for place, (artifact, _) in enumerate(made, start=1)]
    answer = await zipped(asked(), desk, files, "boltwork-x")
    assert answer.headers["content-disposition"] == 'attachment; filename="boltwork-x.zip"'
    got = bytearray()
    before = store.reads
    pieces = cast(StreamingResponse, answer).body_iterator
    count = 0
    async for piece in pieces:
        assert isinstance(piece, bytes) and len(piece) < 2 * PIECE
        count += 1
        assert store.reads - before <= count
        got += piece
    packed = zipfile.ZipFile(io.BytesIO(got))
    assert packed.testzip() is None
    assert [packed.read(name) for name in ("001.png", "002.png")] == [data for _, data in made]


async def test_a_file_that_is_lost_breaks_the_zip_off(desk: Artifacts) -> None:
    """At the start it is a refusal; later the connection is broken, and the zip is none."""
    (first, _), (second, _) = [await kept(desk, name) for name in ("a", "b")]
    await desk.store.delete(["b"])
    answer = cast(
        StreamingResponse, await zipped(asked(), desk, [("1", first), ("2", second)], "x")
    )
    with pytest.raises(BrokeOff):
        async for _ in answer.body_iterator:
            pass
    with pytest.raises(Refusal) as refused:
        await zipped(asked(), desk, [("2", second)], "x")
    assert refused.value.why is Why.FAULT
    head = await zipped(asked("HEAD"), desk, [("2", second)], "x")
    assert head.status_code == 200
