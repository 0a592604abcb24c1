"""What a stranger asks at POST /api/ask, and what is offered there."""

import re

import httpx2

from tests.world.house_fixtures import Instance

OFFER = re.compile(r'L402 macaroon="([^"]+)", invoice="([^"]+)", version="0", token="([^"]+)"')


async def ask(instance: Instance, request: str, **headers: str) -> httpx2.Response:
    """GET /api/ask."""
    return await instance.http.get("/api/ask", params={"request": request}, headers=headers)
