"""A stand-in for Google's models: speaks the Gemini API on 127.0.0.1, as told by a test.

Without a script it repeats the last thing that was said, word by word, and draws one grey pixel.
"""

import asyncio
import base64
import contextlib
import json
import re
import socket
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest_asyncio
from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.serving.listener import open_listener

STREAM, WHOLE, MODEL = "streamGenerateContent", "generateContent", "get"
CLIENT_KEY = "key-of-the-stand-in"
CHAT_MODEL = "gemini-3.8-flash"
IMAGE_MODEL = "gemini-3.1-flash-image"
ABSENT = "absent"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
IMAGE_TOKENS = 1_120
THOUGHT_TOKENS = 7


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was received."""

    kind: str
    model: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def said(self) -> list[tuple[str, str]]:
        """The conversation, as (role, text)."""
        return [
            (content["role"], "".join(part.get("text", "") for part in content["parts"]))
            for content in self.body["contents"]
        ]

    @property
    def config(self) -> dict[str, Any]:
        """How the answer was asked for."""
        return dict(self.body.get("generationConfig", {}))


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call gets. Fields left alone have the default of a well-behaved server.

    `usage` may be any JSON value, or ABSENT. `chunks` are bodies of a stream, word for word.
    After so many words a stream hangs, breaks off, or ends with an error in its middle.
    """

    text: str | None = None
    finish: str = "STOP"
    block: str = ""
    usage: Any = None
    image: bytes | None = PIXEL
    media_type: str = "image/png"
    status: int = 200
    message: str = f"something is wrong with {CLIENT_KEY}"
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    chunks: tuple[Any, ...] | None = None
    hang: bool = False
    hang_after: int | None = None
    cut_after: int | None = None
    error_after: int | None = None


