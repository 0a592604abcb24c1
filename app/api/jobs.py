"""Agent jobs: ask, look, wait, and take back what was overpaid (the 004 surface)."""

import hashlib
import re
from datetime import datetime
from typing import Annotated, Any, Self

import orjson
from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from app.advance import Applied
from app.errors import Refusal
from app.house import House
from app.links import base_url, withdraw_code
from app.orders import Name, Order, place
from app.refunds import Claimed, Directed, claim_refund, destination_of, name_destination
from app.remembered import Answer
from app.shapes import Body, RequestText, moment, stored_breakdown
from app.wire import BadInput, json_response, parse, read_body
from db import jobs
from db.engine import Row
from pricing.money import msat_to_sats, sats_to_msat, usd_number
from statemachine import job as law
from statemachine.invoice import InvoiceState
from statemachine.job import JOB, JobState
from statemachine.payout import PayoutFacts, PayoutState

LONGEST_WAIT_S = 60
_JOB_ID = re.compile("[0-9a-f]{32}")
RETRY_AFTER_S = {
    JobState.AWAITING_EVAL_PAYMENT: 2,
    JobState.EVALUATING: 1,
    JobState.AWAITING_WORK_PAYMENT: 2,
    JobState.EXECUTING: 1,
}


class CreateJob(Body):
    """POST /api/jobs."""

    request: RequestText
    max_sats: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(None, alias="maxSats")
    refund_to: Annotated[str, Field(min_length=1)] | None = Field(None, alias="refundTo")


class ClaimRefund(Body):
    """POST /api/jobs/{id}/refund: an invoice, or a destination."""

    invoice: Annotated[str, Field(min_length=1)] = ""
    refund_to: Annotated[str, Field(min_length=1)] = Field("", alias="refundTo")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.invoice and self.refund_to:
            raise ValueError("The fields 'invoice' and 'refundTo' exclude each other. Give one.")
        if not self.invoice and not self.refund_to:
            raise ValueError("The field 'invoice' is missing. Add it, or 'refundTo'.")
        return self


async def create(request: Request) -> Response:
    """POST /api/jobs: 201 with the evaluation invoice."""
    house: House = request.app.state.house
    body = await read_body(request)
    asked = parse(body, CreateJob)
    key = _idempotency_key(request)
    name = None
    if key is not None:
        caller = f"peer:{request.client.host if request.client else ''}"
        name = Name(caller, key, hashlib.sha256(body).hexdigest())
    max_msat = sats_to_msat(asked.max_sats) if asked.max_sats else None
    refund_to = destination_of(house, asked.refund_to).text if asked.refund_to else None
    row = await place(house, Order(asked.request, max_msat, refund_to), name)
    made = {
        "jobId": row["job_id"],
        "createdAt": moment(row["created_at"]),
        "evalInvoice": _invoice(house, row, ""),
    }
    return json_response(made, 201, {"Location": f"/api/jobs/{row['job_id']}"})


async def show(request: Request) -> Response:
    """GET /api/jobs/{id}: where it stands. Also brings it forward when its invoice was paid."""
    house: House = request.app.state.house
    job_id = job_id_of(request)
    wait_s = _wait(request)
    asked = request.headers.get("if-none-match")
    kept = await _unchanged(house, job_id, bool(wait_s))
    if kept is not None:
        return _answer(kept, asked)
    row = await _view(house, job_id)
    current = asked is None or _names(asked, row["version"])
    if wait_s and not JOB.final(JobState(row["state"])) and current:
        row = await house.wait_for_change(job_id, row["version"], wait_s) or row
    else:
        row = await house.nudged(row)
    base = _base(request, row)
    body = orjson.dumps(status_of(house, row, base))
    answer = Answer(row["version"], body, RETRY_AFTER_S.get(JobState(row["state"])))
    if base is None:  # a link to fetch money by is its caller's own
        house.remembered.keep(job_id, answer)
    return _answer(answer, asked)


