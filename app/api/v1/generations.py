"""A run of a tool: bought by the call, by an account's balance or by a session; and how it stands.

One run is a batch of one: what is paid, charged and given back is that batch's.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.api import buying
from app.api.buying import Bought, Counter, Wish
from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.dialect import V1_EXECUTE
from app.http.fields import Body, MaxSats, is_id, path_id, wait_of
from app.http.generation_status import FINAL, estimate, generation
from app.http.links import base_url
from app.http.throttle import Rule
from app.http.tool_shapes import unknown_tool
from app.refusal import Refusal, Why, unavailable
from app.trade.batches import Order, line_of
from app.trade.catalogue import Listed, Surface
from db import items
from db.batches import Mark
from db.webhooks import NewWebhook
from statemachine.batch import BatchState
from statemachine.notice import Topic
from statemachine.owner import Owner, OwnerKind
from statemachine.public_id import public_id

PATH: Final = "/api/v1/generations/status/"
COUNTER: Final = Counter("One run of a tool.", PATH, V1_EXECUTE, Rule.CREATE, True)
MOST_BYTES: Final = 8 * 1024 * 1024  # of a body: pictures may stand in it
MOST_AT_ONCE: Final = 100  # runs whose status is asked for in one request
ACCEPTED: Final = "Your request has been accepted and is being processed."
CLOSED_S: Final = 60


class Delivery(Body):
    """Who is told of a run's end, in place of polling."""

    mode: Literal["webhook"]
    url: Annotated[str, Field(min_length=1, max_length=2_000)]
    secret: Annotated[str, Field(min_length=1, max_length=500)] | None = None


class Execute(Body):
    """POST /api/v1/generations/execute. The tool's own schema judges its inputs."""

    tool_id: Annotated[str, Field(alias="toolId", min_length=1, max_length=80)]
    inputs: dict[str, Any] = Field(default_factory=dict)
    refund_to: Annotated[str, Field(min_length=1)] | None = Field(None, alias="refundTo")
    max_sats: MaxSats | None = Field(None, alias="maxSats")
    delivery: Delivery | None = None


class Statuses(Body):
    """POST /api/v1/generations/status."""

    ids: Annotated[list[str], Field(alias="generationIds", min_length=1, max_length=MOST_AT_ONCE)]


async def execute(request: Request) -> Response:
    """POST /api/v1/generations/execute: 402 with the price, or 202 with what was bought."""
    house, body = house_of(request), await read_body(request, most_bytes=MOST_BYTES)
    asked = parse(body, Execute)
    listed = open_tool(house, asked.tool_id)
    line = line_of(listed.offering, Surface.TOOLS, asked.inputs, house.new_id())
    refund_to = house.refunds.destination_of(asked.refund_to).text if asked.refund_to else None
    offering = listed.offering
    payer = house.throttle.payer(request)
    webhook = await _webhook(request, house, asked)
    tools = (offering.id,)
    order = Order(
        [line], payer, offering.kind, refund_to, tools, webhook=webhook, max_sats=asked.max_sats
    )
    plain = asked.model_dump(mode="json", by_alias=True, exclude_none=True)
    bought = await buying.buy(request, house, COUNTER, Wish(order, plain, body))
    if not isinstance(bought, Bought):
        return bought
    made = await _accepted(house, bought.batch_id, asked)
    soon_s = str(made["estimatedDurationSeconds"])
    where = {"Location": f"{PATH}{bought.batch_id}", "Retry-After": soon_s}
    return await buying.answer(request, house, bought, made, 202, where)


def open_tool(house: House, tool_id: str) -> Listed:
    """Return a tool that can be run now; refuse with 404 one that isn't there, with 503 one that
    nobody makes here."""
    listed = house.catalogue.tool(tool_id)
    if listed is None:
        raise unknown_tool(tool_id)
    if not listed.is_open:
        raise unavailable(
            Why.NO_AGENT,
            f"The tool '{tool_id}' isn't available. {listed.why_closed} Nothing was charged.",
            CLOSED_S,
        )
    return listed


