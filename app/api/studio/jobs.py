"""One picture by the tier: bought for credits, or by the call; and where it stands.

A job is a batch of one. Whoever knows its UUID may read it: it is a random one (RFC 9562).
"""

from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field, ValidationInfo, field_validator
from starlette.requests import Request
from starlette.responses import Response

from app.api import buying
from app.api.buying import Bought, Counter, Wish
from app.api.notifying import Notify, shown, webhook_of_caller
from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.caller import Holder
from app.http.dialect import IMAGE_JOBS
from app.http.fields import Body, MaxSats, wait_of
from app.http.image_job_shapes import (
    FINAL,
    job_shape,
    most_side,
    path_uuid,
    unknown_job,
    uuid_of,
)
from app.http.key_holders import counted_holder, pays_by_the_call
from app.http.links import base_url
from app.http.throttle import Rule
from app.refusal import Refusal, Why, unavailable
from app.strict_json import BadInput
from app.trade.batches import Line, Order, line_of
from app.trade.catalogue import Kind, Listed, Surface
from app.trade.tiers import DEFAULT_MODEL, DEFAULT_TIER, TIERED, Tier, lane_of, tier_of
from db.batches import BatchView, Mark
from db.items import ItemView
from pricing.money import MicroUsd, credits_down
from statemachine.batch import BatchState
from statemachine.entries import Asset
from statemachine.notice import Topic
from statemachine.owner import OwnerKind

PATH: Final = "/api/v1/jobs/"
COUNTER: Final = Counter("One image from text.", PATH, IMAGE_JOBS, Rule.CREATE, True)
RETRY_S: Final = 2  # when to look at a job again
AWAY_S: Final = 30  # when to come back, while nobody can make a model
OPTIONAL: Final = ("negative_prompt", "width", "height", "seed")
NOT_YET: Final = "The picture isn't ready yet. Ask again."


class CreateJob(Body):
    """POST /api/v1/jobs. The model's own schema judges the rest."""

    prompt: str
    negative_prompt: str | None = None
    model: Annotated[str, Field(min_length=1, max_length=80)] = DEFAULT_MODEL
    tier: Annotated[str, Field(min_length=1, max_length=80)] = DEFAULT_TIER
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    refund_to: Annotated[str, Field(min_length=1)] | None = Field(None, alias="refundTo")
    max_sats: MaxSats | None = Field(None, alias="maxSats")
    notify: Notify | None = None

    @field_validator(*OPTIONAL, "refund_to", mode="before")
    @classmethod
    def _is_said(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            name = "refundTo" if info.field_name == "refund_to" else info.field_name
            raise ValueError(f"The field {name!r} must not be null. Leave it out.")
        return value

    @property
    def inputs(self) -> dict[str, Any]:
        """What the model is asked."""
        names = ("prompt", *OPTIONAL)
        return {name: given for name in names if (given := getattr(self, name)) is not None}


async def create(request: Request) -> Response:
    """POST /api/v1/jobs: 201 with the job; its credits are taken now, or what it costs is paid."""
    house = house_of(request)
    holder = None
    if not pays_by_the_call(request) or await house.callers.account(request) is not None:
        holder = await counted_holder(request, house.callers, house.throttle)
    body = await read_body(request)
    asked = parse(body, CreateJob)
    listed, tier = await _wanted(house, asked)
    order = await _order(request, house, asked, listed, tier)
    plain = asked.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"notify"})
    left = await _credits(house, holder)
    facts = {"credits": left, "credits_needed": tier.credits}
    maker = {"made_by": listed.made_by, "stands_in": listed.stands_in}
    wish = Wish(order, plain, body, facts | maker)
    bought = await buying.buy(request, house, COUNTER, wish)
    if not isinstance(bought, Bought):
        bought.headers["content-type"] = "application/json"  # as all answers of this surface are
        return bought
    row, item = await _seen(house, bought.batch_id)
    base = base_url(request, house.settings.public_url)
    told = await shown(house, asked.notify, OwnerKind.BATCH, row.id)
    made = job_shape(row, item, base) | told
    headers = {"Location": f"{PATH}{uuid_of(row.id)}", "Retry-After": str(RETRY_S)}
    return await buying.answer(request, house, bought, made, 201, headers)


