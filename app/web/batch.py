"""A batch's page, at a job's address: pay, watch the gallery fill, save files, take back the rest.

Its address is its secret. Everything that is sent from it is a plain form, as on a job's page.
"""

from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http import previews
from app.http.caller import COOKIE, READS
from app.http.downloads import download
from app.http.fields import path_id
from app.http.zipped import zipped
from app.refusal import Refusal, Why
from app.web import batch_view
from app.web.ending import Ending
from app.web.forms import check_origin, read_form
from app.web.page import HEADERS, Handler, page, render, see
from app.web.stub_wallet import pay_from_stub
from app.web.troubles import Trouble, trouble_of
from db import invoices, items
from db.batches import BatchView
from db.invoices import InvoiceRow
from db.items import ItemView
from statemachine.batch import MOST_ITEMS, BatchState, invoice_id
from statemachine.public_id import public_id


def unknown_batch() -> Refusal:
    """Return what is said where there is no such batch."""
    return Refusal(Why.UNKNOWN, "There is nothing at this address.")


def or_job(of_batch: Handler, of_job: Handler) -> Handler:
    """Answer an address that is a batch's or a job's: both are found under the same paths."""

    @page
    async def answer(request: Request) -> Response:
        row = await house_of(request).batches.show(path_id(request, unknown_batch))
        return await (of_job if row is None else of_batch)(request)

    return answer


@page
async def show(request: Request) -> Response:
    """GET /jobs/{id} of a batch; 304 while nothing that it shows has changed."""
    row = await _found(request)
    number = _page_of(request, row)
    here = await _items(request, row, number)
    mark = f'"{batch_view.mark(row, here, number)}"'
    if request.headers.get("if-none-match") == mark:
        return Response(status_code=304, headers={**HEADERS, "ETag": mark})
    return await _shown(request, row, here=here)


@page
async def pay(request: Request) -> Response:
    """POST /jobs/{id}/pay of a batch: the stub's own wallet pays its invoice. Development only."""
    house = house_of(request)
    await read_form(request)
    row = await _found(request)
    open_now = [each.to_pay for each in await _to_pay(request, row)]
    if failed := await pay_from_stub(house, [each.payment_hash for each in open_now if each]):
        return await _shown(request, row, trouble_of(failed, "page"))
    return see(f"/jobs/{row.id}")


@page
async def cancel(request: Request) -> Response:
    """POST /jobs/{id}/cancel of a batch: what is not being made is not made any more."""
    return await _ENDING.cancel(request)


@page
async def refund(request: Request) -> Response:
    """POST /jobs/{id}/refund of a batch: as of a job."""
    return await _ENDING.refund(request)


@page
async def file(request: Request) -> Response:
    """GET /jobs/{id}/items/{item}: what one item made; with `?save` a browser keeps it."""
    house = house_of(request)
    row = await _found(request)
    item = await items.get(house.db, row.id, path_id(request, unknown_batch, "item"))
    if item is None or item.artifact is None:
        raise unknown_batch()
    attached = "save" in request.query_params
    name = f"{_stem(row)}-{item.place:03}"
    return await download(request, house.artifacts, item.artifact, name, attached=attached)


@page
async def preview(request: Request) -> Response:
    """GET /jobs/{id}/previews/{item}: how an item looks while it is made."""
    house = house_of(request)
    row = await _found(request)
    item = await items.get(house.db, row.id, path_id(request, unknown_batch, "item"))
    return await previews.preview(request, house.artifacts, item)


@page
async def bundle(request: Request) -> Response:
    """GET /jobs/{id}/files.zip: all that was delivered so far, and is kept still."""
    house = house_of(request)
    row = await _found(request)
    every = await house.batches.page(row.id, 0, MOST_ITEMS)
    made = {item.artifact: item.place for item in every if item.artifact is not None}
    living = await house.artifacts.living(list(made))
    kept = [(f"{place:03}", living[name]) for name, place in made.items() if name in living]
    if made and not kept:
        raise Refusal(Why.DELETED, "These files were kept for their time, and have been deleted.")
    if not kept:
        raise Refusal(Why.NOT_FINISHED, "There is no file yet.", "Come back once one is made.")
    return await zipped(request, house.artifacts, kept, _stem(row))


def _stem(row: BatchView) -> str:
    return f"boltwork-{public_id(row.id)[:8]}"


async def _found(request: Request) -> BatchView:
    """Return the batch of the address, after asking about its invoice."""
    house = house_of(request)
    row = await house.batches.show(path_id(request, unknown_batch))
    if row is None or not await _may_see(request, row):
        raise unknown_batch()
    if not (waiting := await _to_pay(request, row)):
        return row
    await house.waiting.nudge_invoices(waiting)
    return await house.batches.show(row.id) or row


async def _may_see(request: Request, row: BatchView) -> bool:
    """Say whether this browser may see a batch: what an account bought is that account's alone.

    What is nobody's is seen by whoever knows its address.
    """
    if row.account_id is None:
        return True
    if request.method not in READS:
        check_origin(request)  # a cookie goes along with what other pages send
    login = await house_of(request).callers.logins.holder(request.cookies.get(COOKIE, ""))
    return login is not None and login.account_id == row.account_id


async def _to_pay(request: Request, row: BatchView) -> list[InvoiceRow]:
    """Return the invoice of a batch, where it can be paid now."""
    if row.state is not BatchState.AWAITING_PAYMENT:
        return []
    found = await invoices.get(house_of(request).db, invoice_id(row.id))
    return [found] if found is not None and found.to_pay is not None else []


def _page_of(request: Request, row: BatchView) -> int:
    """Return which page of the gallery is asked for, from 1 on; the first one for none."""
    given = request.query_params.get("page", "1")
    pages = max(1, -(-row.items // batch_view.SHOWN))
    is_one = given.isascii() and given.isdecimal() and len(given) < 4 and 1 <= int(given) <= pages
    return int(given) if is_one else 1


async def _items(request: Request, row: BatchView, number: int) -> list[ItemView]:
    shown = batch_view.SHOWN
    return await house_of(request).batches.page(row.id, (number - 1) * shown, shown)


async def _shown(
    request: Request,
    row: BatchView,
    wrong: Trouble | None = None,
    given: str = "",
    *,
    here: list[ItemView] | None = None,
) -> Response:
    number = _page_of(request, row)
    if here is None:
        here = await _items(request, row, number)
    values = await batch_view.values(request, row, here, number)
    answer = render(request, "batch.html", wrong=wrong, given=given, **values)
    answer.headers["ETag"] = f'"{values["mark"]}"'
    return answer


_ENDING = Ending(
    _found,
    _shown,
    lambda house, batch_id: house.batches.cancel(batch_id),
    lambda row: row.is_final or row.called_off,
    "This ended just now, so it can’t be cancelled.",
)
