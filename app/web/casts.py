"""A cast's page: pay, watch its steps fill, save what they made, resume it where it failed.

Its address is its secret, as a job's is. Everything that is sent from it is a plain form.
"""

from typing import Any
from zlib import crc32

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.batch_status import DELETED, paid_with
from app.http.caller import COOKIE, READS
from app.http.fields import path_id
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.web import job_view
from app.web.balance import placed, purse_of
from app.web.batch_view import preview_number
from app.web.forms import check_origin, read_form
from app.web.page import HEADERS, page, render, see
from app.web.spells import stages
from app.web.stub_wallet import pay_from_stub
from app.web.troubles import Trouble, trouble_of
from db import casts, invoices, items, spells
from db.batches import BatchView
from db.casts import CastRow
from db.engine import Duplicate
from db.items import ItemView
from statemachine.batch import BatchState, invoice_id
from statemachine.cast import CastState, state_of
from statemachine.item import ITEM, ItemState
from statemachine.payout import PayoutState
from statemachine.public_id import public_id

STANDS = {
    ItemState.WAITING: ("next", "Waits for the steps before it"),
    ItemState.PENDING: ("next", "In the queue"),
    ItemState.CLAIMED: ("now", "Begun"),
    ItemState.PROCESSING: ("now", "Being made"),
    ItemState.COMPLETED: ("done", "Done"),
    ItemState.FAILED: ("stop", "Failed"),
    ItemState.DEAD_LETTER: ("stop", "Failed"),
    ItemState.CANCELLED: ("stop", "Not made"),
}
HEADS = {
    CastState.AWAITING_PAYMENT: (
        "Pay for this cast", "You pay only for the steps that are delivered; the rest is refunded.",
    ),
    CastState.RUNNING: ("Casting", "Each step begins as soon as all that it needs is made."),
    CastState.COMPLETED: ("Done", "Every step was made."),
    CastState.FAILED: (
        "Stopped", "Not every step could be made. You are charged only for those that were.",
    ),
}  # fmt: skip
LOOKS_AFTER_S = {CastState.AWAITING_PAYMENT: 3, CastState.RUNNING: 1}


def unknown_cast() -> Refusal:
    """Return what is said where there is no such cast."""
    return Refusal(Why.UNKNOWN, "There is nothing at this address.")


@page
async def show(request: Request) -> Response:
    """GET /casts/{id}; 304 while nothing that it shows has changed."""
    return await _shown(request, await _found(request))


@page
async def pay(request: Request) -> Response:
    """POST /casts/{id}/pay: the stub's own wallet pays its invoice. Development only."""
    house = house_of(request)
    await read_form(request)
    row = await _found(request)
    found = await invoices.get(house.db, invoice_id(row.batches[-1].id))
    open_now = found.to_pay if found is not None else None
    if failed := await pay_from_stub(house, [open_now.payment_hash] if open_now else []):
        return await _shown(request, row, trouble_of(failed, "page"))
    return see(f"/casts/{row.id}")


@page
async def resume(request: Request) -> Response:
    """POST /casts/{id}/resume: the steps that are missing, from a balance or for an invoice."""
    house = house_of(request)
    given = await read_form(request)
    row = await _found(request)
    try:
        async with house.throttle.turn(request, Rule.SUBMIT):
            order = await house.spells.resumption(row, house.throttle.payer(request), None)
            if order is not None:
                await placed(request, order, given)
    except Duplicate:
        pass  # it was resumed at this moment
    except (BadInput, Refusal) as refused:
        return await _shown(request, row, trouble_of(refused, "page"))
    return see(f"/casts/{row.id}")


async def _found(request: Request) -> CastRow:
    """Return the cast of the address, after asking about its invoice."""
    house = house_of(request)
    row = await casts.get(house.db, path_id(request, unknown_cast))
    if row is None or not row.batches or not await _may_see(request, row):
        raise unknown_cast()
    if row.batches[-1].state is BatchState.AWAITING_PAYMENT:
        found = await invoices.get(house.db, invoice_id(row.batches[-1].id))
        if found is not None and found.to_pay is not None:
            await house.waiting.nudge_invoices([found])
            row = await casts.get(house.db, row.id) or row
    return row


async def _may_see(request: Request, row: CastRow) -> bool:
    """Say whether this browser may see a cast: what an account bought is that account's alone."""
    account_id = row.batches[0].account_id
    if account_id is None:
        return True
    if request.method not in READS:
        check_origin(request)
    login = await house_of(request).callers.logins.holder(request.cookies.get(COOKIE, ""))
    return login is not None and login.account_id == account_id


