"""Agent jobs: ask, look, wait, and take back what was overpaid (the 004 surface)."""

import hashlib
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.errors import Refusal, unavailable
from app.house import House
from app.refunds import claim_refund
from app.shapes import Body, RequestText, moment, pricing_breakdown
from app.wire import BadInput, json_response, parse, read_body
from db import idempotency, invoices, jobs
from db.engine import Row, Tx
from pricing.money import msat_to_sats, sats_to_msat, usd_number
from pricing.quote import Quote
from statemachine import job as law
from statemachine.invoice import InvoiceState
from statemachine.job import JOB, JobState
from statemachine.payout import PayoutState

LONGEST_WAIT_S = 60
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


class ClaimRefund(Body):
    """POST /api/jobs/{id}/refund."""

    invoice: Annotated[str, Field(min_length=1)]


async def create(request: Request) -> Response:
    """POST /api/jobs: 201 with the evaluation invoice."""
    house: House = request.app.state.house
    body = await read_body(request)
    asked = parse(body, CreateJob)
    key = _idempotency_key(request)
    fee_msat = await house.eval_fee_msat(asked.request)
    parts, now, job_id = house.parts, house.parts.clock(), house.parts.new_id()
    max_msat = sats_to_msat(asked.max_sats) if asked.max_sats else None

    async def begin(tx: Tx) -> idempotency.Fresh | idempotency.Replayed | idempotency.Clashed:
        claimed: idempotency.Fresh | idempotency.Replayed | idempotency.Clashed
        claimed = idempotency.Fresh()
        if key is not None:
            sha = hashlib.sha256(body).hexdigest()
            caller = f"peer:{request.client.host if request.client else ''}"
            claimed = await idempotency.claim(tx, caller, key, sha, job_id, now)
        if isinstance(claimed, idempotency.Fresh):
            await parts.shell.begin(tx, job_id, asked.request, fee_msat, max_msat, None, now)
        return claimed

    claimed = await parts.db.run("begin_job", begin)
    if isinstance(claimed, idempotency.Clashed):
        raise Refusal(409, "This Idempotency-Key was used for another request. Use a new one.")
    if isinstance(claimed, idempotency.Replayed):
        job_id = claimed.made
    invoice_id = law.eval_invoice_id(job_id)
    trouble = await house.keeper.create_invoice(invoice_id)
    if trouble is not None:
        if key is None:
            # Nobody was told of this job; with a key, the next try finds it again.
            await parts.db.run(
                "cancelled",
                lambda tx: parts.shell.advance(tx, job_id, law.Cancelled(), parts.clock()),
            )
        raise unavailable(
            "No invoice can be made just now, because the Lightning wallet does not answer."
            " Nothing was charged.",
            trouble.retry_after_s,
        )
    row = await invoices.get(parts.db, invoice_id)
    if row is None or row["bolt11"] is None:
        raise unavailable("The invoice could not be made. Nothing was charged.", 5)
    made = {
        "jobId": job_id,
        "createdAt": moment(row["created_at"]),
        "evalInvoice": _invoice(house, row, ""),
    }
    return json_response(made, 201, {"Location": f"/api/jobs/{job_id}"})


async def show(request: Request) -> Response:
    """GET /api/jobs/{id}: where it stands. Also brings it forward when its invoice was paid."""
    house: House = request.app.state.house
    job_id = job_id_of(request)
    wait_s = _wait(request)
    row = await _view(house, job_id)
    asked = request.headers.get("if-none-match")
    current = asked is None or _names(asked, row)
    if wait_s and not JOB.final(JobState(row["state"])) and current:
        row = await house.wait_for_change(job_id, row["version"], wait_s) or row
    else:
        row = await house.nudged(row)
    state = JobState(row["state"])
    headers = {"ETag": _etag(row)}
    if state in RETRY_AFTER_S:
        headers["Retry-After"] = str(RETRY_AFTER_S[state])
    if asked is not None and _names(asked, row):
        return Response(status_code=304, headers=headers)
    return json_response(status_of(house, row), 200, headers)


async def refund(request: Request) -> Response:
    """POST /api/jobs/{id}/refund: pay what is owed back to the invoice that is given."""
    house: House = request.app.state.house
    job_id = job_id_of(request)
    asked = parse(await read_body(request), ClaimRefund)
    await _view(house, job_id)
    paid = await claim_refund(house, job_id, asked.invoice)
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
    if len(job_id) != 32 or not set(job_id) <= set("0123456789abcdef"):
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


def _etag(row: Row) -> str:
    return f'"{row["version"]}"'


def _names(asked: str, row: Row) -> bool:
    """Say whether an If-None-Match holds this version. Proxies that compress make tags weak."""
    return _etag(row) in [tag.strip().removeprefix("W/") for tag in asked.split(",")]


def _wait(request: Request) -> int:
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


def status_of(house: House, row: Row) -> dict[str, Any]:
    """Return a job in the seed's words: only what belongs to its state."""
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
    quote = Quote.from_json(row["quote"]) if row["quote"] else None
    if quote is not None:
        shape["pricingBreakdown"] = pricing_breakdown(quote)
    for name, field in (("reason", "reason"), ("result", "result"), ("errorMessage", "error")):
        if row[field] is not None:
            shape[name] = row[field]
    payouts = row["payouts"] or []
    if quote is not None and row["charge"]:
        shape["costLedger"] = _ledger(quote, row["charge"], payouts)
    if payouts:
        shape["refunds"] = [_refund(payout) for payout in payouts]
    return shape


def _ledger(quote: Quote, charge: dict[str, int], payouts: list[dict[str, Any]]) -> dict[str, Any]:
    surplus = [payout for payout in payouts if payout["reason"] == "surplus"]
    return {
        "actualInputTokens": charge["input_tokens"],
        "actualOutputTokens": charge["output_tokens"],
        "totalTokens": charge["input_tokens"] + charge["output_tokens"],
        "actualCostUsd": usd_number(charge["cost_microusd"]),
        "actualChargeUsd": usd_number(charge["charge_microusd"]),
        "estimatedCostUsd": usd_number(quote.charge_microusd),
        "actualAmountSats": msat_to_sats(charge["total_msat"]),
        "workAmountSats": msat_to_sats(quote.total_msat),
        "refundAmountSats": msat_to_sats(charge["surplus_msat"]),
        "refundState": refund_state(surplus),
        "marginPct": quote.margin_pct,
        "btcPriceUsd": usd_number(quote.price.microusd_per_btc),
    }


def refund_state(payouts: list[dict[str, Any]]) -> str:
    """Return the seed's word for what became of what is owed back."""
    if not payouts:
        return "not_applicable"
    paid = all(payout["state"] == PayoutState.PAID for payout in payouts)
    return "paid" if paid else "pending"


def _refund(payout: dict[str, Any]) -> dict[str, Any]:
    shape = {
        "reason": payout["reason"],
        "amountSats": payout["amount_msat"] // 1000,
        "refundState": refund_state([payout]),
        "attempts": payout["attempts"],
    }
    if payout["note"]:
        shape["lastOutcome"] = payout["note"]
    return shape
