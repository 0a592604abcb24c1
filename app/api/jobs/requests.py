"""Requests on a session: one ask, paid from the balance (the agent jobs API).

It waits for the result, unless its sender prefers not to; what takes longer is fetched later.
"""

from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.fields import DEFAULT_HOLD_S, Body, RequestText, name_of, path_id, wait_of
from app.http.job_status import ended_as, firm_cost
from app.refusal import Refusal, Why
from app.strict_json import dumped
from app.trade import sessions as prepaid
from app.trade.sessions import caller_of, unknown_session
from app.watch.remembered import Answer
from db.jobs import JobView
from pricing.money import sats_down, sats_to_msat
from statemachine.job import JOB

TOOL = "agent"  # what a request uses, for macaroons that are narrowed to some tools


class SessionRequest(Body):
    """POST /api/sessions/{id}/request."""

    request: RequestText
    max_sats: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(None, alias="maxSats")


async def submit(request: Request) -> Response:
    """POST /api/sessions/{id}/request: 200 with the result, or 202 when it takes longer."""
    house = house_of(request)
    session_id = path_id(request, unknown_session)
    shown = await house.callers.holder(request, session_id, "request", house.sessions.standing)
    if not shown.grant.allows_tool(TOOL):
        raise Refusal(Why.NOT_ALLOWED, f"This macaroon does not allow the tool {TOOL!r}.")
    heard = _prefers_async(request)
    asked_s = wait_of(request, DEFAULT_HOLD_S)
    body = await read_body(request)
    asked = parse(body, SessionRequest)
    max_msat = sats_to_msat(asked.max_sats) if asked.max_sats else None
    request_id = await house.sessions.submit(
        shown,
        prepaid.Request(asked.request, max_msat),
        name_of(request, caller_of(shown), body),
    )
    answer = await _answer(house, session_id, request_id, 0 if heard else asked_s)
    if heard and answer.status_code == 202:
        answer.headers["Preference-Applied"] = "respond-async"
    return answer


async def show(request: Request) -> Response:
    """GET /api/sessions/{id}/requests/{requestId}: where a request stands."""
    house = house_of(request)
    session_id = path_id(request, unknown_session)
    request_id = _asked_for(request)
    look = house.sessions.look(request_id)
    shown = await house.callers.holder(request, session_id, "request", look)
    # The whole credential reads all, also what was asked with another that it has taken the place
    # of; any other one what was asked with it, or with one that was made from it.
    is_whole = len(shown.grant.links) == 1
    asked = look.row
    if asked is None or asked.version is None or not (is_whole or asked.is_its_asker):
        raise _unknown_request()
    wait_s = wait_of(request)
    kept = house.remembered.find(_ended_name(request_id))
    if kept is not None and kept.version == asked.version:
        return Response(kept.body, 200, None, "application/json")
    return await _answer(house, session_id, request_id, wait_s)


def _asked_for(request: Request) -> str:
    """Return the id in the path: what none can be is no id, and Postgres is not asked with it."""
    try:
        return path_id(request, _unknown_request, "request_id")
    except Refusal:
        return ""  # told after the credential was looked at


def _ended_name(request_id: str) -> str:
    """Return by which name an ended request's answer is kept, beside those about jobs."""
    return f"request {request_id}"


def _unknown_request() -> Refusal:
    return Refusal(Why.UNKNOWN, "There is no request with this id on this session.")


def _prefers_async(request: Request) -> bool:
    """Say whether its sender wants no waiting (RFC 7240, section 4.1)."""
    wishes = ",".join(request.headers.getlist("prefer")).lower().split(",")
    return any(wish.partition(";")[0].strip() == "respond-async" for wish in wishes)


async def _answer(house: House, session_id: str, request_id: str, wait_s: int) -> Response:
    row = await house.waiting.for_end(request_id, wait_s)
    assert row is not None, "a request outlives its answer"
    if JOB.final(row.state):
        body = dumped(_ended(row))
        house.remembered.keep(_ended_name(request_id), Answer(row.version, body))
        return Response(body, 200, None, "application/json")
    where = f"/api/sessions/{session_id}/requests/{request_id}"
    shape = {
        "requestId": request_id,
        "state": row.state,
        "reservedSats": sats_down(_prepaid_msat(row)),
        "next": f"GET {where}?wait=30 answers when it is done.",
    }
    return json_response(shape, 202, {"Location": where, "Retry-After": "1"})


def _prepaid_msat(row: JobView) -> int:
    return row.firm_msat


def _ended(row: JobView) -> dict[str, Any]:
    """Return a request that has ended, in the API's words. It never changes."""
    cost = firm_cost(row)
    shape: dict[str, Any] = {
        "requestId": row.id,
        "state": row.state,
        "debitedSats": cost["totalSats"],
        "balanceRemaining": sats_down(row.balance_msat or 0),
        "cost": cost,
    }
    shape |= ended_as(row)
    return shape
