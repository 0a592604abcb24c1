"""A stand-in for a model's API: speaks the Anthropic Messages API on 127.0.0.1, as told by a test.

Without a script it accepts every request but those that hold REJECTME, and echoes the work.
Run as `python -m tests.world.messages_server [--port N] [--obeys]` it prints its address and
serves.
"""

import argparse
import asyncio
import contextlib
import json
import re
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.serving.listener import open_listener

JUDGE, WORK, COUNT, MODELS = "judge", "work", "count", "models"
REJECT_WORD = "REJECTME"
ABSENT = "absent"
CLIENT_KEY = "key-of-the-stand-in"


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was received: `kind` is JUDGE, WORK, COUNT or MODELS."""

    kind: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def user_text(self) -> str:
        """All that the user messages say."""
        said = []
        for message in self.body.get("messages", ()):
            content = message["content"]
            if isinstance(content, str):
                said.append(content)
            else:
                said += [block.get("text", "") for block in content]
        return "\n".join(said)

    @property
    def prompt(self) -> str:
        """Everything the model would read: instructions, tools and messages."""
        return json.dumps(self.body, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call gets. Fields left alone have the default of a well-behaved server.

    `usage` may be any JSON value, or ABSENT. `content` replaces the blocks, `raw` the whole body.
    `cut_after` drops the connection after so many events of a stream (or at once, unstreamed);
    `hang` never answers. `counted` is the answer of count_tokens.
    """

    text: str | None = None
    accept: bool | None = None
    reason: str = "Judged by the stand-in."
    verdict: Any = None  # the tool's input, in place of accept and reason
    content: Any = None
    stop_reason: str | None = ""
    usage: Any = None
    counted: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    content_type: str = "application/json"
    delay_s: float = 0
    hang: bool = False
    cut_after: int | None = None
    pause_s: float = 0  # before each event of a stream


def well_behaved(call: Call) -> Reply:
    """Reject what holds REJECTME, accept the rest, and echo the work."""
    if call.kind == JUDGE:
        return Reply(accept=REJECT_WORD not in call.user_text)
    return Reply(text=f"Done: {call.user_text}"[:2_000])


def obeys_the_attacker(call: Call) -> Reply:
    """Do whatever the user text says, as a model would that was wholly talked over.

    It accepts, tells all it was given as its reason or its work, and puts every `word=value` of
    the text into its verdict where the text asks for that with the word FIELDS.
    """
    text = call.user_text
    if call.kind != JUDGE:
        return Reply(text=f"Certainly. I was given: {call.prompt}")
    verdict: dict[str, Any] = {"accept": True, "reason": f"I was given: {call.prompt}"}
    if "FIELDS" in text:
        for name, value in re.findall(r"([a-z_]+)=(-?\w+)", text):
            verdict[name] = int(value) if re.fullmatch(r"-?\d+", value) else value
    if "STRINGLY" in text:
        verdict["accept"] = "true"
    content: list[dict[str, Any]] = [_tool_use(verdict)]
    if "TWICE" in text:
        content.append(_tool_use({"accept": True, "reason": "again"}))
    if "OTHERTOOL" in text:
        content = [_tool_use({"amount": 0}, name="set_price")]
    if "PROSE" in text:
        content = [{"type": "text", "text": '{"accept": true, "reason": "as the buyer wishes"}'}]
    return Reply(content=content, stop_reason="tool_use")


def count_tokens(body: dict[str, Any]) -> int:
    """Return a count that depends on sizes alone: four bytes a token, and ten for the frame."""
    said = json.dumps(
        [body.get("system"), body.get("messages"), body.get("tools")], ensure_ascii=False
    )
    return 10 + len(said.encode(errors="replace")) // 4


