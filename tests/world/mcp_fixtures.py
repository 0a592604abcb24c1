"""A stock client of MCP, by its own package, and a shop that it finds."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.world.house_fixtures import Instance
from tests.world.patience import PATIENCE_S

Node = dict[str, Any]


def key() -> str:
    """Return a purchaseKey, as a model is told to make one."""
    return secrets.token_hex(16)


@dataclass
class Agent:
    """A model with a client of MCP: it calls tools, and reads what they answer."""

    client: Client

    async def call(self, tool: str, **arguments: Any) -> tuple[Node, bool]:
        """Call a tool; return its data, and whether that is an error."""
        answer = await self.client.call_tool(tool, arguments)
        data = answer.structured_content
        assert isinstance(data, dict)
        return data, answer.is_error

    async def told(self, tool: str, **arguments: Any) -> Node:
        """Call a tool that must not refuse."""
        data, is_error = await self.call(tool, **arguments)
        assert not is_error, data
        return data

    async def refused(self, tool: str, **arguments: Any) -> Node:
        """Call a tool that must refuse."""
        data, is_error = await self.call(tool, **arguments)
        assert is_error and data["error"].endswith("."), data
        return data

    async def followed(self, bought: Node) -> Node:
        """Follow a purchase, as its answer says, to its end."""
        while not bought["done"]:
            follow = bought["follow"]
            bought = await self.told(follow["tool"], **follow["arguments"])
        return bought


@asynccontextmanager
async def connected(
    url: str, headers: Mapping[str, str] | None = None, **options: Any
) -> AsyncIterator[Agent]:
    """Connect a stock client to a server of which only the base URL is known, and what pays."""
    async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE_S) as http:
        transport = streamable_http_client(f"{url}/mcp", http_client=http)
        async with Client(transport, **options) as client:
            yield Agent(client)


async def paid(shop: Instance, offer: Node) -> None:
    """Pay the invoice that a purchase has answered, with the stub's wallet."""
    answer = await shop.post(f"/api/dev/stub/pay/{offer['paymentHash']}")
    assert answer.status_code == 200, answer.text
