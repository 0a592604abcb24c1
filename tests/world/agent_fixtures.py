"""Fixtures of the agents: the stand-in for a model's API, and adapters that speak to it.

The server is started once; every test that asks for it finds it without scripts or calls.
"""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest_asyncio

from app.agents.anthropic import AnthropicAgent
from app.agents.local import LocalAgent
from tests.world.messages_server import CLIENT_KEY, MessagesServer

EVAL_MODEL = "claude-haiku-5-5"
WORK_MODEL = "claude-sonnet-5-5"


def make_anthropic(server: MessagesServer, **changed: Any) -> AnthropicAgent:
    """An adapter for the stand-in, asked without retries so that a test sees each answer."""
    usual: dict[str, Any] = {
        "client_key": CLIENT_KEY,
        "base_url": server.url,
        "eval_model": EVAL_MODEL,
        "work_model": WORK_MODEL,
        "max_output_tokens": 256,
        "judge_deadline_s": 5,
        "work_deadline_s": 5,
        "max_retries": 0,
    }
    return AnthropicAgent(**(usual | changed))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def messages_server_running() -> AsyncIterator[MessagesServer]:
    """The one server of the session."""
    server = MessagesServer()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def messages_server(
    messages_server_running: MessagesServer,
) -> AsyncIterator[MessagesServer]:
    """The server, without the scripts and calls of other tests."""
    messages_server_running.reset()
    yield messages_server_running
    messages_server_running.reset()


@pytest_asyncio.fixture(loop_scope="session")
async def anthropic_agent(messages_server: MessagesServer) -> AsyncIterator[AnthropicAgent]:
    """The adapter before the stand-in."""
    agent = make_anthropic(messages_server)
    yield agent
    await agent.close()


class Embedded(NamedTuple):
    """The embedded agent, and where its server listens."""

    agent: LocalAgent
    url: str
    client_key: str


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedded() -> AsyncIterator[Embedded]:
    """The embedded model, loaded once; its server may be asked by other adapters too."""
    address: list[str] = []

    def connect(client_key: str, base_url: str, *models: str, **limits: Any) -> AnthropicAgent:
        address[:] = base_url, client_key
        return AnthropicAgent(client_key, base_url, *models, **limits)

    agent = LocalAgent(connect, max_output_tokens=24)
    assert await agent.start() is None
    yield Embedded(agent, *address)
    await agent.close()


@pytest_asyncio.fixture(loop_scope="session")
async def local_agent(embedded: Embedded) -> LocalAgent:
    """The embedded agent."""
    return embedded.agent
