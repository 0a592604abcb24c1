"""What is asked for at an address that agent jobs share with images and films: what is sent says
it, and later what the id is of.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from app.api.batches import batches
from app.api.batches import events as batch_events
from app.api.jobs import events as job_events
from app.api.jobs import jobs
from app.api.polling import window_of
from app.house import house_of
from app.http.body import parse, read_body
from app.http.claims import ClaimRefund
from app.http.fields import path_id
from app.http.job_status import unknown_job
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.strict_json import BadInput, parse_object
from app.trade.batches import PAGE

Endpoint = Callable[[Request], Awaitable[Response]]


async def create(request: Request) -> Response:
    """POST /api/jobs: an agent job, or images or films."""
    body = await read_body(request)
    try:
        is_batch = batches.is_batch(parse_object(body))
    except BadInput:
        is_batch = False  # and is refused below
    return await (batches.create if is_batch else jobs.create)(request, body)


async def _of_either(request: Request, job: Endpoint, batch: Endpoint) -> Response:
    """Answer for the job of this id, or else for the batch.

    An id is looked up as what it was found to be before: that it never changes spares one of two.
    """
    seen, given = house_of(request).remembered.batches, request.path_params["id"]
    if given not in seen:
        try:
            return await job(request)
        except Refusal as refused:
            if refused.why is not Why.UNKNOWN:
                raise
    answer = await batch(request)
    seen.see(given)
    return answer


async def show(request: Request) -> Response:
    """GET /api/jobs/{id}."""
    window_of(request, PAGE)  # an agent job has no pages: what is no page is refused all the same
    return await _of_either(request, jobs.show, batches.show)


async def cancel(request: Request) -> Response:
    """POST /api/jobs/{id}/cancel."""
    return await _of_either(request, jobs.cancel, batches.cancel)


async def refund(request: Request) -> Response:
    """POST /api/jobs/{id}/refund."""
    house = house_of(request)
    path_id(request, unknown_job)
    await house.throttle.count(request, Rule.DESTINATION)
    asked = parse(await read_body(request), ClaimRefund)
    job, batch = partial(jobs.refund, asked=asked), partial(batches.refund, asked=asked)
    return await _of_either(request, job, batch)


async def events(request: Request) -> Response:
    """GET /api/jobs/{id}/events."""
    return await _of_either(request, job_events.events, batch_events.events)
