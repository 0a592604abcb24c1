"""A stand-in for somebody's API on 127.0.0.1: it answers as its API does, and otherwise as a test
scripts it: late, cut, packed, without end, or with what no client expects.
"""

import asyncio
import contextlib
import email.policy
import io
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from app.serving.listener import open_listener

KEY = "key-of-the-stand-in"
PIECE = bytes(64 * 1024)
MOST_BYTES = 1024**3  # of an answer without end


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it was received."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any  # JSON, or the fields of a form, or None
    files: dict[str, bytes] = field(default_factory=dict)  # of a form


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: JSON, or bytes as they are. `hang`: none, until who asked leaves."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    hang: bool = False
    cut: bool = False  # half of it, and then nothing
    endless: bool = False


class ProviderServer:
    """Serves until stopped. `answers` says what its API says to a request."""

    def __init__(self, answers: Callable[[Asked], Reply], *routes: BaseRoute) -> None:
        self.url = ""
        self._answers, self._routes = answers, routes
        self._stopping = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        """Forget scripts and requests."""
        self.asked: list[Asked] = []
        self.arrived = asyncio.Semaphore(0)  # released by each request
        self.left = asyncio.Semaphore(0)  # by each that was left without an answer
        self.go = asyncio.Event()  # while it isn't set, none is answered
        self.go.set()
        self.now = self.most = 0  # requests under way, and the most that ever were
        self.sent_bytes = 0
        self._scripts: dict[str, deque[Reply]] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["ProviderServer"]:
        """Listen on a free port for as long as the block lasts."""
        listener: socket.socket = open_listener("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = Config()
        config.bind = [f"fd://{listener.fileno()}"]
        config.graceful_timeout = 0.2
        config.accesslog = config.errorlog = None
        methods = ["GET", "POST", "DELETE"]
        app = Starlette(routes=[*self._routes, Route("/{path:path}", self._take, methods=methods)])
        serving = asyncio.create_task(
            # Two spellings of ASGI, and wait() answers True.
            serve(app, config, shutdown_trigger=self._stopping.wait)  # type: ignore[arg-type]
        )
        try:
            yield self
        finally:
            self._stopping.set()
            with contextlib.suppress(asyncio.CancelledError):
                await serving
            listener.detach()  # the server closed it

    def script(self, path: str, *replies: Reply) -> None:
        """Answer the next requests of a path with these, in order; then as always."""
        self._scripts.setdefault(path, deque()).extend(replies)

    def of(self, path: str) -> list[Asked]:
        """Return the requests of a path."""
        return [asked for asked in self.asked if asked.path == path]

    async def _take(self, request: Request) -> Response:
        raw = await request.body()
        asked = Asked(
            request.method,
            request.url.path,
            dict(request.query_params),
            dict(request.headers),
            *_read(raw, request.headers.get("content-type", "")),
        )
        self.asked.append(asked)
        self.now += 1
        self.most = max(self.most, self.now)
        self.arrived.release()
        try:
            await self.go.wait()
            scripted = self._scripts.get(asked.path)
            return await self._reply(request, scripted.popleft() if scripted else None, asked)
        finally:
            self.now -= 1

    async def _reply(self, request: Request, reply: Reply | None, asked: Asked) -> Response:
        reply = reply or self._answers(asked)
        if reply.hang:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            self.left.release()
        if reply.cut or reply.endless:
            pieces = self._pieces(reply)
            return StreamingResponse(pieces, reply.status, reply.headers, reply.media_type)
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        return Response(body, reply.status, reply.headers, reply.media_type)

    async def _pieces(self, reply: Reply) -> AsyncIterator[bytes]:
        yield b'{"data": [{"b64_json": "'
        if reply.cut:
            raise ConnectionAbortedError
        while self.sent_bytes < MOST_BYTES:
            self.sent_bytes += len(PIECE)
            yield PIECE
            await asyncio.sleep(0)  # else nobody here hears that the reader left


def _read(raw: bytes, kind: str) -> tuple[Any, dict[str, bytes]]:
    """Return what a body holds, and the files in it, by a reader that isn't the client's."""
    if not kind.startswith("multipart/"):
        return (json.loads(raw) if raw else None), {}
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for part in email.message_from_bytes(head + raw, policy=email.policy.HTTP).iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        if part.get_filename() is None:
            fields[name] = data.decode()
        else:
            files[name] = data
    return fields, files


def has_key(asked: Asked) -> bool:
    """Say whether a request carries the key, as a bearer's."""
    return asked.headers.get("authorization") == f"Bearer {KEY}"


def png(width: int, height: int) -> bytes:
    """Return a picture of this size, all of one colour."""
    return picture(width, height, "PNG")


def picture(width: int, height: int, kind: str, **how: Any) -> bytes:
    """Return a picture of this size and kind."""
    kept = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(kept, kind, **how)
    return kept.getvalue()


def film(duration_ms: int) -> bytes:
    """Return the head of a film, which says that it is so long: no decoder takes it."""
    head = bytes(12) + (1_000).to_bytes(4, "big") + duration_ms.to_bytes(4, "big") + bytes(80)
    return b"\0\0\0\x18ftypmp42" + bytes(12) + b"\0\0\0\x6c" + b"mvhd" + head
