"""An answer of server-sent events, as they come to be (SSE): nothing is buffered.

Whoever makes the events is told at once when their reader goes away. What goes wrong before the
first event is answered like anywhere, with its status; later it is an event with `error`.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.http.envelopes import on_error
from app.strict_json import BadInput, dumped

MOST_DIGITS = 18  # of an event's id
BEAT_S = 15.0  # silence after which a comment is sent: proxies close what is idle
_BEAT = b": still here\n\n"

Events = AsyncGenerator[dict[str, Any], None]
log = structlog.get_logger("boltwork.http")


def last_event_id(request: Request) -> int:
    """Return the last event that its reader has seen: 0 for none, which replays all of them.

    Raises BadInput for what is none.
    """
    queried = request.query_params.getlist("lastEventId")
    given = [each for each in (request.headers.get("last-event-id"), *queried) if each]
    if len(queried) > 1 or not all(_is_number(each) for each in given):
        raise BadInput("The last event id must be the id of an event of this job.")
    return int(given[0]) if given else 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS


class EventStream(Response):
    """Sends what a generator yields, each as one event of JSON, and always closes it."""

    media_type = "text/event-stream"

    def __init__(self, events: Events, *, beat_s: float = BEAT_S) -> None:
        # A proxy that collects the whole answer first would hold back what is said.
        super().__init__(b"", 200, {"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._beat_s = events, beat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        left = asyncio.create_task(_left(receive))
        begun = False
        try:
            while True:
                event = await self._next(left, send, begun)
                if not begun:
                    await self._begin(send)
                    begun = True
                await _write(send, b"data: %b\n\n" % dumped(event))
        except StopAsyncIteration:
            if not begun:
                await self._begin(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except _Left:
            pass
        except Exception as error:
            answer = await on_error(Request(scope), error)
            if not begun:
                await answer(scope, receive, send)
                return
            body = orjson.loads(answer.body)
            said = {name: body[name] for name in ("error", "code")}
            with suppress(_Left):
                await _write(send, b"data: %b\n\n" % dumped(said))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            left.cancel()
            await self._close()

    async def _begin(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

    async def _next(self, left: asyncio.Task[None], send: Send, begun: bool) -> dict[str, Any]:
        """Return the next event; raise what its maker raises, and _Left when nobody reads."""
        coming = asyncio.ensure_future(anext(self._events))
        try:
            while True:
                await asyncio.wait(
                    {coming, left}, timeout=self._beat_s, return_when=asyncio.FIRST_COMPLETED
                )
                if coming.done():
                    return coming.result()
                if left.done():
                    raise _Left
                if begun:
                    await _write(send, _BEAT)
        finally:
            if not coming.done():
                coming.cancel()
                with suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
                    await coming

    async def _close(self) -> None:
        try:
            await self._events.aclose()
        except Exception as error:
            # Nobody is left to be told. It is named, not traced: it may quote what was said.
            log.error("event_stream_ended_badly", error=type(error).__name__)


class _Left(Exception):
    """Nobody reads any more."""


async def _left(receive: Receive) -> None:
    """Return when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _write(send: Send, body: bytes) -> None:
    try:
        await send({"type": "http.response.body", "body": body, "more_body": True})
    except OSError as gone:  # what servers of a later ASGI say
        raise _Left from gone
