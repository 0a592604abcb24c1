"""Agent jobs: ask, look, wait, and take back what was overpaid (the agent jobs API)."""

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.advance import Applied
from app.api.notifying import Notify, shown, webhook_of
from app.house import House, house_of
from app.http.body import json_response, parse
from app.http.claims import ClaimRefund, answer_claim
from app.http.fields import Body, RequestText, name_of, path_id, seen_tag, wait_of
from app.http.job_status import unknown_job
from app.http.links import base_url
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.strict_json import dumped, moment
from app.trade.orders import Order
from app.watch.remembered import Answer
from db import job_events, jobs
from db.jobs import JobView
from pricing.money import sats_to_msat
from statemachine import job as law
from statemachine.job import JobState
from statemachine.notice import Topic
from statemachine.owner import OwnerKind
from statemachine.payout import PayoutState

RETRY_AFTER_S = {
    JobState.AWAITING_EVAL_PAYMENT: 2,
    JobState.EVALUATING: 1,
    JobState.AWAITING_WORK_PAYMENT: 2,
    JobState.EXECUTING: 1,
    # Nothing more comes of these.
    JobState.REJECTED: None,
    JobState.COMPLETE: None,
    JobState.FAILED: None,
}


class CreateJob(Body):
    """POST /api/jobs."""

    request: RequestText
    max_sats: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(None, alias="maxSats")
    refund_to: Annotated[str, Field(min_length=1)] | None = Field(None, alias="refundTo")
    notify: Notify | None = None


async def create(request: Request, body: bytes) -> Response:
    """POST /api/jobs: 201 with the evaluation invoice."""
    house = house_of(request)
    async with house.throttle.turn(request, Rule.CREATE):
        await house.throttle.weigh(request, len(body))
        asked = parse(body, CreateJob)
        name = name_of(request, f"peer:{house.throttle.address(request)}", body, is_known=False)
        max_msat = sats_to_msat(asked.max_sats) if asked.max_sats else None
        refund_to = house.refunds.destination_of(asked.refund_to).text if asked.refund_to else None
        webhook = webhook_of(request, house, asked.notify, Topic.JOB)
        payer = house.throttle.payer(request)
        order = Order(asked.request, max_msat, refund_to, payer, webhook)
        row = await house.orders.place(order, name)
    made = {
        "jobId": row.owner_id,
        "createdAt": moment(row.created_at),
        "evalInvoice": house.shapes.invoice(row),
        **await shown(house, asked.notify, OwnerKind.JOB, row.owner_id),
    }
    return json_response(made, 201, {"Location": f"/api/jobs/{row.owner_id}"})


async def show(request: Request) -> Response:
    """GET /api/jobs/{id}: where it stands. Also brings it forward when its invoice was paid."""
    house = house_of(request)
    job_id = path_id(request, unknown_job)
    wait_s = wait_of(request)
    asked = seen_tag(request)
    kept = await _unchanged(house, job_id, bool(wait_s))
    if kept is not None:
        return _answer(kept, asked)
    row = await _view(house, job_id)
    current = asked is None or _names(asked, row.version)
    if wait_s and not row.is_final and current:
        if asked is None:
            row = await house.waiting.for_turn(row, wait_s)
        else:  # who knows a version wants to see the next one
            row = await house.waiting.for_change(job_id, row.version, wait_s) or row
    else:
        row = await house.waiting.nudged(row)
    base = _base(request, row)
    body = dumped(house.shapes.status(row, base))
    answer = Answer(row.version, body, RETRY_AFTER_S[row.state])
    if base is None:  # a link to fetch money by is its caller's own
        house.remembered.keep(job_id, answer)
    return _answer(answer, asked)


async def _unchanged(house: House, job_id: str, waits: bool) -> Answer | None:
    """Return what was answered before, if the job is as it was, and nothing else is to be done."""
    kept = house.remembered.find(job_id)
    if kept is None:
        return None
    goes_on = kept.retry_after_s is not None
    if goes_on and (waits or not house.waiting.is_pushed):
        return None  # hold the poll, or bring the job forward by asking the rail
    same = kept.version == await jobs.version(house.db, job_id)
    return kept if same else None


def _answer(answer: Answer, asked: str | None) -> Response:
    headers = {"ETag": _etag(answer.version)}
    if answer.retry_after_s is not None:
        headers["Retry-After"] = str(answer.retry_after_s)
    if asked is not None and _names(asked, answer.version):
        return Response(status_code=304, headers=headers)
    return Response(answer.body, 200, headers, "application/json")


async def cancel(request: Request) -> Response:
    """POST /api/jobs/{id}/cancel: the buyer wants it no more, and has not paid for the work."""
    house = house_of(request)
    job_id = path_id(request, unknown_job)
    await _view(house, job_id)
    told = await house.orders.cancel(job_id)
    row = await _view(house, job_id)
    again = await job_events.happened(house.db, job_id, law.JobEvent.CANCELLED.value)
    if not isinstance(told, Applied) and not again:
        ended = row.is_final
        raise Refusal(
            Why.NOT_CANCELLABLE,
            "This job has ended, so it can't be cancelled."
            if ended
            else "This job is paid for and under way, so it can't be cancelled any more.",
        )
    return json_response(
        house.shapes.status(row, _base(request, row)), 200, {"ETag": _etag(row.version)}
    )


async def refund(request: Request, asked: ClaimRefund) -> Response:
    """POST /api/jobs/{id}/refund: pay what is owed back to an invoice, or to a destination."""
    house = house_of(request)
    job_id = path_id(request, unknown_job)
    await _view(house, job_id)
    return await answer_claim(house.refunds, job_id, asked)


async def _view(house: House, job_id: str) -> JobView:
    row = await jobs.view(house.db, job_id)
    if row is None:
        raise unknown_job()
    return row


def _base(request: Request, row: JobView) -> str | None:
    """Return where wallets reach this server, when there is something to fetch."""
    owed = any(payout.state is PayoutState.OWED for payout in row.payouts)
    return base_url(request, house_of(request).settings.public_url) if owed else None


def _etag(version: int) -> str:
    return f'"{version}"'


def _names(asked: str, version: int) -> bool:
    """Say whether an If-None-Match holds this version. Proxies that compress make tags weak."""
    return _etag(version) in [tag.strip().removeprefix("W/") for tag in asked.split(",")]
