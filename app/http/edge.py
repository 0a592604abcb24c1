"""The outermost layer: each request gets an id, an answer that browsers don't guess about, and a
line in the log that names the route and never what was asked.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from time import perf_counter
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from app.http import origins
from app.http.envelopes import on_error
from app.refusal import Refusal, Why
from app.telemetry.logs import about
from app.telemetry.tracing import span

log = structlog.get_logger("boltwork.http")

REQUESTS = Counter(
    "boltwork_http_requests_total", "Answers by route and status", ["route", "status"]
)
SECONDS = Histogram("boltwork_http_request_seconds", "Time to the answer by route", ["route"])

Line = tuple[bytes, bytes]

_NO_SNIFF = (b"x-content-type-options", b"nosniff")
# Addresses hold ids and claims: no page that one leads to is told of them.
_NO_REFERRER = (b"referrer-policy", b"no-referrer")
_NO_STORE = (b"cache-control", b"no-store")
_LAST = (b"connection", b"close")
# What comes right behind the head of a request that is refused by its head alone.
MOST_LEFT_BYTES, REST_S = 65_536, 1.0
_SUBJECT = re.compile(r"(?:/api|/v1)?/(jobs|sessions|generations)/([0-9a-f]{32})(?![^/])")
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_FRAMED_TWICE = Refusal(
    Why.BAD_INPUT,
    "The request has both Content-Length and Transfer-Encoding. Send one of them.",
    headers={"Connection": "close"},
)


def _is_framed_twice(scope: Scope) -> bool:
    """Say whether a proxy before us may have seen another end of this request than we do."""
    return {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}


class _Body:
    """The body of a request, and how much of it is read."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._is_read = receive, False

    async def receive(self) -> Message:
        """Return the next part, as ASGI has it."""
        message = await self._receive()
        self._is_read = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def read_rest(self) -> bool:
        """Read a little that the application had no use for; say whether that was all of it."""
        left = MOST_LEFT_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(REST_S):
                while not self._is_read and left >= 0:
                    left -= len((await self.receive()).get("body", b""))
        return self._is_read


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def _name_subject(scope: Scope) -> None:
    """Have each line of the log name the job or the session that the address does."""
    found = _SUBJECT.match(scope["path"])
    if found:
        about(**{"session" if found[1] == "sessions" else "job": found[2]})


def _tell(traced: Any, scope: Scope) -> None:
    route = getattr(scope.get("route"), "path", "unknown")
    traced.update_name(f"{scope['method']} {route}")
    traced.set_attribute("boltwork.request_id", scope["state"]["request_id"])
    traced.set_attribute("http.request.method", scope["method"])
    traced.set_attribute("http.route", route)
    traced.set_attribute("http.response.status_code", scope["state"].get("status", 500))


def _with_ours(given: Iterable[Line], scope: Scope, request_id: str) -> list[Line]:
    """Return an answer's headers with those that all answers have."""
    headers = [*given, (b"x-request-id", request_id.encode()), _NO_SNIFF, _NO_REFERRER]
    if not any(name == b"cache-control" for name, _ in headers):
        headers.append(_NO_STORE)
    if origins.is_open(scope):
        headers += origins.ANSWER
    for name, value in scope["state"].get("rate_limit", {}).items():
        headers.append((name.encode(), str(value).encode()))
    return headers


@cache
def _meters(route: str, status: int) -> tuple[Counter, Histogram]:
    """Return what counts these answers: to find it by its labels costs more than to count."""
    return REQUESTS.labels(route, str(status)), SECONDS.labels(route)


def polls(request: Request) -> None:
    """Have a request be a poll, though it is no GET: one that goes well is nobody's news."""
    request.scope["state"]["is_poll"] = True


class Edge:
    """Wraps the whole application (pure ASGI: nothing is buffered)."""

    def __init__(self, app: ASGIApp, new_id: Callable[[], str]) -> None:
        self._app, self._new_id = app, new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        bind_contextvars(request_id=request_id)  # of this request's task: nothing to undo
        body = _Body(receive) if _has_body(scope) else None
        receive = receive if body is None else body.receive
        began = perf_counter()
        status, started = 500, False

        async def answer(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                scope["state"]["status"] = status
                headers = _with_ours(message["headers"], scope, request_id)
                # A connection ends after an answer before which a request was not read whole; who
                # is not told so sends the next one there, and loses it (RFC 9112, section 9.6).
                if body is not None and status >= 400 and not await body.read_rest():
                    headers.append(_LAST)
                message["headers"] = headers
            await send(message)

        try:
            await self._answer(scope, receive, answer)
            # A stream that has begun goes on from here, and who waits does so here: all that was
            # needed until then, some ten frames and what they hold, is let go of.
            stays = scope["state"].pop("stays", None)
            if stays is not None:
                await stays(receive, answer)
        except Exception as fault:
            if started:
                raise
            # Here, and not further out, so that this answer too has its id and its headers.
            broken = await on_error(Request(scope), fault)
            await broken(scope, receive, answer)
        finally:
            took_s = perf_counter() - began
            route = getattr(scope.get("route"), "path", "unknown")
            answers, seconds = _meters(route, status)
            answers.inc()
            seconds.observe(took_s)
            # Polls that go well are nearly all there is, and nobody's news.
            is_poll = scope["method"] == "GET" or "is_poll" in scope["state"]
            tell = log.debug if is_poll and status < 400 else log.info
            tell(
                "answered",
                method=scope["method"],
                route=route,
                status=status,
                ms=round(took_s * 1000, 1),
            )

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_framed_twice(scope):
            refused = await on_error(Request(scope), _FRAMED_TWICE)
            await refused(scope, receive, send)
            return
        if origins.is_open(scope) and origins.is_preflight(scope):
            await origins.allow(send)
            return
        with span("request") as traced:
            _name_subject(scope)
            try:
                await self._app(scope, receive, send)
            finally:
                if traced is not None:
                    _tell(traced, scope)

    def _request_id(self, scope: Scope) -> str:
        """Return the caller's own X-Request-Id where it is a plain one, else a new id."""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value.decode("latin-1")
                if _GIVEN_ID.fullmatch(given):
                    return str(given)
        return self._new_id()