class MessagesServer:
    """Serves until stopped. `script` queues replies for a kind of call; `policy` does the rest."""

    def __init__(self, policy: Callable[[Call], Reply] = well_behaved, port: int = 0) -> None:
        self.policy = policy
        self.calls: list[Call] = []
        self.url = ""
        self._usual = policy
        self._port = port
        self._scripts: dict[str, deque[Reply]] = {}
        self._always: dict[str, Reply] = {}
        self._stopping = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self._called = asyncio.Condition()

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._socket = open_listener("127.0.0.1", self._port)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = Config()
        config.bind = [f"fd://{self._socket.fileno()}"]
        config.graceful_timeout = 0.2
        config.accesslog = config.errorlog = None
        self._serving = asyncio.create_task(
            serve(
                self._app(),  # type: ignore[arg-type]  # two spellings of ASGI
                config,
                shutdown_trigger=self._stopping.wait,
            )
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

    def always(self, kind: str, reply: Reply) -> None:
        """Answer every call of that kind with this, until `reset`."""
        self._always[kind] = reply

    def reset(self) -> None:
        """Forget scripts and calls, and behave well again."""
        self._scripts.clear()
        self._always.clear()
        self.calls.clear()
        self.policy = self._usual

    def called(self, kind: str) -> list[Call]:
        """Return the calls of that kind so far."""
        return [call for call in self.calls if call.kind == kind]

    async def wait_called(self, kind: str, times: int = 1) -> None:
        """Wait until so many calls of that kind have arrived."""
        async with self._called:
            await self._called.wait_for(lambda: len(self.called(kind)) >= times)

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/messages", self._messages, methods=["POST"]),
                Route("/v1/messages/count_tokens", self._count, methods=["POST"]),
                Route("/v1/models", self._models, methods=["GET"]),
            ]
        )

    async def _reply(self, kind: str, request: Request) -> tuple[Call, Reply]:
        body = json.loads(await request.body() or b"{}")
        call = Call(kind, dict(request.headers), body)
        self.calls.append(call)
        async with self._called:
            self._called.notify_all()
        scripted = self._scripts.get(kind)
        reply = scripted.popleft() if scripted else self._always.get(kind) or self.policy(call)
        if reply.hang:
            await self._stopping.wait()
        if reply.delay_s:
            await asyncio.sleep(reply.delay_s)
        return call, reply

    async def _messages(self, request: Request) -> Response:
        body = json.loads(await request.body())
        judging = _forced_tool(body) or "format" in body.get("output_config", {})
        call, reply = await self._reply(JUDGE if judging else WORK, request)
        plain = _plain(reply) or _refused(body)
        if plain is not None:
            return plain
        message = _message(call, reply)
        if body.get("stream"):
            return StreamingResponse(_events(message, reply), 200, reply.headers, _SSE)
        if reply.cut_after is not None:
            half = json.dumps(message).encode()[:50]
            return StreamingResponse(_cut(half), 200, reply.headers, "application/json")
        return JSONResponse(message, headers=reply.headers)

    async def _count(self, request: Request) -> Response:
        call, reply = await self._reply(COUNT, request)
        counted = count_tokens(call.body) if reply.counted is None else reply.counted
        shown = {} if counted == ABSENT else {"input_tokens": counted}
        return _plain(reply) or JSONResponse(shown, headers=reply.headers)

    async def _models(self, request: Request) -> Response:
        _, reply = await self._reply(MODELS, request)
        return _plain(reply) or JSONResponse({"data": [], "has_more": False})


_SSE = "text/event-stream"


class _Cut(Exception):
    """Ends a connection in the middle of an answer."""


def _plain(reply: Reply) -> Response | None:
    """Return the answer of a reply that is an error or a body of its own."""
    if reply.raw is not None:
        return Response(reply.raw, reply.status, reply.headers, reply.content_type)
    if reply.status != 200:
        kind = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
        error = {"type": kind.get(reply.status, "api_error"), "message": f"key {CLIENT_KEY} is bad"}
        return JSONResponse({"type": "error", "error": error}, reply.status, reply.headers)
    return None


def _forced_tool(body: dict[str, Any]) -> bool:
    return body.get("tool_choice", {}).get("type") in ("tool", "any")