async def _unchanged(house: House, job_id: str, waits: bool) -> Answer | None:
    """Return what was answered before, if the job is as it was, and nothing else is to be done."""
    kept = house.remembered.find(job_id)
    if kept is None:
        return None
    goes_on = kept.retry_after_s is not None
    if goes_on and (waits or not house.parts.rail.push_is_up):
        return None  # hold the poll, or bring the job forward by asking the rail
    same = kept.version == await jobs.version(house.parts.db, job_id)
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
    house: House = request.app.state.house
    job_id = job_id_of(request)
    await _view(house, job_id)
    db, now = house.parts.db, house.parts.clock()
    told = await db.run(
        "cancel_job", lambda tx: house.parts.shell.advance(tx, job_id, law.Cancelled(), now)
    )
    row = await _view(house, job_id)
    again = await jobs.happened(db, job_id, law.JobEvent.CANCELLED.value)
    if not isinstance(told, Applied) and not again:
        ended = JOB.final(JobState(row["state"]))
        raise Refusal(
            409,
            "This job has come to its end, so it can't be cancelled."
            if ended
            else "This job is paid for and under way, so it can't be cancelled any more.",
        )
    return json_response(
        status_of(house, row, _base(request, row)), 200, {"ETag": _etag(row["version"])}
    )


async def refund(request: Request) -> Response:
    """POST /api/jobs/{id}/refund: pay what is owed back to an invoice, or to a destination."""
    house: House = request.app.state.house
    job_id = job_id_of(request)
    asked = parse(await read_body(request), ClaimRefund)
    await _view(house, job_id)
    if asked.refund_to:
        return _directed(await name_destination(house, job_id, asked.refund_to))
    return _claimed(await claim_refund(house, job_id, asked.invoice))


def _directed(sent: Directed) -> Response:
    sats = msat_to_sats(sent.amount_msat)
    body = {"ok": sent.paid, "refundAmountSats": sats}
    if sent.paid:
        return json_response({**body, "message": f"{sats} sats were sent."})
    message = (
        f"Not sent yet: {sent.note}"
        if sent.note
        else f"{sats} sats go there. The outcome will show as refundState of the job."
    )
    return json_response({**body, "message": message}, 202, {"Retry-After": "5"})


def _claimed(paid: Claimed) -> Response:
    sats = msat_to_sats(paid.amount_msat)
    body = {"refundAmountSats": sats, "paymentHash": paid.payment_hash}
    if paid.state is PayoutState.PAID:
        return json_response({"ok": True, **body, "message": f"{sats} sats were sent."})
    if paid.state is PayoutState.IN_FLIGHT:
        message = (
            f"{sats} sats are on their way. The outcome will show as refundState of the job;"
            " they are not sent a second time."
        )
        return json_response({"ok": False, **body, "message": message}, 202, {"Retry-After": "5"})
    raise Refusal(
        500,
        paid.note or "The payment failed.",
        "The sats are still yours: send another invoice for the same amount.",
    )


def job_id_of(request: Request) -> str:
    """Return the id in the path, or refuse what can't be one as unknown."""
    job_id: str = request.path_params["id"]
    if not _JOB_ID.fullmatch(job_id):
        raise unknown_job()
    return job_id


def unknown_job() -> Refusal:
    """Return what is said of a job that is not there."""
    return Refusal(
        404, "There is no job with this id. Check it, or create one with POST /api/jobs."
    )


async def _view(house: House, job_id: str) -> Row:
    row = await jobs.view(house.parts.db, job_id)
    if row is None:
        raise unknown_job()
    return row


def _base(request: Request, row: Row) -> str | None:
    """Return where wallets reach this server, when there is something to fetch."""
    payouts = row["payouts"] or ()
    owed = any(payout["state"] == PayoutState.OWED for payout in payouts)
    return base_url(request) if owed else None


def _etag(version: int) -> str:
    return f'"{version}"'


def _names(asked: str, version: int) -> bool:
    """Say whether an If-None-Match holds this version. Proxies that compress make tags weak."""
    return _etag(version) in [tag.strip().removeprefix("W/") for tag in asked.split(",")]


def _wait(request: Request) -> int:
    if not request.scope["query_string"]:
        return 0  # nearly every poll: there is nothing to parse
    text = request.query_params.get("wait", "0")
    digits = text.isascii() and text.isdecimal() and len(text) < 5
    if not digits or int(text) > LONGEST_WAIT_S:
        raise BadInput(
            f"The parameter 'wait' must be a whole number of seconds, from 0 to {LONGEST_WAIT_S}."
        )
    return int(text)


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise BadInput("The Idempotency-Key must be 1 to 255 printable ASCII characters.")
    return key


