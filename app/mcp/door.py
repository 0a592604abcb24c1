"""POST /mcp: one message of MCP's streamable HTTP, without sessions, answered in JSON.

The package that speaks MCP is loaded by the first message: it costs a second and some 40 MB, which
a server that no such client finds is spared, and its start is not slower for it.
"""

import asyncio
from importlib import import_module
from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from app.http.body import parse, read_body
from app.http.fields import Body
from app.strict_json import BadInput

MOST_BYTES: Final = 8 * 1024 * 1024  # pictures may stand among the inputs of a tool
SPEAKS: Final = "app.mcp.server"
JSON: Final = "application/json"


class RpcMessage(Body):
    """POST /mcp: a message of JSON-RPC 2.0. What it says is read by who speaks MCP."""

    jsonrpc: Literal["2.0"]
    id: str | int | None = None
    method: str | None = None
    params: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


async def mcp(request: Request) -> Response:
    """POST /mcp."""
    if not request.headers.get("content-type", "").lower().startswith(JSON):
        raise BadInput(f"Send one message, as `Content-Type: {JSON}`.")
    body = await read_body(request, most_bytes=MOST_BYTES)
    parse(body, RpcMessage)  # as strictly as every body here
    server: Any = await asyncio.to_thread(import_module, SPEAKS)
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    told: list[Message] = []

    async def receive() -> Message:
        return unread.pop() if unread else await request.receive()

    async def send(message: Message) -> None:
        told.append(message)

    await server.serve(request.scope, receive, send)
    start, content = told[0], b"".join(each.get("body", b"") for each in told[1:])
    answer = Response(content, start["status"])
    answer.raw_headers = list(start["headers"])
    return answer
