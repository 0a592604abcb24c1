"""Casts: begun and paid for by every door, looked at, resumed and cancelled."""

import hashlib
from dataclasses import replace
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from app.api import buying
from app.api.buying import Bought, Counter, Wish
from app.api.notifying import Notify, shown
from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.dialect import V1_CAST
from app.http.fields import Body, MaxSats, path_id, seen_tag, wait_of
from app.http.links import base_url
from app.http.spell_status import CASTS, cast_shape, is_over
from app.http.throttle import Rule
from app.refusal import LEAST_RETRY_S, Refusal, Why
from app.strict_json import dumped
from app.trade.batches import Order
from db import casts, invoices
from db.batches import BatchView, Mark
from db.casts import CastRow
from db.engine import Duplicate
from payments.public_http import LONGEST_URL
from statemachine.batch import BatchState, invoice_id
from statemachine.cast import CastState, state_of
from statemachine.notice import Topic
from statemachine.owner import OwnerKind

PATH: Final = "/api/v1/spells/casts/"
COUNTER: Final = Counter(
    "A cast of a spell: all of its steps.", PATH, V1_CAST, Rule.SUBMIT, True, True
)
Fields = dict[str, Any]


class Hearing(Body):
    """Where the end of a cast is told."""

    webhook_url: Annotated[str, Field(min_length=1, max_length=LONGEST_URL)] | None = Field(
        None, alias="webhookUrl"
    )
    webhook_secret: str | None = Field(None, alias="webhookSecret")

    @model_validator(mode="after")
    def _secret_of_a_url(self) -> Self:
        if self.webhook_secret is not None and self.webhook_url is None:
            raise ValueError("The field 'webhookSecret' is for a 'webhookUrl'. Add that.")
        return self

    @property
    def notify(self) -> Notify | None:
        """Where the end of the cast is told."""
        if self.webhook_url is None:
            return None
        return Notify(url=self.webhook_url, secret=self.webhook_secret)


class Context(Hearing):
    """What a cast is given."""

    overrides: Fields = Field(default_factory=dict, alias="parameterOverrides")


class Cast(Body):
    """POST /api/v1/spells/cast."""

    slug: Annotated[str, Field(min_length=1, max_length=64)]
    context: Context = Field(default_factory=Context)
    refund_to: Annotated[str, Field(min_length=1)] | None = Field(None, alias="refundTo")
    max_sats: MaxSats | None = Field(None, alias="maxSats")


class Resume(Body):
    """POST /api/v1/spells/casts/{id}/resume."""

    context: Hearing = Field(default_factory=Hearing)
    refund_to: Annotated[str, Field(min_length=1)] | None = Field(None, alias="refundTo")
    max_sats: MaxSats | None = Field(None, alias="maxSats")


async def cast(request: Request) -> Response:
    """POST /api/v1/spells/cast: 402 with the price, or 202 with what was bought."""
    house, body = house_of(request), await read_body(request)
    asked = parse(body, Cast)
    spell = await house.spells.show(asked.slug)
    payer, refund_to = house.throttle.payer(request), _refund_to(house, asked.refund_to)
    order = house.spells.order(spell, asked.context.overrides, payer, refund_to)
    facts = {"spellId": spell.id, "spellSlug": spell.slug}
    order = replace(order, max_sats=asked.max_sats)
    order = await _heard(request, house, order, asked.context, facts)
    out = {"context": {"webhook_url", "webhook_secret"}}  # another receiver is no other cast
    plain = asked.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=out)
    wish = Wish(order, {"cast": plain}, body)
    return await _buy(request, house, wish, None, asked.context)


async def _heard(
    request: Request, house: House, order: Order, hearing: Hearing, facts: dict[str, str]
) -> Order:
    """Return an order whose end is told where its buyer wants. Raises BadInput."""
    notify = hearing.notify
    if notify is None:
        return order
    holder = await house.callers.account(request)
    webhook = house.webhooks.ask(
        notify.url,
        notify.secret,
        Topic.SPELL,
        facts=facts,
        account_id=holder.account_id if holder else None,
        base=base_url(request, house.settings.public_url),
    )
    return replace(order, webhook=webhook)


def _refund_to(house: House, given: str | None) -> str | None:
    return house.refunds.destination_of(given).text if given else None


async def _buy(
    request: Request, house: House, wish: Wish, cast_id: str | None, hearing: Hearing
) -> Response:
    bought = await buying.buy(request, house, COUNTER, wish)
    if not isinstance(bought, Bought):
        return bought
    made: Fields = {"castId": cast_id or bought.batch_id, "status": CASTS[CastState.RUNNING]}
    made |= await shown(house, hearing.notify, OwnerKind.BATCH, bought.batch_id)
    headers = {"Location": f"{PATH}{made['castId']}", "Retry-After": str(LEAST_RETRY_S)}
    return await buying.answer(request, house, bought, made, 202, headers)