async def _wanted(house: House, asked: CreateJob) -> tuple[Listed, Tier]:
    """Return the model and the tier that are asked for, where somebody can make that now."""
    tiered = TIERED.get(asked.model)
    if tiered is None:
        raise BadInput(f"The field 'model' must be one of: {', '.join(TIERED)}.")
    tier = tiered.tiers.get(asked.tier)
    if tier is None:
        one_of = ", ".join(tiered.tiers)
        raise Refusal(Why.NO_SUCH_TIER, f"The field 'tier' must be one of: {one_of}.")
    listed = house.catalogue.tiered(asked.model)
    side = most_side(tier, listed)
    for name, given in (("width", asked.width), ("height", asked.height)):
        if given is not None and given > side:
            raise Refusal(
                Why.OVER_TIER,
                f"The field '{name}' is {given}, and the tier {tier.name} of {asked.model} allows"
                f" at most {side}.",
            )
    there = await house.availability.of(listed, tiered.tiers)
    if not there.by_tier[tier.name]:
        raise unavailable(
            Why.NO_AGENT,
            f"Nobody can make {asked.model} in the tier {tier.name} just now. Nothing was charged.",
            AWAY_S,
        )
    return listed, tier


async def _order(
    request: Request, house: House, asked: CreateJob, listed: Listed, tier: Tier
) -> Order:
    webhook = await webhook_of_caller(request, house, asked.notify, Topic.BATCH)
    refund_to = house.refunds.destination_of(asked.refund_to).text if asked.refund_to else None
    return Order(
        [_line(house, asked, listed, tier)],
        house.throttle.payer(request),
        Kind.IMAGE,
        refund_to,
        webhook=webhook,
        max_sats=asked.max_sats,
        price_msat=tier.price_msat(house.settings.credit_sats),
        told={"tier": tier.name, "credits": tier.credits},
    )


def _line(house: House, asked: CreateJob, listed: Listed, tier: Tier) -> Line:
    side, steps = most_side(tier, listed), TIERED[asked.model].steps
    inputs = {"width": side, "height": side, "steps": steps, **asked.inputs}
    line = line_of(listed.offering, Surface.STUDIO, inputs, house.new_id())
    price = MicroUsd(listed.offering.item_microusd * tier.credits)
    return replace(line, lane=lane_of(asked.model, tier.name), price_microusd=price)


async def _credits(house: House, holder: Holder | None) -> int:
    if holder is None:
        return 0
    balances = await house.accounts.balances(holder.account_id)
    return credits_down(balances[Asset.MSAT], house.settings.credit_sats)


async def show(request: Request) -> Response:
    """GET /api/v1/jobs/{id}: where a job stands; `wait` holds the answer until it has ended."""
    house, job_id = house_of(request), path_uuid(request)
    row, item = await _ended(house, job_id, wait_of(request))
    shape = job_shape(row, item, base_url(request, house.settings.public_url))
    return json_response(shape, 200, _hint(shape))


async def result(request: Request) -> Response:
    """GET /api/v1/jobs/{id}/result: where the picture is; 202 while there is none yet."""
    house, job_id = house_of(request), path_uuid(request)
    row, item = await _ended(house, job_id, wait_of(request))
    shape = job_shape(row, item, base_url(request, house.settings.public_url))
    if "result_url" in shape:
        return json_response({"result_url": shape["result_url"]})
    if shape["status"] in FINAL:
        raise Refusal(Why.UNKNOWN, f"There is no picture. {shape['error_msg']}", status="failed")
    return json_response({"status": shape["status"], "message": NOT_YET}, 202, _hint(shape))


def _hint(shape: dict[str, Any]) -> dict[str, str]:
    return {} if shape["status"] in FINAL else {"Retry-After": str(RETRY_S)}


async def _seen(house: House, job_id: str) -> tuple[BatchView, ItemView]:
    """Return a job; what was bought of another surface is none."""
    row = await house.batches.show(job_id)
    page = await house.batches.page(job_id, 0, 1) if row and tier_of(row.quote) else []
    if row is None or not page:
        raise unknown_job()
    return row, page[0]


async def _ended(house: House, job_id: str, wait_s: int) -> tuple[BatchView, ItemView]:
    """Return a job as it is once it has ended, or as long as its caller waits."""
    row, item = await _seen(house, job_id)
    if not wait_s or row.state not in (BatchState.QUEUED, BatchState.PROCESSING):
        return row, item

    def goes_on(mark: Mark) -> bool:
        return not mark.is_final

    await house.waiting.for_mark(job_id, goes_on, wait_s)
    return await _seen(house, job_id)
