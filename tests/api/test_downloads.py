"""A file over HTTP: whole, in part, unchanged, expired; and nothing is held for who goes away."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.advance import new_id
from app.artifacts.keeping import Artifacts
from app.artifacts.object_store import ObjectStore
from app.http.downloads import PIECE, download
from app.http.edge import Edge
from app.http.envelopes import HANDLERS
from app.ports import NotNow, Store
from app.serving.run import listening
from db import artifacts
from db.artifacts import Artifact
from db.engine import Database
from tests.world.artifact_fixtures import desk_of
from tests.world.clock import Clock
from tests.world.patience import PATIENCE_S

SIZE = 3 * PIECE + 1_000  # of the file that is read here: three pieces, and a bit


class Counted:
    """A store whose reads are counted."""

    def __init__(self, store: Store) -> None:
        self._store, self.reads = store, 0
        self.put, self.delete, self.older = store.put, store.delete, store.older

    async def read(self, name: str, start: int, length: int) -> bytes | NotNow | None:
        """See Store."""
        self.reads += 1
        return await self._store.read(name, start, length)


class Ends:
    """Tells when the answer to a request has ended, however it did."""

    def __init__(self, app: ASGIApp, ended: asyncio.Event) -> None:
        self._app, self._ended = app, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                self._ended.set()


class Door:
    """A server with one door to files, and the desk behind it."""

    def __init__(self, desk: Artifacts, store: Counted, clock: Clock) -> None:
        self.desk, self.store, self.clock = desk, store, clock
        self.ended = asyncio.Event()
        self.url = ""

    async def get(self, request: Request) -> Response:
        """Answer with a file."""
        attached = "save" in request.query_params
        name = request.query_params.get("name", "cat")
        return await download(
            request, self.desk, request.path_params["id"], name, attached=attached
        )

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[httpx2.AsyncClient, None]:
        """Serve, and yield a client."""
        app = Starlette(
            routes=[Route("/files/{id}", self.get)],
            middleware=[Middleware(Edge, new_id=new_id), Middleware(Ends, ended=self.ended)],
            exception_handlers=HANDLERS,
        )
        async with (
            listening(app, "127.0.0.1", 0) as self.url,
            httpx2.AsyncClient(base_url=self.url, timeout=PATIENCE_S) as client,
        ):
            yield client

    async def kept(self, data: bytes) -> Artifact:
        """Keep bytes, whatever they are, as a picture."""
        now = self.clock()
        sides = ("image/png", sha256(data).hexdigest(), len(data), 64, 48, None)
        made = Artifact(new_id(), *sides, now, now + timedelta(days=1))
        assert await self.store.put(made.id, data) is None
        await self.desk.db.run("keep_artifact", lambda tx: artifacts.insert(tx, made))
        return made


@pytest.fixture
async def door(db: Database, tmp_path: Path) -> Door:
    """The door over a folder."""
    store, clock = Counted(ObjectStore.in_folder(tmp_path / "artifacts")), Clock()
    clock.now = datetime.now(UTC)
    return Door(desk_of(db, store, clock), store, clock)


DATA = os.urandom(SIZE)
MARK = f'"{sha256(DATA).hexdigest()}"'


@pytest.fixture
async def file(door: Door) -> AsyncIterator[tuple[httpx2.AsyncClient, str]]:
    """A client, and the path of a file."""
    made = await door.kept(DATA)
    async with door.open() as client:
        yield client, f"/files/{made.id}"


async def test_a_file_is_read_whole(file: tuple[httpx2.AsyncClient, str]) -> None:
    """Its bytes, its type, its size, its mark; it runs nothing, and is for its reader's cache."""
    client, path = file
    answer = await client.get(path)
    assert (answer.status_code, answer.content) == (200, DATA)
    told = dict(answer.headers)
    assert told["content-type"] == "image/png" and told["content-length"] == str(SIZE)
    assert told["etag"] == MARK and told["accept-ranges"] == "bytes"
    assert told["x-content-type-options"] == "nosniff"
    assert "sandbox" in told["content-security-policy"]
    assert "default-src 'none'" in told["content-security-policy"]
    assert told["content-disposition"] == 'inline; filename="cat.png"'
    kind, age, _ = told["cache-control"].split(", ")
    assert kind == "private" and age == "max-age=86400"


async def test_a_head_says_the_same_without_the_bytes(
    file: tuple[httpx2.AsyncClient, str], door: Door
) -> None:
    """Each header is that of a GET, and nothing is read from the store."""
    client, path = file
    head = await client.head(path, headers={"Range": "bytes=0-1"})
    assert (head.status_code, head.content, door.store.reads) == (200, b"", 0)
    got = await client.get(path)
    varying = {"date", "x-request-id"}
    said, wanted = dict(head.headers), dict(got.headers)
    assert {k: said[k] for k in said.keys() - varying} == {
        k: wanted[k] for k in wanted.keys() - varying
    }


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299", 100, 300),
        (f"bytes={PIECE - 10}-{PIECE + 9}", PIECE - 10, PIECE + 10),
        ("bytes=1000-", 1000, SIZE),
        ("bytes=-500", SIZE - 500, SIZE),
        ("bytes=-99999999999", 0, SIZE),
        ("bytes=5-99999999999", 5, SIZE),
        ("BYTES=5-9", 5, 10),
    ],
)
async def test_a_part_is_read(
    file: tuple[httpx2.AsyncClient, str], asked: str, start: int, end: int
) -> None:
    """206, with the place of what is sent, and no byte beside it."""
    client, path = file
    answer = await client.get(path, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["etag"] == MARK


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,5-6", "bytes=9-5", "bytes=-", "bytes=a-b", "lines=1-2", f"bytes={'9' * 40}-"],
)
async def test_what_is_no_single_range_is_the_whole(
    file: tuple[httpx2.AsyncClient, str], asked: str
) -> None:
    """A range that is not understood is as if none was asked for."""
    client, path = file
    answer = await client.get(path, headers={"Range": asked})
    assert (answer.status_code, len(answer.content)) == (200, SIZE)


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0"])
async def test_a_range_beyond_the_end_is_refused(
    file: tuple[httpx2.AsyncClient, str], asked: str
) -> None:
    """416 says how long the file is, in the header and in a sentence."""
    client, path = file
    answer = await client.get(path, headers={"Range": asked})
    said = answer.json()
    assert (answer.status_code, said["code"]) == (416, "no_such_range")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"
    assert str(SIZE) in said["error"] and said["error"].endswith(".")


