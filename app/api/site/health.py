"""Whether this server lives, and whether money moves through every part of it."""

from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.body import json_response
from app.http.dialect import AGENT_JOBS
from app.refusal import Why

NOT_WELL = AGENT_JOBS.word(Why.NOT_WELL)
LEAVING = "This server was asked to stop, and ends soon."


async def healthz(request: Request) -> Response:
    """GET /api/healthz: the process answers."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """GET /api/readyz: each part with its state; 503 when a job could not be bought now, or not
    for long: when this server was asked to stop.
    """
    report = await house_of(request).health.report()
    if not report.ill and not report.is_leaving:
        return json_response(report.body)
    error = f"Some parts don't work just now: {', '.join(report.ill)}." if report.ill else LEAVING
    body = {"error": error, "code": NOT_WELL, **report.body}
    return json_response(body, 503, {"Retry-After": str(report.retry_after_s)})
