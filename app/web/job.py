"""A job's page: the checkout, then the result, then what goes back. Its address is its secret.

Everything that is sent from it is a plain form; the script only saves reloads.
"""

from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.fields import path_id
from app.http.job_status import unknown_job
from app.web import job_view
from app.web.ending import Ending
from app.web.forms import read_form
from app.web.page import page, render, see
from app.web.stub_wallet import pay_from_stub
from app.web.troubles import Trouble, trouble_of
from db import jobs
from db.jobs import JobView
from statemachine.job import JOB


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
    return await _ENDING.cancel(request)


@page
async def refund(request: Request) -> Response:
    """POST /jobs/{id}/refund: what is owed goes to an address, or to an invoice of that amount."""
    return await _ENDING.refund(request)


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


_ENDING = Ending(
    _found,
    _shown,
    lambda house, job_id: house.orders.cancel(job_id),
    lambda row: JOB.final(row.state),
    "This job is paid for and under way, so it can’t be cancelled.",
)