async def test_a_part_goes_on_only_where_it_is_the_same_file(
    file: tuple[httpx2.AsyncClient, str],
) -> None:
    """If-Range: with its mark a part, with another (or a weak one, or a date) the whole."""
    client, path = file
    for mark, status in ((MARK, 206), ('"other"', 200), (f"W/{MARK}", 200), ("a date", 200)):
        answer = await client.get(path, headers={"Range": "bytes=1-2", "If-Range": mark})
        assert answer.status_code == status, mark


@pytest.mark.parametrize(
    "mark", [MARK, f"W/{MARK}", f'"other", {MARK}', "*"], ids=["it", "weak", "one of two", "any"]
)
async def test_what_the_caller_has_is_not_sent_again(
    file: tuple[httpx2.AsyncClient, str], door: Door, mark: str
) -> None:
    """304, whatever range was asked for, and without a read; with another mark the file is sent."""
    client, path = file
    answer = await client.get(path, headers={"If-None-Match": mark, "Range": "bytes=1-2"})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", MARK)
    assert (await client.head(path, headers={"If-None-Match": mark})).status_code == 304
    assert door.store.reads == 0
    other = await client.get(path, headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


async def test_a_name_breaks_nothing(file: tuple[httpx2.AsyncClient, str]) -> None:
    """What a file is called is letters, digits and three signs, with the ending of its type."""
    client, path = file
    for name, shown in (
        ('a"; filename="b.html', "a-filename-b.html.png"),
        ("../../etc/passwd", "etc-passwd.png"),
        ("Ünïcode\r\nX: y", "n-code-X-y.png"),
        ("", "file.png"),
        ("x" * 500, "x" * 80 + ".png"),
    ):
        answer = await client.head(path, params={"name": name, "save": "1"})
        assert answer.headers["content-disposition"] == f'attachment; filename="{shown}"'
        assert "x" not in answer.headers


async def refused(client: httpx2.AsyncClient, path: str) -> tuple[int, dict[str, Any]]:
    """Return how a GET is refused, in the surface's envelope."""
    answer = await client.get(path)
    said = answer.json()
    assert said["error"].endswith(".") and said["requestId"]
    assert "etag" not in answer.headers and answer.headers["cache-control"] == "no-store"
    return answer.status_code, said


async def test_what_has_expired_says_so(file: tuple[httpx2.AsyncClient, str], door: Door) -> None:
    """410 from its time on, with the time, whether its bytes are there yet or not; 404 for none."""
    client, path = file
    door.clock.forward(days=1)
    for sweep in (False, True):
        if sweep:
            door.clock.forward(minutes=10)
            await door.desk.sweep()
        status, said = await refused(client, path)
        assert (status, said["code"]) == (410, "deleted")
        assert "was kept until 20" in said["error"]
    status, said = await refused(client, "/files/" + "0" * 32)
    assert (status, said["code"]) == (404, "not_found")


async def test_a_store_that_is_away_is_no_missing_file(
    file: tuple[httpx2.AsyncClient, str], door: Door
) -> None:
    """503 and when to come back, before a byte was sent; bytes that are lost are our own fault."""
    client, path = file
    there = door.desk
    config = {"endpoint": "http://127.0.0.1:9", "access_key_id": "k", "secret_access_key": "k"}
    away = ObjectStore.at("s3://made", config, allow_http=True, put_s=2, ask_s=2)
    door.desk = replace(there, store=away)
    status, said = await refused(client, path)
    assert (status, said["code"]) == (503, "unavailable")
    door.desk = there
    assert await there.store.delete([path.rpartition("/")[2]]) is None
    status, said = await refused(client, path)
    assert (status, said["code"]) == (500, "internal_error")


async def test_who_goes_away_is_read_for_no_more(door: Door) -> None:
    """A client that leaves in the middle ends its answer: the rest stays in the store."""
    pieces = 200
    made = await door.kept(bytes(pieces * PIECE))
    async with door.open() as client:
        async with client.stream("GET", f"/files/{made.id}") as answer:
            assert answer.status_code == 200
            await anext(answer.aiter_raw(1000))
        async with asyncio.timeout(PATIENCE_S):
            await door.ended.wait()
        assert door.store.reads < pieces
        assert (await client.head(f"/files/{made.id}")).status_code == 200


async def test_what_breaks_off_is_seen_to(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the rest can't be read any more, the connection closes: none takes a part for all."""
    made = await door.kept(bytes(200 * PIECE))
    async with door.open() as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            async with client.stream("GET", f"/files/{made.id}") as answer:
                body = answer.aiter_raw(1000)
                await anext(body)
                assert await door.store.delete([made.id]) is None
                async for _ in body:
                    pass
    assert "artifact_broke_off" in capsys.readouterr().out
