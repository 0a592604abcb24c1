"""Images and films by the job, up to five hundred at once (the bulk API)."""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from app.api import buying, polling
from app.api.buying import Bought, Counter, Wish
from app.api.notifying import Notify, shown, webhook_of_caller
from app.api.polling import Look
from app.house import House, house_of
from app.http.batch_status import PLURALS, kind_of, maker_shape, unknown_batch
from app.http.body import json_response, parse, read_body
from app.http.claims import ClaimRefund, answer_claim
from app.http.dialect import AGENT_JOBS
from app.http.downloads import download
from app.http.fields import Body, MaxSats, path_id
from app.http.previews import no_preview, preview
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.trade.batches import Line, Order, line_of
from app.trade.catalogue import Kind, Listed, Surface
from app.trade.inputs import with_defaults
from db import items
from pricing.money import MicroUsd, msat_to_sats, usd_number
from statemachine.batch import MOST_ITEMS
from statemachine.item import ItemState
from statemachine.notice import Topic
from statemachine.owner import OwnerKind

CURRENCY: Final = "USDC"
DEFAULTS: Final = {Kind.IMAGE: "seedream-v4", Kind.VIDEO: "grok-imagine-text-to-video"}
PATH: Final = "/api/jobs/"
COUNTER: Final = Counter(
    "Images or films from text, as many as were asked for.",
    PATH,
    AGENT_JOBS,
    Rule.SUBMIT,
    True,
    True,
)

Fields = dict[str, Any]


def _of_media(given: object) -> object:
    if given not in tuple(DEFAULTS):
        raise ValueError("The field 'job_type' must be 'image' or 'video'.")
    return given


class Batch(Body):
    """POST /api/jobs and POST /api/jobs/quote, of images or films."""

    job_type: Annotated[Kind, BeforeValidator(_of_media)] = Field(Kind.IMAGE, strict=False)
    defaults: Fields = Field(default_factory=dict)
    images: Annotated[list[Fields], Field(min_length=1, max_length=MOST_ITEMS)]
    refund_to: Annotated[str, Field(min_length=1)] | None = Field(None, alias="refundTo")
    max_sats: MaxSats | None = Field(None, alias="maxSats")
    notify: Notify | None = None


def is_batch(values: Fields) -> bool:
    """Say whether a body asks for images or films, and not for an agent's work."""
    return "images" in values


async def quote(request: Request) -> Response:
    """POST /api/jobs/quote: what a job would cost; free, and nothing is made of it."""
    house = house_of(request)
    async with house.throttle.turn(request, Rule.ESTIMATE):
        asked = parse(await read_body(request), Batch)
        lines = lines_of(house, asked)
        _refund_to(house, asked)  # what the order would be refused for, its quote is refused for
        price = await house.till.price_if_any()
        makers = [
            shape | {"available": await house.availability.is_there(listed)}
            for listed, shape in _makers(house, lines)
        ]
    total = MicroUsd(sum(line.price_microusd for line in lines))
    shape: Fields = {
        "estimatedCost": usd_number(total),
        "itemCount": len(lines),
        "costPerItem": round(usd_number(total) / len(lines), 6),
        "jobType": asked.job_type.value,
        "currency": CURRENCY,
        "makers": makers,
    }
    if price is not None:
        shape["priceSats"] = msat_to_sats(price.to_msat(total))
        shape["btcPriceUsd"] = usd_number(price.microusd_per_btc)
    return json_response(shape)


def _makers(house: House, lines: list[Line]) -> list[tuple[Listed, Fields]]:
    """Return each model that is asked for, with who makes it here."""
    models = dict.fromkeys(line.wanted.model for line in lines)
    listed = [each for model in models if (each := house.catalogue.get(model)) is not None]
    return [(each, {"model": each.offering.id, **maker_shape(each)}) for each in listed]