async def _shown(request: Request, row: CastRow, wrong: Trouble | None = None) -> Response:
    house = house_of(request)
    steps = await casts.steps(house.db, row.id)
    state = state_of([step.made for step in steps])
    shown = [await house.batches.show(batch.id) for batch in row.batches]
    batches: list[BatchView] = [batch for batch in shown if batch is not None]
    items_of = {step.step: await items.get(house.db, step.batch_id, step.item_id) for step in steps}
    stands = ",".join(
        f"{i.state}{i.progress}:{i.preview}" for i in items_of.values() if i is not None
    )
    told = f"{state} {[batch.version for batch in batches]} {stands}"
    mark = f"{crc32(told.encode()):x}"
    if wrong is None and request.headers.get("if-none-match") == f'"{mark}"':
        return Response(status_code=304, headers={**HEADERS, "ETag": f'"{mark}"'})
    batch_of = {step.step: step.batch_id for step in steps}
    seen: dict[str, Any] = {"state": state, "batches": batches, "mark": mark}
    answer = await _drawn(request, house, row, wrong, items_of=items_of, batch_of=batch_of, **seen)
    answer.headers["ETag"] = f'"{mark}"'
    return answer


async def _drawn(
    request: Request,
    house: House,
    row: CastRow,
    wrong: Trouble | None,
    *,
    state: CastState,
    batches: list[BatchView],
    items_of: dict[int, ItemView | None],
    batch_of: dict[int, str],
    mark: str,
) -> Response:
    spell = await spells.by_version(house.db, row.version_id)
    assert spell is not None, "a version is never deleted"
    headline, sentence = HEADS[state]
    drawn = [
        [
            each | _piece(house, items_of.get(each["id"]), batch_of.get(each["id"], ""))
            for each in stage
        ]
        for stage in stages(house, spell)
    ]
    owed = [payout for batch in batches for payout in batch.payouts or ()]
    moves = any(payout.state is not PayoutState.PAID for payout in owed)
    may_resume = state is CastState.FAILED and row.forgotten_at is None
    return render(
        request, "cast.html", wrong=wrong, cast_id=row.id, public_id=public_id(row.id),
        headline=headline, sentence=sentence, spell=spell, document=spell.document, stages=drawn,
        state=state.value, mark=mark, poll_s=LOOKS_AFTER_S.get(state, 3 if moves else 0),
        invoice=await _invoice(house, row), owing=batches[-1].id if owed else None,
        rest=await _rest(request, row) if may_resume else None,
        purse=await purse_of(request) if may_resume else None,
        bills=[each for each in batches if each.is_final and paid_with(each) is not None],
        deleted=DELETED if row.forgotten_at else None, key=house.new_id(),
    )  # fmt: skip


async def _rest(request: Request, row: CastRow) -> dict[str, Any]:
    """Return what the steps that are missing cost, or why they can't be made any more."""
    house = house_of(request)
    try:
        order = await house.spells.resumption(row, house.throttle.payer(request), None)
        quote = await house.batches.quote(order.lines) if order is not None else None
    except (BadInput, Refusal) as refused:
        return {"lost": trouble_of(refused, "resume"), "msat": 0}
    return {"lost": None, "msat": quote.total_msat if quote is not None else 0}


def _piece(house: House, item: ItemView | None, batch_id: str) -> dict[str, Any]:
    """Return how one step stands, and where what it made is."""
    if item is None:
        lacks = ("file", "text", "reason", "deleted", "progress", "preview")
        return {"stands": "next", "says": "Not begun", **dict.fromkeys(lacks)}
    stands, says = STANDS[item.state]
    kept = item.expires_at is not None and item.expires_at > house.clock()
    return {
        "stands": stands,
        "says": f"{says}: {item.progress} %" if stands == "now" and item.progress else says,
        "progress": item.progress if stands == "now" else None,
        "item": item.id,
        "preview": preview_number(item),
        "deleted": item.sha256 is not None and not kept and item.output is None,
        "file": item.id if item.artifact is not None and kept else None,
        "made_in": batch_id,
        "is_film": (item.media_type or "").startswith("video/"),
        "text": (item.output or {}).get("text"),
        "reason": item.reason if ITEM.final(item.state) else None,
    }


async def _invoice(house: House, row: CastRow) -> dict[str, Any] | None:
    """Return the invoice that a cast waits for, if it does."""
    if row.batches[-1].state is not BatchState.AWAITING_PAYMENT:
        return None
    found = await invoices.get(house.db, invoice_id(row.batches[-1].id))
    owed = found.to_pay if found else None
    return await job_view.invoice(owed.bolt11, owed.amount_msat, owed.expires_at) if owed else None
