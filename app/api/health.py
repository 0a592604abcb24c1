"""Whether this server lives, and whether every part of it can be worked with."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.books import Review
from app.house import House
from app.parts import Parts
from app.shapes import moment
from app.wire import json_response
from db.engine import DatabaseAway


async def healthz(request: Request) -> Response:
    """GET /api/healthz: the process answers."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """GET /api/readyz: each part with its state; 503 when a job could not be bought now."""
    house: House = request.app.state.house
    parts = house.parts
    names = ("database", "rail", "price", "agents")
    *states, chat = await asyncio.gather(
        _database(parts), _rail(parts), _price(parts), _agents(parts), _chat(parts)
    )
    checks = dict(zip(names, states, strict=True))
    ready = all(check["status"] == "ok" for check in states)
    status = "ok" if ready else "unavailable"
    # Jobs can be bought without anybody who converses, so that part makes nothing unready.
    body = {"status": status, **checks, "chat": chat, "books": _books(house.loops.books.latest)}
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


async def _chat(parts: Parts) -> dict[str, Any]:
    trouble = await parts.chat.healthy()
    return _bad(trouble.reason) if trouble else _ok(name=parts.chat.name)


def _books(review: Review | None) -> dict[str, Any]:
    """Return what the last review of the books found.

    A finding does not make this server unready: it is for a person to look at, and buyers who are
    sent away meanwhile could neither follow their jobs nor take their refunds.
    """
    if review is None:
        return {"status": "unknown"}
    count = len(review.findings)
    said = {"status": "wrong" if count else "ok", "findings": count}
    return said | {"reviewedAt": moment(review.at)}