def _refund_to(house: House, asked: Batch) -> str | None:
    return house.refunds.destination_of(asked.refund_to).text if asked.refund_to else None


async def create(request: Request, body: bytes) -> Response:
    """POST /api/jobs with images: 402 with the price, or 201 with what was bought."""
    house = house_of(request)
    asked = parse(body, Batch)
    lines = lines_of(house, asked)
    payer, refund_to = house.throttle.payer(request), _refund_to(house, asked)
    webhook = await webhook_of_caller(request, house, asked.notify, Topic.BATCH)
    order = Order(lines, payer, asked.job_type, refund_to, webhook=webhook, max_sats=asked.max_sats)
    # Who is told of it is no part of what is bought.
    plain = asked.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"notify"})
    makers = {"makers": [shape for _, shape in _makers(house, lines)]}
    wish = Wish(order, plain, body, makers)
    bought = await buying.buy(request, house, COUNTER, wish)
    if not isinstance(bought, Bought):
        return bought
    made = {
        "jobId": bought.batch_id,
        "estimatedCost": usd_number(wish.price_microusd),
        **makers,
        **await shown(house, asked.notify, OwnerKind.BATCH, bought.batch_id),
    }
    where = {"Location": f"{PATH}{bought.batch_id}"}
    return await buying.answer(request, house, bought, made, 201, where)


def lines_of(house: House, asked: Batch) -> list[Line]:
    """Return the items of a body, each with its model and its price. Raises BadInput."""
    lines: list[Line] = []
    _judge_defaults(house, asked)
    for place, fields in enumerate(asked.images):
        try:
            lines.append(_line(house, asked, fields))
        except BadInput as bad:
            raise BadInput(f"In images[{place}]: {bad}") from None
    return lines


def _judge_defaults(house: House, asked: Batch) -> None:
    """Refuse wrong defaults, also those in whose place each item has a value of its own."""
    if "prompt" in asked.defaults:
        raise BadInput("Each item has a prompt of its own: 'defaults' has none.")
    unused = {
        name: value
        for name, value in asked.defaults.items()
        if all(name in fields for fields in asked.images)
    }
    if not unused:
        return  # each is judged with the items that have it
    model = {"model": asked.images[0]["model"]} if "model" in asked.images[0] else {}
    try:
        listed, given = _listed(house, asked, {**asked.defaults, **model, **unused})
        with_defaults(
            {**listed.offering.inputs[Surface.BULK], "required": ()},
            {name: value for name, value in given.items() if name in unused},
        )
    except BadInput as bad:
        raise BadInput(f"In defaults: {bad}") from None


def _line(house: House, asked: Batch, fields: Fields) -> Line:
    listed, given = _listed(house, asked, {**asked.defaults, **fields})
    return line_of(listed.offering, Surface.BULK, given, house.new_id())


def _listed(house: House, asked: Batch, given: Fields) -> tuple[Listed, Fields]:
    """Return the offering that these fields name, and the others of them. Raises BadInput."""
    given = dict(given)
    model = given.pop("model", DEFAULTS[asked.job_type])
    if not isinstance(model, str):
        raise BadInput("The field 'model' must be a string.")
    listed = house.catalogue.find(model, Surface.BULK, asked.job_type)
    if listed is None or not listed.is_open:
        raise BadInput(
            f"The model {model[:60]!r} isn't available here for {PLURALS[asked.job_type]}. GET"
            " /api/models lists those that are."
        )
    return listed, given


async def models(request: Request) -> Response:
    """GET /api/models: what can be made here, and for how much."""
    house = house_of(request)
    listed = house.catalogue.listed
    images, films = listed(Surface.BULK, Kind.IMAGE), listed(Surface.BULK, Kind.VIDEO)
    return json_response(
        {
            "image": [_image_model(each) | await _who(house, each) for each in images],
            "video": [_video_model(each) | await _who(house, each) for each in films],
        }
    )