def _invoice(house: House, row: Any, prefix: str) -> dict[str, Any]:
    shape = {
        "paymentRequest": row[f"{prefix}bolt11"],
        "amountSats": msat_to_sats(row[f"{prefix}amount_msat"]),
        "expiresAt": moment(row[f"{prefix}expires_at"]),
    }
    if house.parts.stub is not None:
        shape["paymentHash"] = row[f"{prefix}{'hash' if prefix else 'payment_hash'}"]
    return shape


def status_of(house: House, row: Row, base: str | None = None) -> dict[str, Any]:
    """Return a job in the seed's words: only what belongs to its state.

    `base` is where wallets reach this server; None when nobody knows.
    """
    state = JobState(row["state"])
    completed: datetime | None = row["completed_at"]
    shape: dict[str, Any] = {
        "jobId": row["id"],
        "state": state.value,
        "createdAt": moment(row["created_at"]),
        "completedAt": moment(completed) if completed else None,
    }
    if state is JobState.AWAITING_EVAL_PAYMENT and row["eval_state"] == InvoiceState.OPEN:
        shape["evalInvoice"] = _invoice(house, row, "eval_")
    if state is JobState.AWAITING_WORK_PAYMENT and row["work_state"] == InvoiceState.OPEN:
        shape["workInvoice"] = _invoice(house, row, "work_")
    quote = row["quote"]
    if quote is not None:
        shape["pricingBreakdown"] = stored_breakdown(quote)
    for name, field in (("reason", "reason"), ("result", "result"), ("errorMessage", "error")):
        if row[field] is not None:
            shape[name] = row[field]
    payouts = row["payouts"] or []
    if quote is not None and row["charge"]:
        shape["costLedger"] = _ledger(quote, row["charge"], payouts)
    if payouts:
        shape["refunds"] = [_refund(payout, base) for payout in payouts]
    return shape


def _ledger(
    quote: dict[str, Any], charge: dict[str, int], payouts: list[dict[str, Any]]
) -> dict[str, Any]:
    surplus = [payout for payout in payouts if payout["reason"] == "surplus"]
    return {
        "actualInputTokens": charge["input_tokens"],
        "actualOutputTokens": charge["output_tokens"],
        "totalTokens": charge["input_tokens"] + charge["output_tokens"],
        "actualCostUsd": usd_number(charge["cost_microusd"]),
        "actualChargeUsd": usd_number(charge["charge_microusd"]),
        "estimatedCostUsd": usd_number(quote["charge_microusd"]),
        "actualAmountSats": msat_to_sats(charge["total_msat"]),
        "workAmountSats": msat_to_sats(quote["total_msat"]),
        "refundAmountSats": msat_to_sats(charge["surplus_msat"]),
        "refundState": refund_state(surplus),
        "marginPct": quote["margin_pct"],
        "btcPriceUsd": usd_number(quote["price"]["microusd_per_btc"]),
    }


def refund_state(payouts: list[dict[str, Any]]) -> str:
    """Return the seed's word for what became of what is owed back."""
    if not payouts:
        return "not_applicable"
    paid = all(payout["state"] == PayoutState.PAID for payout in payouts)
    return "paid" if paid else "pending"


def _refund(payout: dict[str, Any], base: str | None) -> dict[str, Any]:
    facts = PayoutFacts(
        id=payout["id"],
        job_id="",
        state=PayoutState(payout["state"]),
        amount_msat=payout["amount_msat"],
        refund_to=payout["refund_to"],
        failures=payout["failures"],
    )
    shape = {
        "reason": payout["reason"],
        "amountSats": payout["amount_msat"] // 1000,
        "refundState": refund_state([payout]),
        "attempts": payout["attempts"],
        "destination": "needed" if facts.needs_destination else "known",
    }
    if facts.state is PayoutState.OWED and base is not None:
        shape["lnurlWithdraw"] = withdraw_code(base, payout["id"])
    if payout["note"]:
        shape["lastOutcome"] = payout["note"]
    return shape
