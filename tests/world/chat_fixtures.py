"""A Boltwork before the stand-in of Gemini, and how a test talks to it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from app.buyer.event_reader import lines_of
from payments.macaroon import narrow
from tests.world.contract import CONTRACT
from tests.world.gemini_server import CLIENT_KEY, GeminiServer
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import PATIENCE_S, patiently
from tests.world.session_fixtures import where

HOME = "/api/gemini/conversations"


@dataclass
class Talker:
    """Somebody who talks: with a cookie jar, and the macaroon of a session or none."""

    http: httpx2.AsyncClient

    async def begin(self, title: str = "Rain", **headers: str) -> int:
        """Begin a conversation and return its id."""
        answer = await self.http.post(HOME, json={"title": title}, headers=headers)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    async def said(self, conversation_id: int) -> list[tuple[str, str]]:
        """Return what was said, as (role, content)."""
        answer = await self.http.get(f"{HOME}/{conversation_id}/messages")
        assert answer.status_code == 200, answer.text
        return [(each["role"], each["content"]) for each in answer.json()]

    @asynccontextmanager
    async def saying(
        self, conversation_id: int, content: str, headers: dict[str, str] | None = None, **more: Any
    ) -> AsyncIterator[tuple[httpx2.Response, AsyncIterator[dict[str, Any]]]]:
        """Send a message, and read the answer for as long as the block lasts."""
        path, body = f"{HOME}/{conversation_id}/messages", {"content": content, **more}
        async with self.http.stream("POST", path, json=body, headers=headers) as answer:
            yield answer, events(answer)

    async def say(
        self, conversation_id: int, content: str, headers: dict[str, str] | None = None, **more: Any
    ) -> list[dict[str, Any]]:
        """Send a message and return every event of the answer."""
        async with self.saying(conversation_id, content, headers, **more) as (answer, coming):
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            return [event async for event in coming]

    async def refused(self, conversation_id: int, content: str, **more: Any) -> httpx2.Response:
        """Send a message that is not answered by a stream."""
        path, body = f"{HOME}/{conversation_id}/messages", {"content": content, **more}
        answer = await self.http.post(path, json=body)
        assert answer.status_code >= 400, answer.text
        return answer


async def events(answer: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """Yield what a stream of events holds, as it comes."""
    async for line in lines_of(answer.aiter_bytes()):
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


@asynccontextmanager
async def talker(instance: Instance, **headers: str) -> AsyncIterator[Talker]:
    """Somebody new. Every answer is held to the contract."""
    hooks: Any = {"response": [CONTRACT.on_response]}
    async with httpx2.AsyncClient(
        base_url=instance.url, headers=headers, timeout=PATIENCE_S, event_hooks=hooks
    ) as http:
        yield Talker(http)


@dataclass
class Payer(Talker):
    """Somebody who talks with the macaroon of a session, which is at `session` over `plain`."""

    plain: httpx2.AsyncClient
    session: str

    async def balance_sats(self) -> int:
        """Return what the session has left, when nothing is set aside."""
        async for _ in patiently("something is still set aside", pause_s=0.02):
            status = (await self.plain.get(self.session)).json()
            if not status["reservedSats"]:
                break
        return int(status["balanceSats"])


@asynccontextmanager
async def paying(instance: Instance, sats: int = 2_000, *caveats: str) -> AsyncIterator[Payer]:
    """Somebody with a session of so many sats, and its macaroon, narrowed by these caveats."""
    async with talker(instance) as opener:
        plain = opener.http
        made = (await plain.post("/api/sessions", json={"amount_sats": sats})).json()
        await instance.pay(made["invoice"])
        path = f"/api/sessions/{made['sessionId']}"
        macaroon = (await plain.get(f"{where(made)}&wait=55")).json()["macaroon"]
        plain.headers["authorization"] = f"Bearer {macaroon}"
        if caveats:
            narrowed = narrow(macaroon, caveats)
            assert isinstance(narrowed, str)
            macaroon = narrowed
        async with talker(instance, authorization=f"Bearer {macaroon}") as holder:
            yield Payer(holder.http, plain, path)


@asynccontextmanager
async def chatty_instance(
    database_url: str, folder: Path, server: GeminiServer, **settings: Any
) -> AsyncIterator[Instance]:
    """An instance that speaks with the stand-in."""
    there = {"GEMINI_BASE_URL": server.url, "GEMINI_API_KEY": CLIENT_KEY}
    usual = {**there, "DEMO_PER_HOUR": "1000"}
    async with instance_of(database_url, folder, **(usual | settings)) as running:
        yield running


@pytest.fixture
def chatty(request: pytest.FixtureRequest, gemini_server: GeminiServer) -> Instance:
    """The instance of most tests, where visitors may ask as often as they like: the test's own, or
    that of all tests of a file which says `pytestmark = pytest.mark.one_instance`.
    """
    is_shared = request.node.get_closest_marker("one_instance") is not None
    running = request.getfixturevalue(f"chatty_of_{'file' if is_shared else 'test'}")
    assert isinstance(running, Instance)
    return running


@pytest_asyncio.fixture(loop_scope="session")
async def chatty_of_test(
    database_url: str, tmp_path: Path, gemini_server_running: GeminiServer
) -> AsyncIterator[Instance]:
    """See `chatty`."""
    async with chatty_instance(database_url, tmp_path, gemini_server_running) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chatty_of_file(
    database_url_of_file: str,
    tmp_path_factory: pytest.TempPathFactory,
    gemini_server_running: GeminiServer,
) -> AsyncIterator[Instance]:
    """See `chatty`. What one test does there, the next finds done."""
    folder = tmp_path_factory.mktemp("chatty")
    async with chatty_instance(database_url_of_file, folder, gemini_server_running) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(chatty: Instance) -> AsyncIterator[Talker]:
    """Somebody without a session."""
    async with talker(chatty) as somebody:
        yield somebody
