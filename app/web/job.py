"""A job's page: the checkout, then the result, then what goes back. Its address is its secret.

Everything that is sent from it is a plain form; the script only saves reloads.
"""

from starlette.requests import Request
from starlette.responses import Response

from app.advance import Applied
from app.house import House
from app.http.claims import ClaimRefund
from app.http.fields import path_id
from app.http.job_status import unknown_job
from app.http.throttle import Rule
from app.refusal import Refusal
from app.strict_json import BadInput
from app.trade.refunds import claim_refund, name_destination
from app.web import job_view
from app.web.forms import read_form
from app.web.page import page, render, see
from db import jobs
from db.engine import Row
from payments import pasted
from payments.rail import Failed
from statemachine import job as law
from statemachine.job import JOB, JobState

MOST_DESTINATION = pasted.LONGEST  # characters of an invoice or an address


@page
async def show(request: Request) -> Response:
    """GET /jobs/{id}."""
    return await _shown(request, await _found(request))


@page
async def pay(request: Request) -> Response:
    """POST /jobs/{id}/pay: the stub's own wallet pays the open invoice. Development only."""
    house: House = request.app.state.house
    await read_form(request)
    row = await _found(request)
    if house.parts.stub is None:
        raise Refusal(404, "There is nothing at this address.")
    for purpose in ("eval", "work"):
        if row[f"{purpose}_hash"] is not None:
            paid = await house.parts.stub.receive(row[f"{purpose}_hash"])
            if isinstance(paid, Failed):
                return await _shown(request, row, Refusal(409, f"Not paid: {paid.reason}."))
            await house.loops.settle(paid)
    return see(f"/jobs/{row['id']}")


@page
async def cancel(request: Request) -> Response:
    """POST /jobs/{id}/cancel: the buyer wants it no more, and has not paid for the work."""
    house: House = request.app.state.house
    await read_form(request)
    row = await _found(request)
    now = house.parts.clock()
    told = await house.parts.db.run(
        "cancel_job", lambda tx: house.parts.shell.advance(tx, row["id"], law.Cancelled(), now)
    )
    if not isinstance(told, Applied) and not JOB.final(JobState(row["state"])):
        refused = Refusal(409, "It is paid for and under way, so it can’t be cancelled any more.")
        return await _shown(request, await _found(request), refused)
    return see(f"/jobs/{row['id']}")


@page
async def refund(request: Request) -> Response:
    """POST /jobs/{id}/refund: what is owed goes to an address, or to an invoice of that amount."""
    house: House = request.app.state.house
    given = (await read_form(request)).get("to", "")
    row = await _found(request)
    try:
        await house.parts.throttle.count(request, Rule.DESTINATION)
        await claim(house, row["id"], given)
    except (BadInput, Refusal) as refused:
        return await _shown(request, await _found(request), refused, given)
    return see(f"/jobs/{row['id']}#refunds")


async def claim(house: House, owner_id: str, given: str) -> None:
    """Send what a job or a session owes where a form says. Raises BadInput and Refusal."""
    text = pasted.read(given).text
    if not text or len(given) > MOST_DESTINATION:
        raise BadInput("Give a Lightning address, an LNURL, or an invoice of exactly this amount.")
    is_invoice = text[:2].lower() == "ln" and "@" not in text and text[:5].lower() != "lnurl"
    asked = ClaimRefund(invoice=given) if is_invoice else ClaimRefund(refundTo=text)
    if asked.refund_to:
        await name_destination(house, owner_id, asked.refund_to)
    else:
        await claim_refund(house, owner_id, asked.invoice)


async def _found(request: Request) -> Row:
    house: House = request.app.state.house
    row = await jobs.view(house.parts.db, path_id(request, unknown_job))
    if row is None:
        raise unknown_job()
    return await house.nudged(row)


async def _shown(
    request: Request, row: Row, refused: BadInput | Refusal | None = None, given: str = ""
) -> Response:
    values = await job_view.values(request, row)
    answer = render(
        request,
        "job.html",
        refused.status if refused else 200,
        problem=str(refused) if refused else "",
        advice=getattr(refused, "next_step", None) or "",
        given=given,
        **values,
    )
    answer.headers["ETag"] = f'"{row["version"]}"'
    if isinstance(refused, Refusal):
        answer.headers.update(refused.headers)
    return answer
