"""The first page: what this is, a free demo, and a form to buy a job with."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.agents.agent import EASY_QUESTION
from app.api.jobs.jobs import CreateJob
from app.house import House, house_of
from app.http.body import parse
from app.http.links import base_url
from app.http.throttle import Rule
from app.refusal import Refusal
from app.strict_json import BadInput
from app.trade.orders import Order
from app.web.fiat import rate_now
from app.web.forms import name_in, read_form
from app.web.page import page, render, see
from app.web.troubles import Trouble, WrongField, at, trouble_of
from pricing.money import sats_to_msat

SIZES = (("a question", 80), ("a paragraph", 800), ("two pages", 6_000))  # characters
FIELDS = ("request", "maxSats", "refundTo", "amount", "demo")
MOST_SATS = 100_000_000
LIMIT = "The spending limit must be a whole number of sats, from 1 to 100,000,000."


@page
async def show(request: Request) -> Response:
    """GET /."""
    return await shown(request, {})


@page
async def estimate(request: Request) -> Response:
    """POST /estimate: the same page, with what the request would cost."""
    house = house_of(request)
    given = await read_form(request)
    try:
        async with house.throttle.turn(request, Rule.ESTIMATE):
            asked = asked_of(given)
            fee_msat, quote = await house.till.firm(asked.request)
    except (BadInput, Refusal) as refused:
        return await shown(request, given, trouble_of(refused, "buy"))
    return await shown(request, given, estimated=(fee_msat, quote.total_msat))


@page
async def buy(request: Request) -> Response:
    """POST /jobs: a new job, and on to its page. The same form sent twice is one job."""
    house = house_of(request)
    given = await read_form(request)
    try:
        async with house.throttle.turn(request, Rule.CREATE):
            asked = asked_of(given)
            await house.throttle.weigh(request, len(asked.request.encode()))
            max_msat = sats_to_msat(asked.max_sats) if asked.max_sats else None
            with at("refundTo"):
                refund_to = (
                    house.refunds.destination_of(asked.refund_to).text if asked.refund_to else None
                )
            name = name_in(request, given)
            row = await house.orders.place(
                Order(asked.request, max_msat, refund_to, house.throttle.payer(request)), name
            )
    except (BadInput, Refusal) as refused:
        return await shown(request, given, trouble_of(refused, "buy"))
    return see(f"/jobs/{row.owner_id}")


def asked_of(given: dict[str, str]) -> CreateJob:
    """Return what a form asks for, or raise WrongField."""
    values: dict[str, Any] = {"request": given.get("request", "")}
    limit = limit_of(given)
    if limit is not None:
        values["maxSats"] = limit
    if given.get("refundTo"):
        values["refundTo"] = given["refundTo"]
    with at("request"):
        return parse(orjson.dumps(values), CreateJob)


def limit_of(given: dict[str, str]) -> int | None:
    """Return the spending limit of a form, None where it names none, or raise WrongField."""
    limit = given.get("maxSats", "").replace(",", "")
    if not limit:
        return None
    if not (limit.isdecimal() and limit.isascii() and len(limit) <= 9):
        raise WrongField("maxSats", LIMIT)
    if not 1 <= int(limit) <= MOST_SATS:
        raise WrongField("maxSats", LIMIT)
    return int(limit)


async def shown(
    request: Request,
    given: dict[str, str],
    wrong: Trouble | None = None,
    estimated: tuple[int, int] | None = None,
) -> Response:
    """Return the page, with what was filled in already and what is wrong with it."""
    house = house_of(request)
    settings = house.settings
    return render(
        request,
        "home.html",
        given={field: given.get(field, "") for field in FIELDS},
        key=house.new_id(),
        wrong=wrong,
        estimated=estimated,
        prices=await prices(house),
        rate=await rate_now(house),
        demos=settings.demo_per_hour if settings.free_sats_per_day else 0,
        demo_question=EASY_QUESTION,
        demo_model=house.demos.model,
        base=base_url(request, house.settings.public_url) or "https://…",
    )


async def prices(house: House) -> dict[str, Any] | None:
    """Return what requests of some sizes cost at most; None while there is no bitcoin price."""
    try:
        lines = []
        for name, characters in SIZES:
            fee_msat, quote = await house.till.firm("x" * characters)
            lines.append((name, characters, fee_msat, quote.total_msat))
    except Refusal:
        return None
    return {"lines": lines, "price": quote.price, "model": quote.model}