class GeminiServer:
    """Serves until stopped. `script` queues replies for a kind of call."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[Call] = []  # for an answer; what asks how it is comes at any time
        self.left = asyncio.Semaphore(0)  # released by each stream that its reader left
        self._scripts: dict[str, deque[Reply]] = {}
        self._stopping = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._socket = open_listener("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = Config()
        config.bind = [f"fd://{self._socket.fileno()}"]
        config.graceful_timeout = 0.2
        config.accesslog = config.errorlog = None
        app = Starlette(
            routes=[
                Route("/v1beta/models/{model}:{kind}", self._generate, methods=["POST"]),
                Route("/v1beta/models/{model}", self._model),
            ]
        )
        self._serving = asyncio.create_task(
            # Two spellings of ASGI, and wait() answers True.
            serve(app, config, shutdown_trigger=self._stopping.wait)  # type: ignore[arg-type]
        )

    async def stop(self) -> None:
        """Close every connection, those that hang too."""
        self._stopping.set()
        if self._serving is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._serving
        if self._socket is not None:
            self._socket.detach()  # the server closed it

    def script(self, kind: str, *replies: Reply) -> None:
        """Answer the next calls of that kind with these, in order; then as always."""
        self._scripts.setdefault(kind, deque()).extend(replies)

    def reset(self) -> None:
        """Forget scripts and calls."""
        self._scripts.clear()
        self.calls.clear()
        self.left = asyncio.Semaphore(0)

    async def _reply(self, kind: str, request: Request) -> tuple[Call, Reply]:
        body = json.loads(await request.body() or b"{}")
        call = Call(kind, request.path_params["model"], dict(request.headers), body)
        if kind != MODEL:
            self.calls.append(call)
        scripted = self._scripts.get(kind)
        reply = scripted.popleft() if scripted else Reply()
        if reply.hang:
            await self._stopping.wait()
        return call, reply

    async def _model(self, request: Request) -> Response:
        call, reply = await self._reply(MODEL, request)
        return _plain(reply) or JSONResponse({"name": f"models/{call.model}"})

    async def _generate(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        call, reply = await self._reply(kind, request)
        refused = _plain(reply) or _refused(call)
        if refused is not None:
            return refused
        if kind == WHOLE:
            return JSONResponse(_image(call, reply), headers=reply.headers)
        assert request.query_params["alt"] == "sse"
        return StreamingResponse(self._events(call, reply), 200, reply.headers, "text/event-stream")

    async def _events(self, call: Call, reply: Reply) -> AsyncIterator[bytes]:
        chunks = reply.chunks if reply.chunks is not None else _chunks(call, reply)
        for sent, chunk in enumerate(chunks):
            if sent == reply.cut_after:
                raise ConnectionAbortedError
            if sent == reply.error_after:
                yield _event({"error": _error(503, "overloaded")})
                return
            if sent == reply.hang_after:
                try:
                    await self._stopping.wait()
                finally:
                    self.left.release()
            yield _event(chunk)


def _event(chunk: Any) -> bytes:
    return f"data: {json.dumps(chunk)}\r\n\r\n".encode()


def _error(code: int, message: str) -> dict[str, Any]:
    status = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
    return {"code": code, "message": message, "status": status.get(code, "INTERNAL")}


def _plain(reply: Reply) -> Response | None:
    """Return the answer of a reply that is an error or a body of its own."""
    if reply.raw is not None:
        return Response(reply.raw, reply.status, reply.headers, "application/json")
    if reply.status != 200:
        error = {"error": _error(reply.status, reply.message)}
        return JSONResponse(error, reply.status, reply.headers)
    return None


def _refused(call: Call) -> Response | None:
    """Refuse what the real API refuses: an empty text, a wrong role, a key in no header."""
    wrong = not call.said or any(
        role not in ("user", "model") or not text for role, text in call.said
    )
    if wrong or call.headers.get("x-goog-api-key") != CLIENT_KEY:
        return _plain(Reply(status=400))
    return None


def read_tokens(call: Call) -> int:
    """Return what a call reads: four bytes a token, and two for each turn."""
    return sum(2 + -(-len(text.encode()) // 4) for _, text in call.said)


def _usage(call: Call, reply: Reply, written: int, thoughts: int = 0) -> dict[str, Any]:
    if reply.usage == ABSENT:
        return {}
    if reply.usage is not None:
        return {"usageMetadata": reply.usage}
    counts = {"promptTokenCount": read_tokens(call), "candidatesTokenCount": written}
    if thoughts:
        counts["thoughtsTokenCount"] = thoughts
    return {"usageMetadata": counts | {"totalTokenCount": sum(counts.values())}}


def _chunks(call: Call, reply: Reply) -> list[dict[str, Any]]:
    """Return a stream as the API makes it: a thought, the words, and at last why it ended."""
    if reply.block:
        return [{"promptFeedback": {"blockReason": reply.block}, **_usage(call, reply, 0)}]
    words = re.findall(r"\s*\S+\s*|\s+", call.said[-1][1] if reply.text is None else reply.text)
    chunks = []
    for number, word in enumerate(words, 1):
        parts: list[dict[str, Any]] = [{"text": word}]
        if number == 1:
            parts.insert(0, {"text": "Let me think.", "thought": True})
        content = {"content": {"role": "model", "parts": parts}, "index": 0}
        chunks.append({"candidates": [content], **_usage(call, reply, number, THOUGHT_TOKENS)})
    last = {"content": {"role": "model", "parts": []}, "finishReason": reply.finish, "index": 0}
    return [*chunks, {"candidates": [last], **_usage(call, reply, len(words), THOUGHT_TOKENS)}]


def _image(call: Call, reply: Reply) -> dict[str, Any]:
    if reply.block:
        return {"promptFeedback": {"blockReason": reply.block}, **_usage(call, reply, 0)}
    parts = []
    if reply.image is not None:
        drawn = base64.b64encode(reply.image).decode()
        parts.append({"inlineData": {"mimeType": reply.media_type, "data": drawn}})
    content = {"content": {"role": "model", "parts": parts}, "finishReason": reply.finish}
    return {"candidates": [content], **_usage(call, reply, IMAGE_TOKENS)}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gemini_server_running() -> AsyncIterator[GeminiServer]:
    """The one server of the session."""
    server = GeminiServer()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def gemini_server(gemini_server_running: GeminiServer) -> AsyncIterator[GeminiServer]:
    """The server, without the scripts and calls of other tests."""
    gemini_server_running.reset()
    yield gemini_server_running
    gemini_server_running.reset()