async def _webhook(request: Request, house: House, asked: Execute) -> NewWebhook | None:
    """Return whom a run's end is to be told to. Raises BadInput."""
    if asked.delivery is None:
        return None
    holder = await house.callers.account(request)
    return house.webhooks.ask(
        asked.delivery.url,
        asked.delivery.secret,
        Topic.GENERATION,
        facts={"toolId": asked.tool_id},
        account_id=holder.account_id if holder else None,
        base=base_url(request, house.settings.public_url),
    )


async def _accepted(house: House, batch_id: str, asked: Execute) -> dict[str, Any]:
    """Return what is said of a run that is paid for."""
    typical = (await house.runtimes.of([asked.tool_id]))[asked.tool_id]
    made = {
        "generationId": batch_id,
        "toolId": asked.tool_id,
        "status": "processing",
        **estimate(typical),
        "message": ACCEPTED,
    }
    if asked.delivery is None:
        return made
    # A secret that was made here is shown once: whoever receives the notices needs it.
    shown = await house.webhooks.shown(Owner(OwnerKind.BATCH, batch_id))
    made |= {"status": "accepted", "runId": f"run_{public_id(batch_id)[:12]}"}
    return made | {"delivery": {"mode": asked.delivery.mode, "url": asked.delivery.url} | shown}


async def status(request: Request) -> Response:
    """GET /api/v1/generations/status/{id}: where a run stands; `wait` holds the answer open."""
    house, generation_id = house_of(request), path_id(request, _unknown)
    wait_s = wait_of(request)
    if wait_s:
        await _until_ended(request, house, generation_id, wait_s)
    shape = await _shown(request, house, generation_id)
    if shape is None:
        raise _unknown()
    headers = {} if shape["status"] in FINAL else {"Retry-After": "1"}
    return json_response(shape, 200, headers)


async def statuses(request: Request) -> Response:
    """POST /api/v1/generations/status: several at once. Those that aren't known say so."""
    house = house_of(request)
    asked = parse(await read_body(request), Statuses)
    shown = []
    for each in dict.fromkeys(asked.ids):
        shape = await _shown(request, house, each) if is_id(each) else None
        shown.append(shape or {"generationId": each[:80], "status": "failed", "error": NOT_FOUND})
    return json_response({"generations": shown})


NOT_FOUND: Final = {"code": "NOT_FOUND", "message": "There is no generation with this id."}


def _unknown() -> Refusal:
    return Refusal(Why.UNKNOWN, NOT_FOUND["message"])


async def _shown(request: Request, house: House, generation_id: str) -> dict[str, Any] | None:
    """Return a run to whoever may read it, by the id of its batch or of its item."""
    item_id = None
    row = await house.batches.show(generation_id)
    if row is None:
        batch_id = await items.batch_of(house.db, generation_id)
        row = await house.batches.show(batch_id) if batch_id is not None else None
        item_id = generation_id
    if row is None or not await house.callers.may_read(request, row.account_id):
        return None
    item = (
        await items.get(house.db, row.id, item_id)
        if item_id is not None
        else next(iter(await house.batches.page(row.id, 0, 1)), None)
    )
    if item is None:
        return None
    typical = (await house.runtimes.of([item.lane]))[item.lane]
    base = base_url(request, house.settings.public_url)
    return generation(generation_id, row, item, typical, base)


async def _until_ended(request: Request, house: House, batch_id: str, wait_s: int) -> None:
    """Wait until a run has ended, or as long as its caller waits."""
    row = await house.batches.show(batch_id)
    if row is None or not await house.callers.may_read(request, row.account_id):
        return
    if row.state in (BatchState.QUEUED, BatchState.PROCESSING):

        def goes_on(mark: Mark) -> bool:
            return not mark.is_final

        await house.waiting.for_mark(batch_id, goes_on, wait_s)