async def _who(house: House, listed: Listed) -> Fields:
    available = await house.availability.is_there(listed)
    return {"description": listed.description, **maker_shape(listed), "available": available}


DIEM: Final = 500_000  # micro-USD: in which the document this API follows has its prices
PLATFORM_RATE: Final = MicroUsd(25_000)  # of an image whose price is not told in them
TIER: Final = "standard"


def _image_model(listed: Listed) -> Fields:
    offering = listed.offering
    widest = offering.inputs[Surface.BULK]["properties"]["width"]["maximum"]
    price = offering.item_microusd
    return {
        "id": offering.id,
        "name": offering.name,
        "max_resolution": f"{widest}px",
        "price_diem": None if price == PLATFORM_RATE else price / DIEM,
        "tier": TIER,
        "price": usd_number(price),
    }


def _video_model(listed: Listed) -> Fields:
    offering = listed.offering
    fields = offering.inputs[Surface.BULK]["properties"]
    return {
        "id": offering.id,
        "name": offering.name,
        "durations": fields["duration"]["enum"],
        "resolutions": fields["resolution"]["enum"],
        "aspect_ratios": fields["aspect_ratio"]["enum"],
        "price_per_second": usd_number(offering.second_microusd),
    }


async def show(request: Request) -> Response:
    """GET /api/jobs/{id} of images or films: where each of them stands."""
    return await polling.look(request, Look("bulk", house_of(request).batch_shapes.bulk))


async def cancel(request: Request) -> Response:
    """POST /api/jobs/{id}/cancel: what nobody makes yet is not made, and not charged."""
    house, batch_id = house_of(request), path_id(request, unknown_batch)
    row = await polling.readable(request, house, batch_id)
    await house.batches.cancel(batch_id)
    after = await house.batches.show(batch_id)
    if (row.is_final and not row.called_off) or after is None or not after.called_off:
        raise Refusal(Why.NOT_CANCELLABLE, "This job has ended, so it can't be cancelled.")
    return await show(request)


async def refund(request: Request, asked: ClaimRefund) -> Response:
    """POST /api/jobs/{id}/refund: pay what is owed back to an invoice, or to a destination."""
    house, batch_id = house_of(request), path_id(request, unknown_batch)
    await polling.readable(request, house, batch_id)
    return await answer_claim(house.refunds, batch_id, asked)


async def image(request: Request) -> Response:
    """GET /api/jobs/{id}/images/{item_id}: the file."""
    return await _file(request, Kind.IMAGE)


async def video(request: Request) -> Response:
    """GET /api/jobs/{id}/videos/{item_id}: the file."""
    return await _file(request, Kind.VIDEO)


async def look(request: Request) -> Response:
    """GET /api/jobs/{id}/previews/{item_id}: how an item looks while it is made."""
    house, batch_id = house_of(request), path_id(request, unknown_batch)
    await polling.readable(request, house, batch_id)
    item = await items.get(house.db, batch_id, path_id(request, no_preview, "item_id"))
    return await preview(request, house.artifacts, item)


async def _file(request: Request, kind: Kind) -> Response:
    house = house_of(request)
    batch_id = path_id(request, unknown_batch)
    row = await polling.readable(request, house, batch_id)

    def unknown_item() -> Refusal:
        return Refusal(Why.UNKNOWN, f"This job has no {kind} with this id.")

    item = await items.get(house.db, batch_id, path_id(request, unknown_item, "item_id"))
    if item is None or kind_of(row) is not kind:
        raise unknown_item()
    if item.state is not ItemState.COMPLETED or item.artifact is None:
        raise Refusal(
            Why.UNKNOWN,
            f"There is no file yet: this {kind} is {item.state.value.replace('_', ' ')}.",
            f"Poll GET {PATH}{batch_id}: a file is there once its status is completed.",
        )
    return await download(request, house.artifacts, item.artifact, f"{kind}-{item.place}")
