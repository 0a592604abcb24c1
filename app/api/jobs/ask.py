"""One agent job by the call: 402 with its price, then the result, for whoever shows the proof.

The proof buys that job once. Shown again, it is answered with the same result.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from time import monotonic
from types import MappingProxyType
from typing import Annotated, Any

import orjson
from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http import paywall, usdc_door
from app.http.body import json_response, parse, read_body
from app.http.caller import unknown
from app.http.fields import DEFAULT_HOLD_S, Body, RequestText, name_of, wait_of
from app.http.job_status import ended_as, firm_cost, in_usdc
from app.http.links import base_url
from app.http.paywall import Sold
from app.http.query import parse_query
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.trade import sessions as prepaid
from app.trade import usdc_sales
from app.trade.asks import Ask
from app.trade.usdc_sales import NotPaid, Thing
from db import invoices, jobs
from db.invoices import MadeInvoice
from db.jobs import JobView
from payments.challenge import BadProof, Proof
from payments.session_macaroon import Verified
from payments.usdc.payment import Payment
from payments.usdc.x402 import SIGNATURE
from pricing.money import msat_to_sats, sats_to_msat
from statemachine.invoice import InvoiceState
from statemachine.job import JOB
from statemachine.owner import Purpose
from statemachine.public_id import public_id

RESOURCE = "ask"
DESCRIPTION = "One agent job: the evaluation of the request, and the work on it."
TOOL = "agent"
NONE: Mapping[str, str] = MappingProxyType({})
PAID_WAIT_S = 3  # stock clients give up after five: what takes longer is a 202
MOST_SATS = 100_000_000

Limit = Annotated[int, Field(ge=1, le=MOST_SATS)]
Destination = Annotated[str, Field(min_length=1)]


class AskBody(Body):
    """POST /api/ask."""

    request: RequestText
    max_sats: Limit | None = Field(None, alias="maxSats")
    refund_to: Destination | None = Field(None, alias="refundTo")


def _limit(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= MOST_SATS:
        raise ValueError(f"The field 'maxSats' must be a whole number from 1 to {MOST_SATS}.")
    return int(text)


class AskQuery(Body):
    """GET /api/ask."""

    request: RequestText
    max_sats: Annotated[int, BeforeValidator(_limit)] | None = Field(None, alias="maxSats")
    refund_to: str | None = Field(None, alias="refundTo")


async def ask(request: Request) -> Response:
    """GET and POST /api/ask: 402 with the price, or 200 with what was bought for it."""
    house = house_of(request)
    wait_s = wait_of(request, PAID_WAIT_S)
    asked, body = await _asked(request, house)
    paywall.refuse_head(request)
    shown = await house.callers.macaroon(request, "ask")
    if shown is not None:
        return await _from_session(request, house, shown, asked, body)
    # Refused where it can't be one, whether or not a proof makes that it isn't needed.
    name = name_of(request, f"peer:{house.throttle.address(request)}", body, is_known=False)
    sold = Sold(RESOURCE, DESCRIPTION, body if request.method == "POST" else None)
    unpaid = await _ordered(request, house, asked, body)
    if isinstance(unpaid, Response):
        return unpaid
    proof = await house.paywall.proof_of(request)
    if isinstance(proof, Proof):
        bought = await _bought(house, proof, asked, sold)
        if isinstance(bought, Bought):
            return await _answer(request, house, bought.job_id, wait_s, bought.receipt)
        proof = bought
    if isinstance(proof, BadProof):
        paywall.refuse(proof)
        offered = await _offered(house, proof.meant, asked, sold)
        if offered is not None:
            return await house.paywall.payment_required(request, offered, sold, proof)
    async with house.throttle.turn(request, Rule.CREATE):
        await house.throttle.weigh(request, len(body))
        invoice = await house.asks.place(asked, name)
    firm = await house.till.in_both(asked.request) if house.usdc is not None else None
    sold = replace(sold, price_microusd=firm.total_microusd if firm is not None else None)
    against = proof or paywall.PRICED
    return await house.paywall.payment_required(request, invoice, sold, against, unpaid)


async def _ordered(
    request: Request, house: House, asked: Ask, body: bytes
) -> Response | NotPaid | None:
    """Return the answer to what a signed order in USDC has bought, or why it has bought nothing;
    None where none is shown. A second signature for what was never answered buys nothing more.
    """
    if house.usdc is None or SIGNATURE not in request.headers:
        return None
    firm, weighed = await house.till.in_both(asked.request), 0
    began_s = monotonic()

    async def prepare(payment: Payment) -> Thing:
        nonlocal weighed
        async with house.throttle.turn(request, Rule.CREATE):
            await house.throttle.weigh(request, len(body))
            weighed = len(body)
            return await house.asks.for_usdc(payment, asked, firm)

    # Another request is another purchase, also where it is asked for by its address.
    resource = f"{RESOURCE}:{sha256(body).hexdigest()}"
    sold = Sold(resource, DESCRIPTION, body, firm.total_microusd)
    paid = await house.usdc.bought(request, sold, prepare)
    if not isinstance(paid, usdc_sales.Bought):
        return paid
    if weighed:
        await house.throttle.unweigh(request, weighed)
    left_s = max(0, PAID_WAIT_S - int(monotonic() - began_s)) if paid.is_settled else 0
    wait_s = wait_of(request, left_s)
    answer = await _answer(request, house, paid.owner.id, wait_s, pending=not paid.is_settled)
    return await house.usdc.answered(request, paid, answer)


async def _asked(request: Request, house: House) -> tuple[Ask, bytes]:
    if request.method == "POST":
        body = await read_body(request)
        asked: AskBody | AskQuery = parse(body, AskBody)
    else:
        asked = parse_query(request, AskQuery)
        body = orjson.dumps([asked.request, asked.max_sats, asked.refund_to])
    refund_to = None
    if asked.refund_to is not None:
        refund_to = house.refunds.destination_of(asked.refund_to).text
    max_msat = sats_to_msat(asked.max_sats) if asked.max_sats else None
    return Ask(asked.request, max_msat, refund_to, house.throttle.payer(request)), body


@dataclass(frozen=True, slots=True)
class Bought:
    """What a proof has bought."""

    job_id: str
    receipt: dict[str, str]  # headers, where the scheme of the proof has one


async def _bought(house: House, proof: Proof, asked: Ask, sold: Sold) -> Bought | BadProof:
    """Return the job that this proof bought, if it is for this very request."""
    if not sold.is_proven_by(proof):
        return paywall.FOR_ANOTHER
    invoice = await house.paywall.bought(proof)
    if isinstance(invoice, BadProof):
        return invoice
    if invoice is None:
        return paywall.FORGOTTEN
    if invoice.purpose is not Purpose.ASK or invoice.job_id is None:
        return paywall.FOR_ANOTHER
    if proof.reference not in (None, public_id(invoice.job_id)):
        return paywall.FOR_ANOTHER
    row = await jobs.get(house.db, invoice.job_id)
    # Of one that was purged unpaid, and paid since, nobody knows the request any more.
    if row is None or row.request not in (asked.request, "") or invoice.settled_at is None:
        return paywall.FOR_ANOTHER
    return Bought(row.id, house.credentials.receipt(proof, invoice.settled_at))


async def _offered(house: House, meant: Proof | None, asked: Ask, sold: Sold) -> MadeInvoice | None:
    """Return the invoice of the challenge that a bad proof holds, if it is for this request.

    Clients pay whatever a 402 offers, also in answer to a proof: so this one is offered again,
    which can't be paid twice.
    """
    if meant is None or not sold.is_proven_by(meant):
        return None
    invoice = await invoices.by_hash(house.db, meant.payment_hash)
    if invoice is None or invoice.job_id is None:
        return None
    row = await jobs.get(house.db, invoice.job_id)
    lives = invoice.state in (InvoiceState.OPEN, InvoiceState.SETTLED)
    return invoice.made if lives and row is not None and row.request == asked.request else None


async def _from_session(
    request: Request, house: House, shown: Verified, asked: Ask, body: bytes
) -> Response:
    """Have a session pay, whose macaroon was shown in place of a proof."""
    against = await house.sessions.standing(shown)
    if against is not None:
        raise unknown(Why.CREDENTIAL_INVALID, against)
    if not shown.grant.allows_tool(TOOL):
        raise Refusal(Why.NOT_ALLOWED, f"This macaroon does not allow the tool {TOOL!r}.")
    if asked.refund_to:
        raise Refusal(
            Why.BAD_INPUT,
            "The field 'refundTo' has no use here: what isn't used stays in the session.",
        )
    # As long as one of who shows no macaroon: the contract says one thing of this address.
    name = name_of(request, prepaid.caller_of(shown), body, is_known=False)
    wanted = prepaid.Request(asked.request, asked.max_msat)
    job_id = await house.sessions.submit(shown, wanted, name)
    return await _answer(request, house, job_id, wait_of(request, DEFAULT_HOLD_S))


async def _answer(
    request: Request,
    house: House,
    job_id: str,
    wait_s: int,
    receipt: Mapping[str, str] = NONE,
    *,
    pending: bool = False,  # its payment may not have come in
) -> Response:
    row = await house.waiting.for_end(job_id, wait_s)
    assert row is not None, "a job outlives the proof that bought it"
    state = row.state
    where = f"/api/jobs/{job_id}"
    if not JOB.final(state):
        running: dict[str, Any] = {
            "jobId": job_id,
            "state": state.value,
            "next": f"GET {where}?wait=30 answers when it is done; so does this request again.",
        }
        if pending:
            running |= usdc_door.PENDING
        return json_response(running, 202, {"Location": where, "Retry-After": "1", **receipt})
    return json_response(_ended(request, row), 200, {"Location": where, **receipt})


def _ended(request: Request, row: JobView) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "jobId": row.id,
        "state": row.state,
        "cost": firm_cost(row),
        "priceSats": msat_to_sats(row.firm_msat),
        **in_usdc(row),
    }
    shape |= ended_as(row)
    if row.payouts:
        house = house_of(request)
        base = base_url(request, house.settings.public_url)
        shape["refunds"] = [house.shapes.refund(payout, base) for payout in row.payouts]
        shape["next"] = f"POST /api/jobs/{row.id}/refund takes back what was not used."
    return shape
