"""The first page: what this is, a demo for nothing, and a form to buy a job with."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.api.jobs.jobs import CreateJob
from app.house import House
from app.http.body import parse
from app.http.links import base_url
from app.http.throttle import Rule, payer_of
from app.refusal import Refusal
from app.strict_json import BadInput
from app.trade.orders import Order, place
from app.trade.refunds import destination_of
from app.web.forms import name_in, read_form
from app.web.page import page, render, see
from pricing.money import sats_to_msat

SIZES = (("a question", 80), ("a paragraph", 800), ("two pages", 6_000))  # characters
FIELDS = ("request", "maxSats", "refundTo", "amount")


@page
async def show(request: Request) -> Response:
    """GET /."""
    return await shown(request, {})


@page
async def estimate(request: Request) -> Response:
    """POST /estimate: the same page, with what the request would cost."""
    house: House = request.app.state.house
    given = await read_form(request)
    try:
        await house.parts.throttle.count(request, Rule.ESTIMATE)
        asked = asked_of(given)
        fee_msat, quote = await house.firm_price(asked.request)
    except (BadInput, Refusal) as refused:
        return await shown(request, given, refused)
    return await shown(request, given, estimated=(fee_msat, quote.total_msat))


@page
async def buy(request: Request) -> Response:
    """POST /jobs: a new job, and on to its page. The same form sent twice is one job."""
    house: House = request.app.state.house
    given = await read_form(request)
    try:
        await house.parts.throttle.count(request, Rule.CREATE)
        asked = asked_of(given)
        await house.parts.throttle.weigh(request, len(asked.request.encode()))
        max_msat = sats_to_msat(asked.max_sats) if asked.max_sats else None
        refund_to = destination_of(house, asked.refund_to).text if asked.refund_to else None
        name = name_in(request, given)
        row = await place(house, Order(asked.request, max_msat, refund_to, payer_of(request)), name)
    except (BadInput, Refusal) as refused:
        return await shown(request, given, refused)
    return see(f"/jobs/{row['job_id']}")


def asked_of(given: dict[str, str]) -> CreateJob:
    """Return what a form asks for, or raise BadInput as the API does."""
    values: dict[str, Any] = {"request": given.get("request", "")}
    limit = given.get("maxSats", "").replace(",", "")
    if limit:
        if not limit.isdecimal() or len(limit) > 12:
            raise BadInput("The limit must be a whole number of sats.")
        values["maxSats"] = int(limit)
    if given.get("refundTo"):
        values["refundTo"] = given["refundTo"]
    return parse(orjson.dumps(values), CreateJob)


async def shown(
    request: Request,
    given: dict[str, str],
    refused: BadInput | Refusal | None = None,
    estimated: tuple[int, int] | None = None,
) -> Response:
    """Return the page, with what somebody has written already and what was said to it."""
    house: House = request.app.state.house
    settings = house.parts.settings
    status = 200
    if refused is not None:
        status = refused.status
    answer = render(
        request,
        "home.html",
        status,
        given={field: given.get(field, "") for field in FIELDS},
        key=house.parts.new_id(),
        problem=str(refused) if refused else "",
        advice=getattr(refused, "next_step", None) or "",
        estimated=estimated,
        prices=await _prices(house),
        demos=settings.demo_per_hour if settings.free_sats_per_day else 0,
        base=base_url(request) or "https://…",
    )
    if isinstance(refused, Refusal):
        answer.headers.update(refused.headers)
    return answer


async def _prices(house: House) -> dict[str, Any] | None:
    """Return what requests of some sizes cost at most; None while nobody can say."""
    try:
        lines = []
        for name, characters in SIZES:
            fee_msat, quote = await house.firm_price("x" * characters)
            lines.append((name, characters, fee_msat, quote.total_msat))
    except Refusal:
        return None
    return {"lines": lines, "price": quote.price, "model": quote.model}
