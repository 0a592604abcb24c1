"""The outermost layer: each request gets an id, an answer that browsers don't guess about, and a
line in the log that names the route and never what was asked.
"""

import re
from collections.abc import Callable
from time import perf_counter

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger("boltwork.http")

REQUESTS = Counter(
    "boltwork_http_requests_total", "Answers by route and status", ["route", "status"]
)
SECONDS = Histogram("boltwork_http_request_seconds", "Time to the answer by route", ["route"])

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


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
        began = perf_counter()
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            took_s = perf_counter() - began
            route = getattr(scope.get("route"), "path", "unknown")
            REQUESTS.labels(route, str(status)).inc()
            SECONDS.labels(route).observe(took_s)
            log.info(
                "answered",
                request_id=request_id,
                method=scope["method"],
                route=route,
                status=status,
                ms=round(took_s * 1000, 1),
            )

    def _request_id(self, scope: Scope) -> str:
        """Return the caller's own X-Request-Id where it is a plain one, else a new id."""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value.decode("latin-1")
                if _GIVEN_ID.fullmatch(given):
                    return str(given)
        return self._new_id()
