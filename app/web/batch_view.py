"""What a batch's page shows: its state in words, what is to pay or to take back, and its files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zlib import crc32

from starlette.requests import Request

from app.house import House, house_of
from app.http.batch_status import DELETED
from app.http.previews import is_seen
from app.trade.catalogue import Kind
from app.web import job_view
from app.web.batch_words import head_of, item_says, steps_of, things, was_paid
from app.web.fiat import Rate
from db import invoices
from db.batches import BatchView
from db.items import ItemView
from pricing.batch_quote import price_in
from statemachine.batch import BatchState, invoice_id
from statemachine.entries import Asset
from statemachine.item import ITEM, ItemState
from statemachine.payout import PayoutState
from statemachine.public_id import public_id

SHOWN = 60  # items on one page
LOOKS_AFTER_S = {True: 1, False: 3}  # while something is made, and while somebody is to pay
RELOAD_S = 5  # without a script


@dataclass(frozen=True, slots=True)
class Piece:
    """One item as the gallery shows it."""

    id: str
    place: int
    state: str
    says: str
    reason: str | None
    prompt: str
    has_file: bool
    is_film: bool
    width: int
    height: int
    expires_at: datetime | None
    progress: int
    text: str | None  # where it is no file
    preview: str | None  # what changes with the picture of it that is there while it is made


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the bill, in the smallest unit of the batch's asset."""

    name: str
    amount: int
    is_total: bool = False


def mark(row: BatchView, items: Sequence[ItemView], page: int) -> str:
    """Return what changes with anything that the page shows."""
    stands = ",".join(f"{item.state}{item.tries}:{item.progress}:{item.preview}" for item in items)
    return f"{row.version}.{crc32(stands.encode()):x}.{page}"


async def values(
    request: Request, row: BatchView, items: Sequence[ItemView], page: int
) -> dict[str, Any]:
    """Return what the template needs."""
    house = house_of(request)
    now = house.clock()
    kind = Kind(row.quote.get("kind", Kind.IMAGE.value))
    headline, sentence = head_of(row, kind=kind)
    moves = any(payout.state is not PayoutState.PAID for payout in row.payouts)
    unpaid = row.state is BatchState.AWAITING_PAYMENT
    rate = Rate(price_in(row.quote), now) if "microusd_per_btc" in row.quote else None
    pieces = [_piece(row, item, now) for item in items]
    return {
        "batch_id": row.id,
        "here": f"/jobs/{row.id}" + (f"?page={page}" if page > 1 else ""),
        "public_id": public_id(row.id),
        "mark": mark(row, items, page),
        "is_unpaid": unpaid,
        "paid": "unpaid" if unpaid else "paid",
        "ended": row.is_final,
        "poll_s": _poll_s(row, moves=moves),
        "reload_s": 0 if row.is_final else RELOAD_S,
        "headline": headline,
        "sentence": sentence,
        "steps": steps_of(row),
        "every": things(row.items, kind=kind),
        "count": row.items,
        "over": row.delivered + row.failed + row.cancelled,
        "invoice": await _invoice(house, row),
        "rate": rate if row.asset is Asset.MSAT else None,
        "currency": row.asset,
        "unit": "sats" if row.asset is Asset.MSAT else "USDC",
        "bill": _bill(row),
        "quote": row.quote,
        "pieces": pieces if was_paid(row) else [],
        "page": page,
        "pages": -(-row.items // SHOWN),
        "has_files": any(piece.has_file for piece in pieces),
        "asked": None if row.forgotten_at else _asked(items),
        "deleted": DELETED if row.forgotten_at else None,
        "created_at": row.created_at,
        "session_id": row.session_id,
        "refunds": await job_view.refunds(request, row.payouts),
        "may_cancel": not row.is_final and not row.called_off,
        "again": _again(items, row),
    }


def _poll_s(row: BatchView, *, moves: bool) -> int:
    """Return after how many seconds the page looks again; 0: nothing more comes."""
    if row.is_final:
        return LOOKS_AFTER_S[False] if moves else 0
    return LOOKS_AFTER_S[row.state is not BatchState.AWAITING_PAYMENT]


async def _invoice(house: House, row: BatchView) -> dict[str, Any] | None:
    """Return the invoice that a batch waits for, if it does."""
    if row.state is not BatchState.AWAITING_PAYMENT:
        return None
    found = await invoices.get(house.db, invoice_id(row.id))
    owed = found.to_pay if found else None
    return await job_view.invoice(owed.bolt11, owed.amount_msat, owed.expires_at) if owed else None


def _piece(row: BatchView, item: ItemView, now: datetime) -> Piece:
    kept = item.expires_at is not None and item.expires_at > now
    asked = item.asked
    says = item_says(row, item)
    return Piece(
        id=item.id,
        place=item.place,
        state=item.state.value,
        says="Deleted" if item.sha256 and not kept and item.output is None else says,
        reason=item.reason if ITEM.final(item.state) else None,
        prompt=_prompt(asked),
        has_file=item.state is ItemState.COMPLETED and kept,
        is_film=(item.media_type or "").startswith("video/"),
        width=item.width or asked.get("width", 1),
        height=item.height or asked.get("height", 1),
        expires_at=item.expires_at,
        progress=item.progress,
        text=text_of(item.output),
        preview=preview_number(item),
    )


def preview_number(item: ItemView) -> str | None:
    """Return what changes with how an item looks; None: there is nothing to be seen of it now."""
    return item.preview[:8] if item.preview is not None and is_seen(item) else None


def _prompt(asked: Mapping[str, Any]) -> str:
    """Return what was asked for in words; of a tool without any, its name."""
    inputs = asked.get("inputs")
    if inputs is None:
        return str(asked.get("prompt", ""))
    words = (inputs.get(name) for name in ("prompt", "input_prompt", "text"))
    return next((word for word in words if isinstance(word, str)), str(asked["model"]))


def text_of(output: Mapping[str, Any] | None) -> str | None:
    """Return what was made where that is no file, as people read it."""
    if output is None:
        return None
    if "text" in output:
        return str(output["text"])
    return json.dumps(output["values"], indent=2, ensure_ascii=False)


def _bill(row: BatchView) -> list[Line]:
    """Return what a batch costs, line by line."""
    if not row.is_final:
        return [Line("Price, at most", row.price_amount, is_total=True)]
    if not was_paid(row):
        return [Line("Price", row.price_amount), Line("Total", 0, is_total=True)]
    lines = [Line("Paid", row.price_amount)]
    if row.charged_amount < row.price_amount:
        lines.append(Line("Not delivered", row.price_amount - row.charged_amount))
    return [*lines, Line("Total", row.charged_amount, is_total=True)]


def _asked(items: Sequence[ItemView]) -> dict[str, Any] | None:
    """Return what was asked for, where it is one thing; its first, where those are many."""
    if not items:
        return None
    asked = items[0].asked
    others = len({_prompt(item.asked) for item in items}) - 1
    return {
        "prompt": _prompt(asked),
        "others": others,
        "model": asked["model"],
        "is_tool": "inputs" in asked,
        "width": asked.get("width", 0),
        "height": asked.get("height", 0),
        "seconds": asked.get("duration_ms", 0) // 1_000,
    }


def _again(items: Sequence[ItemView], row: BatchView) -> dict[str, str] | None:
    """Return the fields of the studio's form that would ask for the same again."""
    if not items or not row.is_final or row.forgotten_at or "inputs" in items[0].asked:
        return None
    asked = items[0].asked
    return {
        "prompt": asked["prompt"],
        "model": asked["model"],
        "count": str(row.items),
        "kind": "video" if asked["duration_ms"] else "image",
    }
