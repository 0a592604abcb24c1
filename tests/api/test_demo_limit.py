"""Five demos an hour are five, whatever is in between: processes, restarts, forged headers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.world.contract import CONTRACT
from tests.world.messages_server import CLIENT_KEY, MessagesServer
from tests.world.patience import PATIENCE_S
from tests.world.server_process import ServerProcess

PER_HOUR = 5
Pair = tuple[ServerProcess, ServerProcess]


@pytest.fixture
async def pair(
    server: ServerProcess, database_url: str, messages_server: MessagesServer
) -> AsyncIterator[Pair]:
    """Two server processes on one database, and the stand-in for a model's API behind them."""
    server.environment |= {
        "DATABASE_URL": database_url,
        "ANTHROPIC_API_KEY": CLIENT_KEY,
        "ANTHROPIC_BASE_URL": messages_server.url,
        "EVAL_MODEL": "claude-haiku-4-5",
        "WORK_MODEL": "claude-haiku-4-5",
    }
    beside = ServerProcess(server.folder, **server.environment)
    try:
        await asyncio.gather(*(asyncio.to_thread(one.start) for one in (server, beside)))
        yield server, beside
    finally:
        await asyncio.gather(*(asyncio.to_thread(one.stop) for one in (server, beside)))


async def asked(url: str, **headers: str) -> httpx2.Response:
    """Ask one server for a demo."""
    hooks = {"response": [CONTRACT.on_response]}
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S, event_hooks=hooks) as http:
        return await http.get("/api/demo", params={"request": "hello"}, headers=headers)


async def test_the_limit_holds_whatever_is_tried(pair: Pair) -> None:
    """Of forty at once at two servers, each with another forged address, five are answered; and
    none after both have been started again, one killed and one stopped.
    """
    answers = await asyncio.gather(
        *(
            asked(pair[n % 2].url, **{"X-Forwarded-For": f"203.0.113.{n}", "Forwarded": f"for={n}"})
            for n in range(40)
        )
    )
    assert Counter(answer.status_code for answer in answers) == {200: PER_HOUR, 429: 35}
    assert all(one.json()["state"] == "complete" for one in answers if one.status_code == 200)
    [reset] = {one.headers["x-ratelimit-reset"] for one in answers}
    await asyncio.to_thread(pair[0].kill)
    assert await asyncio.to_thread(pair[1].stop) == 0
    for server in pair:
        url = await asyncio.to_thread(server.start)
        over = await asked(url, **{"x-forwarded-for": "2001:db8::1, 198.51.100.1"})
        assert over.status_code == 429
        assert over.headers["x-ratelimit-reset"] == reset
        assert over.headers["x-ratelimit-remaining"] == "0"
