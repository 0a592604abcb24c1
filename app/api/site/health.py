"""Whether this server lives, and whether money moves through every part of it.

Nobody outside is asked because somebody looks: it is told what the loops saw last.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.body import json_response
from app.http.dialect import AGENT_JOBS
from app.loops.readiness import Readiness
from app.operator.books import Review
from app.refusal import Why
from app.strict_json import moment

NOT_WELL = AGENT_JOBS.word(Why.NOT_WELL)


async def healthz(request: Request) -> Response:
    """GET /api/healthz: the process answers."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """GET /api/readyz: each part with its state; 503 when a job could not be bought now."""
    house = house_of(request)
    readiness = house.readiness
    await readiness.first_look()
    checks = _checks(house, readiness)
    ready = all(check["status"] == "ok" for check in checks.values())
    status = "ok" if ready else "unavailable"
    # Jobs can be bought without anybody who converses, so that part makes nothing unready.
    chat = _said(readiness.trouble("chat"), name=house.chat.name)
    stands = {name.value: on for name, on in house.switchboard.seen.items()}
    body = {
        "status": status,
        **checks,
        "chat": chat,
        "switches": stands,
        "books": _books(house.books.latest),
    }
    if ready:
        return json_response(body)
    ill = ", ".join(name for name, check in checks.items() if check["status"] != "ok")
    body = {"error": f"Some parts don't work just now: {ill}.", "code": NOT_WELL, **body}
    return json_response(body, 503, {"Retry-After": str(readiness.retry_after_s(*checks))})


def _checks(house: House, readiness: Readiness) -> dict[str, dict[str, Any]]:
    pulse = readiness.pulse
    waiting = {} if pulse is None else {"oldestWaitsS": round(pulse.waited_s, 1)}
    turns = {name: round(beat.age_s, 1) for name, beat in sorted(readiness.beats.items())}
    return {
        "database": _said(readiness.trouble("database")),
        "rail": _said(readiness.trouble("rail"), name=house.rail.name),
        "price": _said(readiness.trouble("price")),
        "agents": _said(readiness.trouble("agents"), name=house.agent.name),
        "promises": _said(readiness.keeper_trouble()) | waiting,
        "listener": _said(readiness.listener_trouble()),
        "loops": _said(readiness.stopped_loops()) | {"turnedS": turns},
    }


def _said(trouble: str | None, **more: Any) -> dict[str, Any]:
    if trouble is not None:
        return {"status": "unavailable", "reason": trouble}
    return {"status": "ok", **more}


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