def unknown_cast() -> Refusal:
    """Return what is said of a cast that is not there."""
    return Refusal(
        Why.UNKNOWN, "There is no cast with this id. Check it, or cast a spell with POST"
        " /api/v1/spells/cast.",
    )  # fmt: skip


async def readable(request: Request, house: House) -> CastRow:
    """Return a cast to whoever may read it; another's is as unknown as one that is not there."""
    row = await casts.get(house.db, path_id(request, unknown_cast))
    if row is None or not row.batches:
        raise unknown_cast()
    if not await house.callers.may_read(request, row.batches[0].account_id):
        raise unknown_cast()
    return row


async def show(request: Request) -> Response:
    """GET /api/v1/spells/casts/{id}: where it and each of its steps stand."""
    house, wait_s = house_of(request), wait_of(request)
    row = await readable(request, house)
    last, asked = row.batches[-1].id, seen_tag(request)

    def is_seen(mark: Mark) -> bool:
        if asked is not None:
            return asked == _tag(row, mark) and not mark.is_final
        return mark.state in (BatchState.QUEUED, BatchState.PROCESSING)

    mark = await house.waiting.batch_mark(last)
    if mark is not None and wait_s:
        mark = await house.waiting.for_mark(last, is_seen, wait_s)
    if mark is None:
        raise unknown_cast()
    headers = {"ETag": _tag(row, mark)}
    if not mark.is_final:
        headers["Retry-After"] = str(LEAST_RETRY_S)
    if asked is not None and asked == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    row = await casts.get(house.db, row.id) or row
    body = dumped(await shape_of(house, row, base_url(request, house.settings.public_url)))
    return Response(body, 200, headers, "application/json")


def _tag(row: CastRow, mark: Mark) -> str:
    """Return the ETag of a look: what is being made changes it, though not the batch."""
    told = f"{row.batches[-1].id} {mark.version} {mark.held}"
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:16]}"'


async def shape_of(house: House, row: CastRow, base: str | None) -> Fields:
    """Return a cast as its buyer sees it, with the invoice that it waits for."""
    steps = await casts.steps(house.db, row.id)
    seen = [await house.batches.show(batch.id) for batch in row.batches]
    batches: list[BatchView] = [batch for batch in seen if batch is not None]
    shape = cast_shape(row, steps, batches, house.shapes, base)
    if row.batches[-1].state is BatchState.AWAITING_PAYMENT:
        found = await invoices.get(house.db, invoice_id(row.batches[-1].id))
        if found is not None and found.to_pay is not None:
            shape["invoice"] = house.shapes.invoice(found.to_pay)
    return shape


async def resume(request: Request) -> Response:
    """POST /api/v1/spells/casts/{id}/resume: the steps that are missing, for what they cost.

    Of a cast that runs, or is complete, nothing is missing: it is answered as it stands.
    """
    house, body = house_of(request), await read_body(request)
    asked = parse(body or b"{}", Resume)
    row = await readable(request, house)
    payer, refund_to = house.throttle.payer(request), _refund_to(house, asked.refund_to)
    order = await house.spells.resumption(row, payer, refund_to)
    if order is None:
        return await _as_it_stands(house, row)
    facts = {"castId": row.id, "spellId": row.spell_id, "spellSlug": row.slug}
    order = replace(order, max_sats=asked.max_sats)
    order = await _heard(request, house, order, asked.context, facts)
    wish = Wish(order, {"resume": row.id, "after": _ended(row)}, body)
    try:
        return await _buy(request, house, wish, row.id, asked.context)
    except Duplicate:  # somebody else has resumed it, at this moment
        return await _as_it_stands(house, row)


def _ended(row: CastRow) -> str:
    """Return what the last part of a cast was that came to its end: by it a proof is for this one
    resumption, and for no other.
    """
    over = [batch.id for batch in row.batches if batch.was_made]
    return over[-1] if over else ""


async def _as_it_stands(house: House, row: CastRow) -> Response:
    steps = await casts.steps(house.db, row.id)
    state = state_of([step.made for step in steps])
    made = {"castId": row.id, "status": CASTS[state]}
    if state is not CastState.RUNNING:
        return json_response(made)
    return json_response(made, 202, {"Retry-After": str(LEAST_RETRY_S)})


async def cancel(request: Request) -> Response:
    """POST /api/v1/spells/casts/{id}/cancel: what nobody makes yet is not made, nor charged."""
    house = house_of(request)
    row = await readable(request, house)
    if is_over(row):
        raise Refusal(Why.NOT_CANCELLABLE, "This cast has ended, so it can't be cancelled.")
    await house.batches.cancel(row.batches[-1].id)
    after = await casts.get(house.db, row.id) or row
    return json_response(await shape_of(house, after, base_url(request, None)))
