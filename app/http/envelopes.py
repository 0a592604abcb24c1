"""What is answered when a request can't be served: a clear sentence, in the surface's envelope.

A refusal says what is wrong and what to do. Anything else that is raised is our fault, and the
caller learns only an id by which the operator finds it.
"""

from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.http.body import json_response
from app.refusal import Refusal, unavailable
from app.strict_json import BadInput
from db.engine import DatabaseAway
from payments.seal import BadSecret

log = structlog.get_logger("boltwork.errors")


def _envelope(request: Request, refusal: Refusal) -> Response:
    body: dict[str, Any] = {"error": refusal.sentence}
    if refusal.next_step:
        body["next"] = refusal.next_step
    request_id = request.scope.get("state", {}).get("request_id")
    if request_id:
        body["requestId"] = request_id
    return json_response(body | refusal.more, refusal.status, refusal.headers)


async def on_refusal(request: Request, error: Exception) -> Response:
    """Answer a refusal."""
    assert isinstance(error, Refusal)
    return _envelope(request, error)


async def on_bad_input(request: Request, error: Exception) -> Response:
    """Answer a body or a header that can't be read as what it should be."""
    assert isinstance(error, BadInput)
    return _envelope(request, Refusal(error.status, str(error)))


async def on_http(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: an unknown path, a method that a path does not have."""
    assert isinstance(error, HTTPException)
    sentences = {
        404: "There is nothing at this address. The contract is at /openapi.yaml.",
        405: "This address does not answer this method. The Allow header names those it does.",
    }
    sentence = sentences.get(error.status_code, "The request can't be served.")
    return _envelope(request, Refusal(error.status_code, sentence, headers=error.headers))


async def on_database_away(request: Request, error: Exception) -> Response:
    """Answer while Postgres can't be reached: nothing that was committed is lost."""
    log.error("database_away")
    return _envelope(request, unavailable("The database can't be reached just now.", 5))


async def on_bad_secret(request: Request, error: Exception) -> Response:
    """Answer where a key is needed that the operator's secret does not open."""
    log.error("bad_secret", error=str(error))
    return _envelope(request, unavailable("A key that this needs can't be opened just now.", 60))


async def on_fault(request: Request, error: Exception) -> Response:
    """Answer a fault of ours, without a word of what it was."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "unknown"
    log.error("fault", error=type(error).__name__, where=where)
    return _envelope(
        request, Refusal(500, "Something broke on our side. The requestId helps us to find it.")
    )


HANDLERS: dict[Any, Any] = {
    Refusal: on_refusal,
    BadInput: on_bad_input,
    HTTPException: on_http,
    DatabaseAway: on_database_away,
    BadSecret: on_bad_secret,
    Exception: on_fault,
}
