"""Tools for people: what there is, a form for each, its price, and on to the page of the run."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.trade.batches import Line, Order, run_of
from app.trade.catalogue import Listed
from app.web.balance import placed, purse_of
from app.web.fiat import Rate, rate_now
from app.web.forms import read_form
from app.web.page import page, render, see
from app.web.tool_form import fields_of, inputs_in
from app.web.troubles import Trouble, at, trouble_of
from pricing.money import MicroUsd, Msat

MOST_BYTES = 12 * 1024 * 1024  # of a form: a picture may stand in it


@dataclass(frozen=True, slots=True)
class Priced:
    """What a run would cost."""

    total_msat: Msat
    microusd: MicroUsd
    rate: Rate


@page
async def every(request: Request) -> Response:
    """GET /tools: all that can be run here."""
    house = house_of(request)
    offered = [each for each in house.catalogue.tools() if each.is_open]
    return render(request, "tools.html", offered=offered)


@page
async def show(request: Request) -> Response:
    """GET /tools/{tool_id}: its form."""
    return await _shown(request, dict(request.query_params))


@page
async def price(request: Request) -> Response:
    """POST /tools/{tool_id}/price: the same page with the price of what it holds."""
    return await _shown(request, await read_form(request, MOST_BYTES), asks=True)


@page
async def buy(request: Request) -> Response:
    """POST /tools/{tool_id}: a run, and on to its page. The same form sent twice is one run."""
    house, listed = house_of(request), _tool(request)
    given = await read_form(request, MOST_BYTES)
    try:
        async with house.throttle.turn(request, Rule.SUBMIT):
            line = _line(house, listed, given, sample=False)
            await house.throttle.weigh(request, sum(len(value) for value in given.values()))
            batch_id = await _bought(request, house, listed, line, given)
    except (BadInput, Refusal) as refused:
        return await _shown(request, given, trouble_of(refused, "buy"))
    return see(f"/jobs/{batch_id}")


async def _bought(
    request: Request, house: House, listed: Listed, line: Line, given: dict[str, str]
) -> str:
    """Return the id of the run that a form asks for: paid from a balance, or with its invoice."""
    to, payer = given.get("refundTo"), house.throttle.payer(request)
    with at("refundTo"):
        refund_to = house.refunds.destination_of(to).text if to else None
    offering = listed.offering
    order = Order([line], payer, offering.kind, refund_to, tools=(offering.id,))
    return await placed(request, order, given)


def _tool(request: Request) -> Listed:
    listed = house_of(request).catalogue.tool(request.path_params["tool_id"])
    if listed is None or not listed.is_open:
        raise Refusal(Why.UNKNOWN, "There is no such tool here.", "See all tools at /tools.")
    return listed


def _line(house: House, listed: Listed, given: dict[str, str], *, sample: bool) -> Line:
    inputs = inputs_in(listed.offering, given, sample=sample)
    return run_of(listed.offering, inputs, house.new_id())


async def _priced(house: House, listed: Listed, given: dict[str, str]) -> Priced:
    """Return what a form would cost, whatever is still missing. Raises WrongField, Refusal."""
    line = _line(house, listed, given, sample=True)
    quote = await house.batches.quote([line])
    return Priced(quote.total_msat, line.price_microusd, Rate(quote.price, house.clock()))


async def _shown(
    request: Request, given: dict[str, str], wrong: Trouble | None = None, *, asks: bool = False
) -> Response:
    """Return the page with what was filled in, what is wrong with it, and its price."""
    house, listed = house_of(request), _tool(request)
    offering, priced = listed.offering, None
    if wrong is None or not wrong.is_field:
        try:
            if asks:
                await house.throttle.count(request, Rule.ESTIMATE)
            priced = await _priced(house, listed, given)
        except (BadInput, Refusal) as refused:
            wrong = wrong or trouble_of(refused, "buy")
    typical = (await house.runtimes.of([offering.id]))[offering.id]
    return render(
        request,
        "tool.html",
        listed=listed,
        fields=fields_of(offering, given),
        refund_to=given.get("refundTo", ""),
        priced=priced,
        metered="text" in offering.outputs and offering.costing()["type"] == "tokens",
        typical_s=max(1, round(typical.ms / 1_000)),
        key=house.new_id(),
        purse=await purse_of(request),
        rate=await rate_now(house),
        keeps_h=house.settings.artifacts_kept_s // 3_600,
        wrong=wrong,
    )
