"""What a job's page shows of a row, in the words of a person: prices, steps, and what is owed."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from app.house import House, house_of
from app.http.links import base_url, withdraw_code
from app.web import words
from app.web.codes import code
from app.web.fiat import Rate, rate_now
from app.web.holding import asked_from
from app.web.job_words import asset_of, bill_of, head_of
from app.web.prose import prose
from db import jobs
from db.jobs import JobView
from db.payouts import PayoutRow, PayoutView
from pricing.quote import Quote
from statemachine.entries import Asset
from statemachine.job import JOB, Funding, JobState
from statemachine.owner import Reason, named
from statemachine.payout import MOST_FAILURES, PayoutState
from statemachine.public_id import public_id

STEPS = {
    Funding.INVOICES: ("Fee", "Evaluation", "Payment", "Work"),
    Funding.INVOICE: ("Payment", "Evaluation", "Work"),
    Funding.SESSION: ("Reserved", "Evaluation", "Work"),
    Funding.X402: ("Payment", "Evaluation", "Work"),
}
# How many steps are behind a job in each state; None: how far it came shows in what is there.
BEHIND: dict[Funding, dict[JobState, int | None]] = {
    Funding.INVOICES: {
        JobState.AWAITING_EVAL_PAYMENT: 0,
        JobState.EVALUATING: 1,
        JobState.REJECTED: 1,
        JobState.AWAITING_WORK_PAYMENT: 2,
        JobState.EXECUTING: 3,
        JobState.COMPLETE: 4,
        JobState.FAILED: None,
    },
    Funding.INVOICE: {
        JobState.AWAITING_EVAL_PAYMENT: 0,
        JobState.EVALUATING: 1,
        JobState.REJECTED: 1,
        JobState.AWAITING_WORK_PAYMENT: 1,  # at a firm price the law leads nothing here
        JobState.EXECUTING: 2,
        JobState.COMPLETE: 3,
        JobState.FAILED: None,
    },
}
BEHIND[Funding.SESSION] = BEHIND[Funding.X402] = BEHIND[Funding.INVOICE]
WORKS = (JobState.EVALUATING, JobState.EXECUTING)  # we do; else the buyer is waited for
RELOAD_S = 4
RELOAD_SLOWLY_S = 15


async def values(request: Request, row: JobView) -> dict[str, Any]:
    """Return what the template needs."""
    house = house_of(request)
    state, funding = row.state, row.funding
    headline, sentence = head_of(row)
    written = await jobs.get(house.db, row.id)
    ended = JOB.final(state)
    quote = Quote.from_json(row.quote) if row.quote else None
    return {
        "job_id": row.id,
        "public_id": public_id(row.id),
        "version": row.version,
        "state": state.value,
        "ended": ended,
        "headline": headline,
        "sentence": sentence,
        "reload_s": 0 if ended else RELOAD_S if state in WORKS else RELOAD_SLOWLY_S,
        "request_text": written.request if written else "",
        "created_at": row.created_at,
        "completed_at": row.completed_at,
        "steps": _steps(row, state, funding),
        "invoice": await _invoice(row),
        "quote": quote,
        "rate": await _rate(house, row, quote),
        "charge": row.charge,
        "bill": bill_of(row, quote),
        "currency": asset_of(row),
        "is_firm": funding is not Funding.INVOICES,
        "session_id": asked_from(request),
        "result": await prose(row.result) if row.result else None,
        "result_text": row.result or "",
        "truncated": row.truncated,
        "reason": row.reason,
        "error": row.error,
        "refunds": await refunds(request, row.payouts),
        "may_ask_again": ended and not row.session_id,
        "may_cancel": state in (JobState.AWAITING_EVAL_PAYMENT, JobState.AWAITING_WORK_PAYMENT),
    }


async def _rate(house: House, row: JobView, quote: Quote | None) -> Rate | None:
    """Return what a sat is worth, where the job is priced in them."""
    if asset_of(row) is not Asset.MSAT:
        return None
    return Rate(quote.price, house.clock()) if quote else await rate_now(house)


def _steps(row: JobView, state: JobState, funding: Funding) -> list[tuple[str, str]]:
    """Return the way of a job as (step, where it stands): done, now, stopped or next."""
    names = STEPS[funding]
    behind = BEHIND[funding][state]
    if behind is None:
        owed = {payout.reason for payout in row.payouts}
        behind = (
            len(names) - 1 if Reason.NOT_DONE in owed else 1 if Reason.NOT_EVALUATED in owed else 0
        )
        if not owed and row.quote and funding is Funding.INVOICES:
            behind = 2
    stopped = state in (JobState.FAILED, JobState.REJECTED)
    return [
        (name, "done" if at < behind else "next" if at > behind else "stop" if stopped else "now")
        for at, name in enumerate(names)
    ]


async def _invoice(row: JobView) -> dict[str, Any] | None:
    """Return the invoice that a job waits for, if it does."""
    owed = row.to_pay
    return await invoice(owed.bolt11, owed.amount_msat, owed.expires_at) if owed else None


async def invoice(bolt11: str, amount_msat: int, expires_at: Any) -> dict[str, Any]:
    """Return an invoice as the checkout shows it."""
    label = f"QR code of a Lightning invoice for {words.sats(amount_msat)} sats"
    return {
        "bolt11": bolt11,
        "amount_msat": amount_msat,
        "expires_at": expires_at,
        "code": await code(bolt11, label),
    }


async def refunds(
    request: Request, payouts: Sequence[PayoutRow | PayoutView], *, may_fetch: bool = True
) -> list[dict[str, Any]]:
    """Return what is owed back, with a code to scan where a wallet can fetch it."""
    owed = any(payout.state is PayoutState.OWED for payout in payouts)
    public_url = house_of(request).settings.public_url
    base = base_url(request, public_url) if owed and may_fetch else None
    shown = []
    for payout in payouts:
        state = payout.state
        in_sats = payout.asset is Asset.MSAT
        scannable = in_sats and state is PayoutState.OWED
        link = withdraw_code(base, payout.secret) if base and scannable else None
        label = f"QR code to withdraw {words.in_asset(payout.amount, payout.asset)} sats"
        failed = payout.failures >= MOST_FAILURES
        shown.append(
            {
                "which": named(payout.id).what.replace(":", "-"),
                "amount": words.in_asset(payout.amount, payout.asset),
                "amount_msat": payout.amount if in_sats else 0,
                "unit": "sats" if in_sats else "USDC",
                "in_sats": in_sats,
                "reason": payout.reason,
                "state": state.value,
                "to": payout.refund_to if in_sats else (payout.refund_to or "").rpartition(":")[2],
                "goes": payout.refund_to is not None and not failed,
                "note": payout.note if state is PayoutState.OWED else None,
                "lnurl": link,
                "code": await code(link, label) if link else None,
            }
        )
    return shown
