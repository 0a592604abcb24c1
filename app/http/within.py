"""A request to an address of our own, in this process: by the same door, under the same limits.

What is asked for so is refused, counted, paid and answered like everything else. Who asks is who
sent the request that it is made for: its credentials go along, but for its cookies.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import orjson
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message

CREDENTIALS: Final = frozenset((b"authorization", b"payment-authorization", b"x-api-key"))
# Who asks, from where, and by which address: as its proxies have told it.
_KEPT: Final = frozenset((b"host", b"x-forwarded-for", b"x-forwarded-proto", b"forwarded"))


@dataclass(frozen=True, slots=True)
class Told:
    """What one of our addresses has answered."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body, read."""
        return orjson.loads(self.body) if self.body else None


async def ask(
    request: Request,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    shows_credentials: bool = True,
) -> Told:
    """Return what an address answers to the sender of a request.

    `path` is escaped as in a URL; `headers` are sent besides.
    """
    sent = orjson.dumps(body) if body is not None else b""
    scope = {
        name: request.scope[name]
        for name in ("type", "asgi", "http_version", "scheme", "server", "client", "root_path")
        if name in request.scope
    }
    scope |= {
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": _headers(request, sent, headers or {}, shows_credentials),
        "state": {},
    }
    got: list[Message] = []
    unread = [{"type": "http.request", "body": sent, "more_body": False}]

    async def receive() -> Message:
        if unread:
            return unread.pop()
        await asyncio.Event().wait()  # whoever asked goes on waiting, or this is cancelled
        raise AssertionError

    async def send(message: Message) -> None:
        got.append(message)

    await request.app(scope, receive, send)
    start = got[0]
    content = b"".join(each.get("body", b"") for each in got[1:])
    return Told(start["status"], Headers(raw=list(start["headers"])), content)


def _headers(
    request: Request, sent: bytes, more: Mapping[str, str], shows_credentials: bool
) -> list[tuple[bytes, bytes]]:
    kept = _KEPT | CREDENTIALS if shows_credentials else _KEPT
    headers = [(name, value) for name, value in request.scope["headers"] if name in kept]
    headers.append((b"x-request-id", request.scope["state"]["request_id"].encode()))
    if sent:
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", str(len(sent)).encode()))
    headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in more.items()]
    return headers
