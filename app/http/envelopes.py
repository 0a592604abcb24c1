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
from app.http.dialect import dialect_of
from app.refusal import Refusal, Why, patience_s, unavailable
from app.strict_json import BadInput
from db.engine import DatabaseAway
from payments.seal import BadSecret

SEALED_S = 60
ROUTER = {
    404: (Why.NO_SUCH_ADDRESS, "There is nothing at this address. See /docs or /openapi.yaml."),
    405: (
        Why.NO_SUCH_METHOD,
        "This address does not support this method. The Allow header lists those it supports.",
    ),
}

log = structlog.get_logger("boltwork.errors")


def refusal_of(error: Exception) -> Refusal:
    """Return the answer to a request that failed, on whichever surface; log what is ours.

    Of a fault they are told nothing but that there was one.
    """
    match error:
        case Refusal():
            return error
        case BadInput():
            return Refusal(Why.BAD_INPUT, str(error))
        case HTTPException():  # the router's: an unknown path, a method that a path does not have
            other = Why.BAD_INPUT, "The request can't be served."
            return Refusal(*ROUTER.get(error.status_code, other), headers=error.headers)
        case DatabaseAway():  # nothing that was committed is lost
            log.error("database_away")
            sentence = "The database can't be reached just now."
            return unavailable(Why.DATABASE_AWAY, sentence, patience_s(error.lasted_s))
        case BadSecret():
            log.error("bad_secret", error=str(error))
            sentence = "A key that this needs can't be opened just now."
            return unavailable(Why.NOT_WELL, sentence, SEALED_S)
        case _:
            log.error("fault", error=type(error).__name__, where=_where(error))
            sentence = "Something broke on our side. The requestId helps us to find it."
            return Refusal(Why.FAULT, sentence)


def _where(error: Exception) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "unknown"


async def on_error(request: Request, error: Exception) -> Response:
    """Answer an error, in the words of the surface that was asked."""
    refusal = refusal_of(error)
    dialect = dialect_of(request.scope.get("path", ""))
    status, code = dialect.answers[refusal.why]
    facts: dict[str, Any] = {}
    if refusal.next_step:
        facts["next"] = refusal.next_step
    wait_s = refusal.headers.get("Retry-After")
    if dialect.retry_field is not None and wait_s is not None:
        facts[dialect.retry_field] = int(wait_s)
    request_id = request.scope.get("state", {}).get("request_id")
    if request_id:
        facts["requestId"] = request_id
    body = dialect.envelope(refusal.sentence, code, facts | refusal.facts)
    return json_response(body, status, refusal.headers)


HANDLERS: dict[Any, Any] = dict.fromkeys(
    (Refusal, BadInput, HTTPException, DatabaseAway, BadSecret, Exception), on_error
)
