"""Who waits for an answer is answered at the edge; what he has asked with is not kept meanwhile."""

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from app.http.edge import Edge, polls
from app.http.later import IsGone, Later
from app.refusal import Refusal, Why
from app.serving.run import listening
from tests.world.patience import PATIENCE_S, patiently


class Needed:
    """What is needed to read a question."""


class Door:
    """A server of questions that wait for their answers."""

    def __init__(self) -> None:
        self.waits, self.go_on = asyncio.Event(), asyncio.Event()
        self.needed: weakref.ref[Needed] | None = None
        self.refuses = False
        self.url = ""

    async def ask(self, request: Request) -> Response:
        """POST /: reads the question."""
        polls(request)
        await request.body()
        needed = Needed()
        self.needed = weakref.ref(needed)
        return Later(self.find)

    async def find(self, is_gone: IsGone) -> Response:
        """Find the answer, when it is told to."""
        self.is_gone = is_gone
        self.waits.set()
        await self.go_on.wait()
        if self.refuses:
            raise Refusal(Why.TOO_MANY, "Not so often.", None, {"Retry-After": "7"})
        return JSONResponse({"answer": 42})


@asynccontextmanager
async def opened() -> AsyncIterator[Door]:
    """Serve it."""
    door, edge = Door(), Middleware(Edge, new_id=lambda: "0" * 32)
    app = Starlette(routes=[Route("/", door.ask, methods=["POST"])], middleware=[edge])
    async with listening(app, "127.0.0.1", 0) as url:
        door.url = url
        yield door


@pytest.mark.parametrize("refuses", [False, True])
async def test_who_waits_is_answered_as_anybody(refuses: bool) -> None:
    """With the headers of each answer; a refusal is one, in its envelope. What was read with the
    question is let go of while he waits.
    """
    async with opened() as door, httpx2.AsyncClient(timeout=PATIENCE_S) as http:
        door.refuses = refuses
        asking = asyncio.create_task(http.post(door.url, content=b"why?"))
        await asyncio.wait_for(door.waits.wait(), PATIENCE_S)
        assert door.needed is not None and door.needed() is None
        assert not await door.is_gone()
        with capture_logs() as lines:
            door.go_on.set()
            answer = await asking
            async for _ in patiently("nothing is logged", pause_s=0.01):
                told = [line for line in lines if line["event"] == "answered"]
                if told:
                    break
        assert answer.headers["x-request-id"] == "0" * 32
        assert answer.headers["x-content-type-options"] == "nosniff"
        [line] = told
        if refuses:
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
            assert "Not so often." in answer.text and line["log_level"] == "info"
        else:
            assert (answer.status_code, answer.json()) == (200, {"answer": 42})
            assert line["log_level"] == "debug"
        assert line["status"] == answer.status_code


async def test_who_has_hung_up_is_known_to_be_gone() -> None:
    """To whoever looks for an answer for him."""
    async with opened() as door, httpx2.AsyncClient(timeout=PATIENCE_S) as http:
        asking = asyncio.create_task(http.post(door.url, content=b"why?"))
        await asyncio.wait_for(door.waits.wait(), PATIENCE_S)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        async for look in patiently("nobody knows that he is gone", pause_s=0.01):
            look.saw = await door.is_gone()
            if look.saw:
                break
        door.go_on.set()
