"""A worker itself: registered, read, changed, paid; and what work pays."""

from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.advance.workers import Change
from app.api.workers.shapes import claim_shape, rate_shape, standing_shape, worker_shape
from app.api.workers.tokens import worker_of
from app.house import house_of
from app.http.body import json_response, parse, read_body
from app.http.fields import Body, name_of
from app.http.throttle import Rule
from app.plain_text import odd_in
from app.strict_json import BadInput
from app.trade.lending import LONGEST_WAIT_S, Asked
from pricing.money import sats_to_msat
from statemachine import worker as law

KEEP = "Keep the token: it is shown this once."
MOST_NAMED, MOST_MODELS = 64, 64
MOST_PIXELS, MOST_VRAM_GB, MOST_AT_ONCE = 8_192 * 8_192, 10_000, 8
MOST_SATS = 100_000_000
EVENTS: dict[str, law.Resumed | law.Drained | law.Paused] = {
    "online": law.Resumed(),
    "draining": law.Drained(),
    "paused": law.Paused(),
}
Named = Annotated[str, Field(min_length=1, max_length=MOST_NAMED)]
To = Annotated[str, Field(min_length=3, max_length=2_000)]
Model = Annotated[str, Field(min_length=1, max_length=80)]


class Register(Body):
    """POST /api/v1/workers."""

    name: Named
    pay_to: To = Field(alias="payTo")


class ChangeWorker(Body):
    """PATCH /api/v1/workers/me."""

    name: Named | None = None
    pay_to: To | None = Field(None, alias="payTo")
    state: Literal["online", "draining", "paused"] | None = None


class ClaimItems(Body):
    """POST /api/v1/workers/claims."""

    models: Annotated[list[Model], Field(min_length=1, max_length=MOST_MODELS)]
    most_pixels: Annotated[int, Field(ge=1, le=MOST_PIXELS)] = Field(alias="maxPixels")
    vram_gb: Annotated[int, Field(ge=0, le=MOST_VRAM_GB)] = Field(0, alias="vramGb")
    most: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = 1
    wait: Annotated[int, Field(ge=0, le=LONGEST_WAIT_S)] = 0


class PayOut(Body):
    """POST /api/v1/workers/me/payouts."""

    amount_sats: Annotated[int, Field(ge=1, le=MOST_SATS)] | None = Field(None, alias="amountSats")


def _plain(name: str) -> str:
    odd = odd_in(name)
    if odd:
        raise BadInput(f"The field 'name' holds the character {odd}, which is not text.")
    if not name.strip():
        raise BadInput("The field 'name' is empty.")
    return name.strip()


async def register(request: Request) -> Response:
    """POST /api/v1/workers: 201 with a new worker, and its token, which is shown once."""
    house = house_of(request)
    await house.throttle.count(request, Rule.ACCOUNT)
    asked = parse(await read_body(request), Register)
    to = house.refunds.destination_of(asked.pay_to)
    made = await house.lending.register(_plain(asked.name), to.text)
    return json_response({**worker_shape(made.row), "token": made.token, "message": KEEP}, 201)


async def me(request: Request) -> Response:
    """GET /api/v1/workers/me: where the worker stands. PATCH: the same, once it is changed."""
    house = house_of(request)
    worker = await worker_of(request, house)
    if request.method == "PATCH":
        asked = parse(await read_body(request), ChangeWorker)
        to = house.refunds.destination_of(asked.pay_to) if asked.pay_to is not None else None
        change = Change(
            name=_plain(asked.name) if asked.name is not None else None,
            pay_to=to.text if to is not None else None,
            event=EVENTS[asked.state] if asked.state is not None else None,
        )
        await house.lending.change(worker, change)
    return json_response(standing_shape(await house.lending.standing(worker)))


async def claims(request: Request) -> Response:
    """POST /api/v1/workers/claims: 200 with what the worker holds from now on, or why nothing."""
    house = house_of(request)
    worker = await worker_of(request, house)
    asked = parse(await read_body(request), ClaimItems)
    wish = Asked(tuple(asked.models), asked.most_pixels, asked.vram_gb, asked.most, asked.wait)
    given = await house.lending.claim(worker, wish, request.is_disconnected)
    no_match = [
        {
            "reason": each.reason.value,
            "message": each.sentence,
            **({"model": each.model} if each.model is not None else {}),
        }
        for each in given.no_match
    ]
    shape = {"leases": [claim_shape(claim) for claim in given.claims], "noMatch": no_match}
    return json_response(shape)


async def payouts(request: Request) -> Response:
    """POST /api/v1/workers/me/payouts: 201; so much of the pay is on its way."""
    house = house_of(request)
    worker = await worker_of(request, house)
    await house.throttle.count(request, Rule.DESTINATION)
    body = await read_body(request)
    asked = parse(body, PayOut)
    amount_msat = sats_to_msat(asked.amount_sats) if asked.amount_sats is not None else None
    name = name_of(request, f"worker:{worker.id}", body)
    await house.lending.pay_out(worker, amount_msat, name)
    return json_response(standing_shape(await house.lending.standing(worker)), 201)


async def market(request: Request) -> Response:
    """GET /api/v1/workers/market: the median pay and time of an item, by model, of the last day."""
    house = house_of(request)
    return json_response({"rates": [rate_shape(rate) for rate in await house.lending.rates()]})
