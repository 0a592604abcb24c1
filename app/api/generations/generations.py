"""One image or one film by the call, and where it stands (the generations API)."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from app.api import buying, polling
from app.api.buying import Bought, Counter, Wish
from app.api.notifying import Notify, shown, webhook_of_caller
from app.api.polling import LEAST_RETRY_S, Look
from app.house import house_of
from app.http.batch_status import GENERATION_STATES, as_told, maker_shape
from app.http.body import parse, read_body
from app.http.dialect import GENERATIONS
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.trade.batches import Order, line_of
from app.trade.catalogue import Kind, Surface
from statemachine.batch import BatchState
from statemachine.notice import Topic
from statemachine.owner import OwnerKind

PATH: Final = "/v1/generations/"
COUNTERS: Final = {
    Kind.IMAGE: Counter("One image from text.", PATH, GENERATIONS, Rule.CREATE, False),
    Kind.VIDEO: Counter("One film from text.", PATH, GENERATIONS, Rule.CREATE, False),
}


class Generation(BaseModel):
    """POST /v1/images/generate and /v1/videos/generate: what else there is, the model's own
    schema judges."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: Annotated[str, Field(min_length=1)]
    refund_to: Annotated[str, Field(min_length=1)] | None = Field(None, alias="refundTo")
    notify: Notify | None = None


async def image(request: Request) -> Response:
    """POST /v1/images/generate: 402 with the price, or 202 with what was bought."""
    return await _generate(request, Kind.IMAGE)


async def video(request: Request) -> Response:
    """POST /v1/videos/generate: 402 with the price, or 202 with what was bought."""
    return await _generate(request, Kind.VIDEO)


async def _generate(request: Request, kind: Kind) -> Response:
    house, body = house_of(request), await read_body(request)
    asked = parse(body, Generation)
    listed = house.catalogue.find(asked.model, Surface.GENERATIONS, kind)
    if listed is None or not listed.is_open:
        here = ", ".join(
            each.offering.id for each in house.catalogue.listed(Surface.GENERATIONS, kind)
        )
        raise BadInput(
            f"The model {asked.model[:60]!r} isn't available here for {kind}s. Available:"
            f" {here or 'none'}."
        )
    fields: dict[str, Any] = dict(asked.model_extra or {})
    line = line_of(listed.offering, Surface.GENERATIONS, fields, house.new_id())
    refund_to = house.refunds.destination_of(asked.refund_to).text if asked.refund_to else None
    webhook = await webhook_of_caller(request, house, asked.notify, Topic.BATCH)
    order = Order([line], house.throttle.payer(request), kind, refund_to, webhook=webhook)
    plain = asked.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"notify"})
    maker = maker_shape(listed)
    bought = await buying.buy(request, house, COUNTERS[kind], Wish(order, plain, body, maker))
    if not isinstance(bought, Bought):
        return bought
    row = await house.batches.show(bought.batch_id)
    state = BatchState.QUEUED if row is None else as_told(row)
    made = {
        "id": bought.batch_id,
        "status": GENERATION_STATES[state],
        **maker,
        **await shown(house, asked.notify, OwnerKind.BATCH, bought.batch_id),
    }
    headers = {"Location": f"{PATH}{bought.batch_id}", "Retry-After": str(LEAST_RETRY_S)}
    return await buying.answer(request, house, bought, made, 202, headers)


async def show(request: Request) -> Response:
    """GET /v1/generations/{id}: where it stands, and where its file is."""
    shapes = house_of(request).batch_shapes
    try:
        return await polling.look(request, Look("generation", shapes.generation))
    except Refusal as refused:
        if refused.why is not Why.UNKNOWN:
            raise
        raise Refusal(Why.UNKNOWN, "Generation not found") from None
