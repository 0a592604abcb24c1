"""A job's page: the checkout, then the result, then what goes back. Its address is its secret.

Everything that is sent from it is a plain form; the script only saves reloads.
"""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from app.advance import Applied
from app.house import House, house_of
from app.http.claims import ClaimRefund
from app.http.fields import path_id
from app.http.job_status import unknown_job
from app.http.throttle import Rule
from app.ports import Playground
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.web import job_view
from app.web.forms import read_form
from app.web.page import page, render, see
from app.web.stub_wallet import pay_from_stub
from app.web.troubles import Trouble, WrongField, at, trouble_of
from db import jobs, payouts
from db.jobs import JobView
from payments import pasted
from pricing.money import Msat
from statemachine.entries import Asset
from statemachine.job import JOB
from statemachine.payout import PayoutState

MOST_DESTINATION = pasted.LONGEST  # characters of an invoice or an address
DESTINATIONS = "Enter a Lightning address, an LNURL, or an invoice for exactly this amount."
STUB_INVOICE_S = 600


@page
async def show(request: Request) -> Response:
    """GET /jobs/{id}."""
    return await _shown(request, await _found(request))


@page
async def pay(request: Request) -> Response:
    """POST /jobs/{id}/pay: the stub's own wallet pays the open invoice. Development only."""
    house = house_of(request)
    await read_form(request)
    row = await _found(request)
    open_now = [] if row.to_pay is None else [row.to_pay.payment_hash]
    if failed := await pay_from_stub(house, open_now):
        return await _shown(request, row, trouble_of(failed, "page"))
    return see(f"/jobs/{row.id}")


@page
async def cancel(request: Request) -> Response:
    """POST /jobs/{id}/cancel: the buyer wants it no more, and has not paid for the work."""
    house = house_of(request)
    await read_form(request)
    row = await _found(request)
    outcome = await house.orders.cancel(row.id)
    if not isinstance(outcome, Applied) and not JOB.final(row.state):
        refused = Refusal(
            Why.NOT_CANCELLABLE, "This job is paid for and under way, so it can’t be cancelled."
        )
        return await _shown(request, await _found(request), trouble_of(refused, "page"))
    return see(f"/jobs/{row.id}")


@page
async def refund(request: Request) -> Response:
    """POST /jobs/{id}/refund: what is owed goes to an address, or to an invoice of that amount."""
    house = house_of(request)
    given = await read_form(request)
    row = await _found(request)
    try:
        await house.throttle.count(request, Rule.DESTINATION)
        await claim(house, row.id, given)
    except (BadInput, Refusal) as refused:
        wrong = trouble_of(refused, "to")
        return await _shown(request, await _found(request), wrong, given.get("to", ""))
    return see(f"/jobs/{row.id}#refunds")


async def claim(house: House, owner_id: str, form: Mapping[str, str]) -> None:
    """Send what a job or a session owes where a form says. Raises WrongField and Refusal."""
    if form.get("wallet") == "demo" and house.stub is not None:
        await _claim_for_stub(house, house.stub, owner_id)
        return
    given = form.get("to", "")
    text = pasted.read(given).text
    if not text or len(given) > MOST_DESTINATION:
        raise WrongField("to", DESTINATIONS)
    is_invoice = text[:2].lower() == "ln" and "@" not in text and text[:5].lower() != "lnurl"
    asked = ClaimRefund(invoice=given) if is_invoice else ClaimRefund(refundTo=text)
    with at("to"):
        if asked.refund_to:
            await house.refunds.direct(owner_id, asked.refund_to)
        else:
            await house.refunds.claim(owner_id, asked.invoice)


async def _claim_for_stub(house: House, stub: Playground, owner_id: str) -> None:
    """Have the stub's own wallet take all that is owed. Development only."""
    for row in await payouts.of_owner(house.db, owner_id):
        if row.state is PayoutState.OWED and row.asset is Asset.MSAT:
            wanted = await stub.buyer_invoice(Msat(row.amount_msat), "Refund", STUB_INVOICE_S)
            await house.refunds.claim(owner_id, wanted.bolt11)


async def _found(request: Request) -> JobView:
    house = house_of(request)
    row = await jobs.view(house.db, path_id(request, unknown_job))
    if row is None:
        raise unknown_job()
    return await house.waiting.nudged(row)


async def _shown(
    request: Request, row: JobView, wrong: Trouble | None = None, given: str = ""
) -> Response:
    values = await job_view.values(request, row)
    answer = render(request, "job.html", wrong=wrong, given=given, **values)
    answer.headers["ETag"] = f'"{row.version}"'
    return answer
