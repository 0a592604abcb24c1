"""Connections end: those that are silent, slow, unread or gone hold no file, no memory and nobody
else up, and those that wait for something are left to wait.
"""

import asyncio
import contextlib
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from app.serving.connection import Patience
from app.serving.connections import Places
from app.serving.run import DRAIN_S, listening
from tests.world.house_fixtures import instance_of
from tests.world.patience import PATIENCE_S

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
BIG = bytes(8 * 2**20)
FEW = 64  # idle connections of a caller, in these tests
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Place:
    """A server, and how to reach it by hand."""

    def __init__(self, url: str, go: asyncio.Event, left: asyncio.Event) -> None:
        self.port = int(url.rpartition(":")[2])
        self.go, self.left = go, left
        self.waiting = 0
        self.opened: list[asyncio.StreamWriter] = []

    async def connect(self, *sent: bytes, by: str = "127.0.0.1") -> Streams:
        """Open a connection from an address, and send something."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(by, 0), limit=2**24
        )
        self.opened.append(writer)
        writer.writelines(sent)
        await writer.drain()
        return reader, writer


@contextlib.asynccontextmanager
async def place_of(
    patience: Patience | None = None, places: Places | None = None
) -> AsyncIterator[Place]:
    """Serve a few answers: at once, a big one, one that waits, a stream that says nothing."""
    go, left = asyncio.Event(), asyncio.Event()
    place: Place

    async def at_once(request: Request) -> Response:
        return Response("here")

    async def big(request: Request) -> Response:
        return Response(BIG)

    async def waits(request: Request) -> Response:
        place.waiting += 1
        await go.wait()
        return Response("at last")

    async def silent(request: Request) -> Response:
        async def nothing() -> AsyncIterator[bytes]:
            yield b"hello"
            try:
                await go.wait()
            finally:
                left.set()
            yield b"bye"

        return StreamingResponse(nothing())

    routes = [
        Route("/", at_once),
        Route("/big", big),
        Route("/waits", waits),
        Route("/silent", silent),
    ]
    app = Starlette(routes=routes)
    async with listening(app, "127.0.0.1", 0, patience=patience, places=places) as url:
        place = Place(url, go, left)
        try:
            yield place
        finally:
            go.set()
            for writer in place.opened:
                writer.transport.abort()


def files() -> int:
    """Return how many files this process, which is the server too, has open."""
    return len(os.listdir("/proc/self/fd"))


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; what would come by a timeout of minutes is too late."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.02)


async def answered(streams: Streams) -> bytes:
    """Return the status line of the next answer, and read the answer."""
    reader, _ = streams
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return head.split(b"\r\n")[0]


async def close(streams: Streams) -> None:
    """Close our end, whole."""
    streams[1].close()


async def half_close(streams: Streams) -> None:
    """Say that no more will come, and listen on to the end that it is to have."""
    streams[1].write_eof()
    await asyncio.wait_for(streams[0].read(), PATIENCE_S)
    streams[1].close()


async def reset(streams: Streams) -> None:
    """Break it off."""
    streams[1].transport.abort()


@pytest.mark.parametrize("leave", [close, half_close, reset])
@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET, GET + b"GET"])
async def test_a_connection_whose_other_end_has_gone_is_closed_at_once(
    leave: Callable[[Streams], Awaitable[None]], sent: bytes
) -> None:
    """Three hundred connections that end before a byte, within a head, or between two requests
    hold no file after that.
    """
    async with place_of() as place:
        before = files()
        for _ in range(6):
            for _ in range(50):
                streams = await place.connect(sent)
                if GET in sent:
                    await answered(streams)
                await leave(streams)
            place.opened.clear()
        await until(lambda: files() <= before + 2)


async def test_who_has_sent_all_of_a_request_gets_its_answer(tmp_path: Path) -> None:
    """Also when they say at once that no more will come."""
    async with place_of() as place:
        reader, writer = await place.connect(GET)
        writer.write_eof()
        assert (await reader.read()).endswith(b"here")


async def test_a_wait_whose_caller_has_gone_holds_no_file() -> None:
    """A long poll, a stream, one that asked for another protocol, and one with a second request
    behind it: the file is given back though the handler still waits; a stream is told.
    """
    async with place_of(Patience(gone_s=0.1)) as place:
        before = files()
        upgrade = b"GET /waits HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
        poll = GET.replace(b"/ ", b"/waits ")
        for sent in (poll, upgrade, poll + GET):
            await place.connect(sent)
        reader, _ = await place.connect(GET.replace(b"/ ", b"/silent "))
        await reader.readuntil(b"hello")
        for writer in place.opened:
            writer.close()
        await until(lambda: files() <= before)
        await asyncio.wait_for(place.left.wait(), PATIENCE_S)


async def test_a_head_has_a_time_however_steadily_it_drips() -> None:
    """From the first byte to the last of a request's head, for the first one and for later ones."""
    async with place_of(Patience(head_s=0.3, idle_s=60)) as place:
        silent, _ = await place.connect()
        first, second = await place.connect(b"GET / HTTP/1.1\r\n"), await place.connect(GET)
        assert await answered(second) == b"HTTP/1.1 200 "
        for reader, writer in (first, second):
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(PATIENCE_S):
                    while not reader.at_eof():
                        writer.write(b"X-A: 1\r\n" if reader is first[0] else b"G")
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(0.05):
                                await reader.read(1)
        assert await silent.read() == b""


