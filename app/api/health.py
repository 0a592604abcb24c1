"""Whether this server lives, and whether every part of it can be worked with."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.parts import Parts
from app.wire import json_response
from db.engine import DatabaseAway


async def healthz(request: Request) -> Response:
    """GET /api/healthz: the process answers."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """GET /api/readyz: each part with its state; 503 when a job could not be bought now."""
    parts: Parts = request.app.state.house.parts
    names = ("database", "rail", "price", "agents")
    states = await asyncio.gather(_database(parts), _rail(parts), _price(parts), _agents(parts))
    checks = dict(zip(names, states, strict=True))
    ready = all(check["status"] == "ok" for check in states)
    body = {"status": "ok" if ready else "unavailable", **checks}
    return json_response(body, 200 if ready else 503, {} if ready else {"Retry-After": "5"})


def _ok(**more: Any) -> dict[str, Any]:
    return {"status": "ok", **more}


def _bad(reason: str) -> dict[str, Any]:
    return {"status": "unavailable", "reason": reason}


async def _database(parts: Parts) -> dict[str, Any]:
    try:
        await parts.db.read_one("SELECT 1 AS one")
    except DatabaseAway as away:
        return _bad(str(away))
    return _ok()


async def _rail(parts: Parts) -> dict[str, Any]:
    trouble = await parts.rail.healthy()
    return _bad(trouble.reason) if trouble else _ok(name=parts.rail.name)


async def _price(parts: Parts) -> dict[str, Any]:
    trouble = await parts.oracle.healthy()
    return _bad(trouble.reason) if trouble else _ok()


async def _agents(parts: Parts) -> dict[str, Any]:
    trouble = await parts.agent.healthy()
    return _bad(trouble.reason) if trouble else _ok(name=parts.agent.name)
