"""A look at a batch, whichever surface it is for: held open if asked to, or told that nothing has
changed, or answered in the surface's words.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.batch_status import Seen, Window, eta_s, unknown_batch
from app.http.fields import path_id, seen_tag, wait_of
from app.http.links import base_url
from app.strict_json import BadInput, dumped
from app.trade.batches import PAGE
from app.watch.remembered import Answer
from db import batches, invoices, items, lanes
from db.batches import BatchView, Mark
from statemachine.batch import MOST_ITEMS, BatchState, invoice_id
from statemachine.payout import PayoutState

LEAST_RETRY_S, MOST_RETRY_S = 2, 10
JSON = "application/json"
# Where a mark tells of all that is shown: an answer is the same until it changes.
TOLD_BY_MARK = frozenset(
    (BatchState.PROCESSING, BatchState.COMPLETED, BatchState.FAILED, BatchState.CANCELLED)
)
MOST_BEFORE = 1_000  # items before one's own that are counted
_DIGITS = re.compile("[0-9]{1,4}")

Shape = Callable[[BatchView, Seen, Window, str | None], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Look:
    """How one surface shows a batch."""

    name: str
    shape: Shape
    most: int = PAGE  # items that are shown where nothing is said of them


async def look(request: Request, how: Look) -> Response:
    """Answer a GET of a batch."""
    house, batch_id = house_of(request), path_id(request, unknown_batch)
    wait_s, window = wait_of(request), window_of(request, how.most)
    asked = seen_tag(request)

    def is_seen(mark: Mark) -> bool:
        # Who knows a mark wants to see the next one; who knows none, where it comes to.
        if asked is not None:
            return _names(asked, tag_of(mark)) and not mark.is_final
        return mark.state in (BatchState.QUEUED, BatchState.PROCESSING)

    mark = await house.waiting.batch_mark(batch_id)
    if mark is None or not await house.callers.may_read(request, mark.account_id):
        raise unknown_batch()
    if wait_s:
        first = mark

        def is_waited_for(seen: Mark) -> bool:
            if first.state is BatchState.AWAITING_PAYMENT and asked is None:
                return seen.state is first.state
            return is_seen(seen)

        mark = await house.waiting.for_mark(batch_id, is_waited_for, wait_s)
    if mark is None:
        raise unknown_batch()
    headers = {"ETag": tag_of(mark)}
    if asked is not None and _names(asked, headers["ETag"]):
        return Response(status_code=304, headers=_hinted(headers, mark, None))
    return await _answer(request, house, how, window, mark, headers)


async def readable(request: Request, house: House, batch_id: str) -> BatchView:
    """Return a batch to whoever may read it; another's is as unknown as one that is not there."""
    row = await house.batches.show(batch_id)
    if row is None or not await house.callers.may_read(request, row.account_id):
        raise unknown_batch()
    return row


async def _answer(
    request: Request,
    house: House,
    how: Look,
    window: Window,
    mark: Mark,
    headers: dict[str, str],
) -> Response:
    batch_id = request.path_params["id"]
    base = base_url(request, house.settings.public_url)
    name = f"{how.name} {batch_id} {window.offset} {window.limit} {base}"
    kept = house.remembered.find(name)
    if kept is not None and kept.tag == headers["ETag"]:
        return Response(kept.body, 200, _hinted(headers, mark, kept.retry_after_s), JSON)
    row, seen = await seen_of(house, batch_id, window)
    owed = any(payout.state is PayoutState.OWED for payout in row.payouts or ())
    body, eta = dumped(how.shape(row, seen, window, base)), eta_s(row, seen.pace)
    if row.state in TOLD_BY_MARK and not owed and mark == await house.waiting.batch_mark(batch_id):
        house.remembered.keep(name, Answer(row.version, body, eta, headers["ETag"]))
    return Response(body, 200, _hinted(headers, mark, eta), JSON)


async def seen_of(house: House, batch_id: str, window: Window) -> tuple[BatchView, Seen]:
    """Return a batch with so many of its items, and what else is known of it."""
    row = await house.batches.show(batch_id)
    if row is None:
        raise unknown_batch()
    page = await items.page(house.db, batch_id, window.offset, window.limit)
    invoice = pace = before = None
    match row.state:
        case BatchState.AWAITING_PAYMENT:
            found = await invoices.get(house.db, invoice_id(batch_id))
            invoice = found.to_pay if found is not None else None
        case BatchState.QUEUED:
            before = await lanes.before(house.db, batch_id, MOST_BEFORE)
        case _:
            pace = await batches.pace(house.db, batch_id)
    return row, Seen(page, invoice, pace, before)


def window_of(request: Request, most: int) -> Window:
    """Return which items a query asks for."""
    return Window(
        _number(request, "offset", 0, 0, MOST_ITEMS), _number(request, "limit", most, 1, MOST_ITEMS)
    )


def _number(request: Request, name: str, default: int, least: int, most: int) -> int:
    if not request.scope["query_string"]:
        return default
    given = request.query_params.getlist(name) or [str(default)]
    if len(given) > 1 or not _DIGITS.fullmatch(given[0]) or not least <= int(given[0]) <= most:
        raise BadInput(f"The parameter {name!r} must be a whole number from {least} to {most}.")
    return int(given[0])


def tag_of(mark: Mark) -> str:
    """Return the ETag of a look: what is being made changes it, though not the batch."""
    if mark.held is None:
        return f'"{mark.version}"'
    return f'"{mark.version}-{hashlib.sha256(mark.held.encode()).hexdigest()[:12]}"'


def _names(asked: str, tag: str) -> bool:
    """Say whether an If-None-Match holds this tag. Proxies that compress make tags weak."""
    return tag in [each.strip().removeprefix("W/") for each in asked.split(",")]


def _hinted(headers: dict[str, str], mark: Mark, eta: int | None) -> dict[str, str]:
    """Say when to look again, where anything more comes."""
    if mark.is_final:
        return headers
    soon = LEAST_RETRY_S if eta is None else max(LEAST_RETRY_S, min(eta, MOST_RETRY_S))
    return {**headers, "Retry-After": str(soon)}