async def test_a_request_that_comes_as_its_time_ends_is_answered() -> None:
    """It was sent in time, to a server that was too busy to look."""
    async with place_of(Patience(head_s=0.2, idle_s=0.2)) as place:
        streams = await place.connect(GET)
        for _ in range(2):
            assert await answered(streams) == b"HTTP/1.1 200 "
            streams[1].write(GET)
            time.sleep(0.3)  # noqa: ASYNC251 (this process is the server too: it is not to look)
        assert await answered(streams) == b"HTTP/1.1 200 "


async def test_as_many_may_knock_at_once_as_a_caller_may_have() -> None:
    """Who comes while the server does something else is let in after that, and not passed over."""
    async with place_of() as place:
        await answered(await place.connect(GET))
        knocking = [socket.create_connection(("127.0.0.1", place.port), 1) for _ in range(400)]
        for each in knocking:
            each.sendall(GET)
        await until(lambda: all(select.select([each], (), (), 0)[0] for each in knocking))
        for each in knocking:
            assert each.recv(13) == b"HTTP/1.1 200 "
            each.close()


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize(
    "head", [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n", b"GET /\x00\r\n\r\n"]
)
async def test_an_answer_before_the_end_of_its_request_is_read(head: bytes, ends: bool) -> None:
    """What still comes of a refused request is taken for a while: closed at once, the connection
    would be reset, and the answer lost with it (RFC 9112, section 9.6).
    """
    async with place_of(Patience(linger_s=60 if ends else 0.3)) as place:
        before = files()
        reader, writer = await place.connect(head)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 405" if head.startswith(b"POST") else b"HTTP/1.1 400")
        rest: socket.socket = writer.get_extra_info("socket").dup()
        for _ in range(2):  # the first of them would bring the reset about
            rest.send(bytes(10))
        if ends:
            writer.transport.abort()
        rest.close()
        await until(lambda: files() <= before + (not ends))


async def test_who_waits_for_an_answer_may_be_silent() -> None:
    """A long poll and an event stream outlast by far the time that an idle connection has."""
    async with place_of(Patience(head_s=0.1, idle_s=0.1)) as place:
        poll = await place.connect(GET.replace(b"/ ", b"/waits "))
        stream, _ = await place.connect(GET.replace(b"/ ", b"/silent "))
        await stream.readuntil(b"hello")
        for _ in range(3):  # idle ones come and end meanwhile
            idle = await place.connect(GET)
            await answered(idle)
            assert await idle[0].read() == b""
        assert not place.left.is_set()
        place.go.set()
        assert await answered(poll) == b"HTTP/1.1 200 "
        await stream.readuntil(b"bye")


async def test_a_caller_has_few_connections_that_wait_for_nothing() -> None:
    """The oldest of them ends for a new one. Those of others, and those at work, are left alone."""
    async with place_of(places=Places(1_000, FEW)) as place:
        other = await place.connect(GET, by="127.0.0.2")
        await answered(other)
        at_work = await place.connect(GET.replace(b"/ ", b"/waits "))
        mine = []
        for _ in range(3 * FEW):
            mine.append(await place.connect())
        for reader, _ in mine[: 2 * FEW - 1]:
            assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        last = mine[-1]
        for streams in (other, last):
            streams[1].write(GET)
            assert await answered(streams) == b"HTTP/1.1 200 "
        place.go.set()
        assert await answered(at_work) == b"HTTP/1.1 200 "


async def test_when_all_places_are_taken_the_longest_idle_one_goes() -> None:
    """None that is at work goes: when all are, the newest is refused. One caller has half."""
    async with place_of(places=Places(8, FEW)) as place:
        first = await place.connect(by="127.0.0.2")
        poll = GET.replace(b"/ ", b"/waits ")
        polls = [await place.connect(poll, by=f"127.0.1.{n}") for n in range(7)]
        await until(lambda: place.waiting == 7)
        newer = await place.connect(GET, by="127.0.0.3")
        assert await first[0].read() == b""  # it was the only one that waited for nothing
        assert await answered(newer) == b"HTTP/1.1 200 "
        newest = await place.connect(poll, by="127.0.0.4")
        assert await newer[0].read() == b""
        await until(lambda: place.waiting == 8)
        with contextlib.suppress(ConnectionError):
            refused = await place.connect(GET, by="127.0.0.5")
            assert await refused[0].read() == b""
        place.go.set()
        for streams in (*polls, newest):
            assert await answered(streams) == b"HTTP/1.1 200 "
    async with place_of(places=Places(8, FEW)) as place:
        waiting = [await place.connect(poll) for _ in range(4)]
        await until(lambda: place.waiting == 4)
        with contextlib.suppress(ConnectionError):
            fifth = await place.connect(GET)
            assert await fifth[0].read() == b""
        elsewhere = await place.connect(GET, by="127.0.0.2")
        assert await answered(elsewhere) == b"HTTP/1.1 200 "
        place.go.set()
        for streams in waiting:
            assert await answered(streams) == b"HTTP/1.1 200 "


def reading(writer: asyncio.StreamWriter) -> asyncio.Transport:
    """Return the way back of a connection: what a writer writes to is read from, too."""
    assert isinstance(writer.transport, asyncio.Transport)
    return writer.transport


def resident_bytes() -> int:
    """Return how much memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_answers_that_nobody_reads_are_few_bytes_and_have_an_end() -> None:
    """A hundred connections ask for eight megabytes each, sixteen times over, and read nothing:
    what waits for them is a slice each, others are served, and in the end they are cut off.
    """
    async with place_of(Patience(take_s=3)) as place:
        before, open_before = resident_bytes(), files()
        stalled = []
        for number in range(100):
            sent = GET.replace(b"/ ", b"/big ") * 16
            stalled.append(await place.connect(sent, by=f"127.0.1.{number + 1}"))
            reading(stalled[-1][1]).pause_reading()
        assert await answered(await place.connect(GET)) == b"HTTP/1.1 200 "
        assert resident_bytes() - before < 100 * 2**20
        await until(lambda: files() < open_before + 110)  # a hundred of them are our own ends
        for reader, writer in stalled:
            reading(writer).resume_reading()
            got = 0
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(PATIENCE_S):
                    while data := await reader.read(2**20):
                        got += len(data)
            assert got < 16 * len(BIG)


async def test_a_flood_of_requests_behind_one_another_is_cut_off() -> None:
    """Whoever sends on and reads no answer is read no further, and then cut off."""
    async with place_of(Patience(take_s=0.3)) as place:
        _, writer = await place.connect()
        reading(writer).pause_reading()
        sent = 0
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(PATIENCE_S):
                while sent < 2**30:
                    writer.write(GET * 2_000)
                    await writer.drain()
                    sent += len(GET) * 2_000
        assert sent < 2**26


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
SETTINGS = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"


async def test_http2_is_not_spoken() -> None:
    """Its preface is refused in HTTP/1.1 and the connection closed; a wish to upgrade is passed
    over, as are other versions.
    """
    async with place_of() as place:
        reader, _ = await place.connect(PREFACE)
        assert (await reader.read()).startswith(b"HTTP/1.1 505 ")
        reader, _ = await place.connect(GET.replace(b"1.1", b"2.0"))
        assert (await reader.read()).startswith(b"HTTP/1.1 505 ")
        sent = GET.replace(b"\r\n\r\n", b"\r\nUpgrade: h2c\r\n" + SETTINGS + b"\r\n")
        asked = await place.connect(sent)
        assert await answered(asked) == b"HTTP/1.1 200 "
        asked[1].write(GET)
        assert await answered(asked) == b"HTTP/1.1 200 "


async def test_a_server_that_is_stopped_right_after_its_start_ends(
    database_url: str, tmp_path: Path
) -> None:
    """Whatever its loops are in the middle of just then: none of them misses that it is over."""
    for _ in range(5):
        async with instance_of(database_url, tmp_path) as instance:
            stopping = asyncio.get_running_loop().time()
            assert (await instance.http.get("/api/healthz")).status_code == 200
        took_s = asyncio.get_running_loop().time() - stopping
        assert took_s < DRAIN_S, "it was given up on"
