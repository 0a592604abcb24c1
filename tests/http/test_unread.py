"""A request that is refused by its head alone: what comes behind it is read, or its sender is told
that the connection ends (RFC 9112, section 9.6)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.http.edge import MOST_LEFT_BYTES, Edge
from app.serving.run import listening
from tests.world.patience import PATIENCE_S

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@asynccontextmanager
async def refusing() -> AsyncIterator[tuple[Streams, asyncio.Event]]:
    """Connect to a server that refuses without a look at bodies; tell when it has decided so."""
    decided = asyncio.Event()

    async def refuses(request: Request) -> Response:
        decided.set()
        return Response("no", 401)

    edge = Middleware(Edge, new_id=lambda: "0" * 32)
    app = Starlette(routes=[Route("/", refuses, methods=["POST"])], middleware=[edge])
    async with listening(app, "127.0.0.1", 0) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        try:
            yield (reader, writer), decided
        finally:
            writer.close()


async def head_of_answer(reader: asyncio.StreamReader) -> bytes:
    """Return the head of the next answer, without its body of two bytes."""
    async with asyncio.timeout(PATIENCE_S):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
    return head.lower()


async def test_a_body_behind_a_refused_head_is_read_and_the_next_request_served() -> None:
    """Though it arrives after the refusal was decided."""
    async with refusing() as ((reader, writer), decided):
        for _ in range(2):
            decided.clear()
            writer.write(HEAD % 4)
            await asyncio.wait_for(decided.wait(), PATIENCE_S)
            writer.write(b"body")
            head = await head_of_answer(reader)
            assert b" 401 " in head and b"connection: close" not in head


async def test_who_sends_no_body_or_too_much_is_told_that_the_connection_ends() -> None:
    """After a moment, or once more came than is read for nothing."""
    for sent in (b"", bytes(MOST_LEFT_BYTES + 1)):
        async with refusing() as ((reader, writer), _):
            writer.write(HEAD % (2 * MOST_LEFT_BYTES) + sent)
            head = await head_of_answer(reader)
            assert b" 401 " in head and b"connection: close" in head
            async with asyncio.timeout(PATIENCE_S):
                assert await reader.read() == b""