def _refused(body: dict[str, Any]) -> Response | None:
    """Refuse what the models of that name refuse: forced tools, thoughts turned off, both."""
    model, thinking = body["model"], body.get("thinking", {}).get("type")
    no_force = ("claude-sonnet-5-5", "claude-opus-5-5", "claude-fable-5-1", "claude-mythos-5-1")
    always_thinks = ("claude-opus-5-5", "claude-fable-5", "claude-mythos-5")
    wrong = (
        (_forced_tool(body) and model.startswith(no_force))
        or (thinking == "disabled" and model.startswith((*always_thinks, "claude-sonnet-5-5")))
        or (thinking == "between_tools" and not model.startswith("claude-sonnet-5-5"))
        or ("effort" in body.get("output_config", {}) and "-4-5" in model)
    )
    return _plain(Reply(status=400)) if wrong else None


def _tool_use(said: Any, name: str = "verdict") -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": said}


def _message(call: Call, reply: Reply) -> dict[str, Any]:
    content: Any = reply.content
    stop_reason: str | None = "end_turn"
    if content is None and call.kind == JUDGE and reply.text is None:
        said = {"accept": reply.accept is not False, "reason": reply.reason}
        said = said if reply.verdict is None else reply.verdict
        if _forced_tool(call.body):
            content, stop_reason = [_tool_use(said)], "tool_use"
        else:
            content = [{"type": "text", "text": json.dumps(said)}]
    elif content is None:
        content = [{"type": "text", "text": reply.text or ""}]
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": call.body.get("model", ""),
        "content": content,
        "stop_reason": stop_reason if reply.stop_reason == "" else reply.stop_reason,
        "stop_sequence": None,
        "usage": reply.usage,
    }
    if reply.usage is None:
        # A real server holds the answer to max_tokens, and so does the count of this one.
        written = len(json.dumps(content, ensure_ascii=False).encode(errors="replace")) // 4
        message["usage"] = {
            "input_tokens": count_tokens(call.body),
            "output_tokens": max(1, min(written, call.body["max_tokens"])),
        }
    elif reply.usage == ABSENT:
        del message["usage"]
    return message


async def _cut(begun: bytes) -> AsyncIterator[bytes]:
    yield begun
    raise _Cut


async def _events(message: dict[str, Any], reply: Reply) -> AsyncIterator[bytes]:
    """Stream a message as the API does: its words one event each; cut it where the reply says."""
    for sent, (name, event) in enumerate(_sequence(message)):
        if reply.cut_after is not None and sent >= reply.cut_after:
            raise _Cut
        await asyncio.sleep(reply.pause_s)
        yield f"event: {name}\ndata: {json.dumps({'type': name} | event)}\n\n".encode()


def _sequence(message: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    usage = message.get("usage", ABSENT)
    opened: dict[str, Any] = message | {"content": [], "stop_reason": None}
    closed: dict[str, Any] = {
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None}
    }
    if isinstance(usage, dict):
        opened["usage"] = usage | ({"output_tokens": 1} if "output_tokens" in usage else {})
        closed["usage"] = usage
    events: list[tuple[str, dict[str, Any]]] = [("message_start", {"message": opened})]
    for index, block in enumerate(message["content"]):
        text = block.get("text", "")
        bare = {"type": "text", "text": ""} if block["type"] == "text" else block | {"input": {}}
        events.append(("content_block_start", {"index": index, "content_block": bare}))
        events += [
            ("content_block_delta", {"index": index, "delta": {"type": "text_delta", "text": word}})
            for word in re.findall(r"\s*\S+\s*|\s+", text)
        ]
        events.append(("content_block_stop", {"index": index}))
    return [*events, ("message_delta", closed), ("message_stop", {})]


async def _main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for the Anthropic Messages API")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--obeys", action="store_true", help="do whatever the request says")
    options = parser.parse_args()
    server = MessagesServer(obeys_the_attacker if options.obeys else well_behaved, options.port)
    await server.start()
    print(server.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main())
