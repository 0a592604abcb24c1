"""The studio: pictures and films from a prompt, at a price that is known before it is paid.

The kind, the model, the size and the count make the price; the page says it anew at each change.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.trade.batches import Line, Order, line_of
from app.trade.catalogue import Kind, Listed, Surface
from app.web.balance import placed, purse_of
from app.web.batch_words import things
from app.web.fiat import Rate, rate_now
from app.web.forms import read_form
from app.web.page import page, render, see
from app.web.troubles import Trouble, WrongField, at, trouble_of
from pricing.money import MicroUsd, Msat
from statemachine.batch import MOST_ITEMS

FIELDS = ("prompt", "model", "count", "refundTo")
SIZES = {
    (1024, 1024): "Square",
    (1280, 720): "Wide",
    (720, 1280): "Tall",
    (512, 512): "Small",
    (2048, 2048): "Large",
}
COUNT_WANTED, COUNT = "4", f"Enter a whole number, from 1 to {MOST_ITEMS}."
SWITCHES = {"image": Kind.IMAGE, "video": Kind.VIDEO}


@dataclass(frozen=True, slots=True)
class Priced:
    """What a form would cost, and what of."""

    what: str
    total_msat: Msat
    each_microusd: MicroUsd
    rate: Rate


@page
async def show(request: Request) -> Response:
    """GET /studio, with the kind in its query where it isn't pictures."""
    given = {"kind": request.query_params.get("kind", "")}
    return await _shown(request, given)


@page
async def price(request: Request) -> Response:
    """POST /studio/price: the same page with the price of what it holds, or for the other kind."""
    given = await read_form(request)
    return await _shown(request, given, asks=True)


@page
async def buy(request: Request) -> Response:
    """POST /studio: a new batch, and on to its page. The same form sent twice is one batch."""
    house = house_of(request)
    given = await read_form(request)
    try:
        async with house.throttle.turn(request, Rule.SUBMIT):
            lines = lines_of(house, given)
            await house.throttle.weigh(request, len(given["prompt"].encode()))
            to = given.get("refundTo")
            with at("refundTo"):
                refund_to = house.refunds.destination_of(to).text if to else None
            payer = house.throttle.payer(request)
            order = Order(lines, payer, _kind_of(given), refund_to)
            batch_id = await placed(request, order, given)
    except (BadInput, Refusal) as refused:
        return await _shown(request, given, trouble_of(_in_our_words(refused), "buy"))
    return see(f"/jobs/{batch_id}")


def _in_our_words(refused: BadInput | Refusal) -> BadInput | Refusal:
    """Return a refusal as a page says it: of an old form there is no Idempotency-Key to read of."""
    if isinstance(refused, Refusal) and refused.why in (Why.PAID_ALREADY, Why.OFFER_EXPIRED):
        return Refusal(refused.why, "This form was sent before.", "Send it again to buy it again.")
    return refused


def lines_of(house: House, given: dict[str, str]) -> list[Line]:
    """Return the items that a form asks for, or raise WrongField: each with a seed of its own."""
    listed = _model_of(house, given)
    with at("prompt", "Say what you want to see."):
        if not given.get("prompt"):
            raise BadInput("")
    inputs, count = _inputs(given, listed), _count_of(given)
    with at("prompt"):
        return [
            line_of(listed.offering, Surface.BULK, inputs, house.new_id()) for _ in range(count)
        ]


def _model_of(house: House, given: dict[str, str]) -> Listed:
    """Return the offering that a form names, or raise WrongField."""
    found = house.catalogue.find(given.get("model", ""), Surface.BULK, _kind_of(given))
    if found is None or not found.is_open:
        raise WrongField("model", "This model isn’t available here. Choose one of these.")
    return found


def _kind_of(given: dict[str, str]) -> Kind:
    return SWITCHES.get(given.get("kind", ""), Kind.IMAGE)


def _count_of(given: dict[str, str]) -> int:
    count = given.get("count", "").replace(",", "")
    if not (count.isdecimal() and count.isascii() and len(count) <= 3):
        raise WrongField("count", COUNT)
    if not 1 <= int(count) <= MOST_ITEMS:
        raise WrongField("count", COUNT)
    return int(count)


@dataclass(frozen=True, slots=True)
class Choice:
    """A field whose values are chosen among those that a model allows, each with its words."""

    name: str
    label: str
    values: dict[str, str]
    default: str


def choices_of(listed: Listed) -> list[Choice]:
    """Return what is chosen of a model beside its prompt, as its own schema has it."""
    fields = listed.offering.inputs[Surface.BULK]["properties"]
    if listed.offering.kind is Kind.IMAGE:
        width, height = fields["width"], fields["height"]
        sizes = {
            f"{across}x{down}": f"{name}, {across} × {down}"
            for (across, down), name in SIZES.items()
            if across <= width["maximum"] and down <= height["maximum"]
        }
        most = f"{width['maximum']}x{height['maximum']}"
        sizes = sizes or {most: most.replace("x", " × ")}
        return [Choice("size", "Size in pixels", sizes, next(iter(sizes)))]
    lengths, sides, shapes = (fields[name] for name in ("duration", "resolution", "aspect_ratio"))
    return [
        Choice(
            "duration",
            "Length",
            {str(each): f"{each} seconds" for each in lengths["enum"]},
            str(lengths["default"]),
        ),
        Choice(
            "resolution",
            "Shorter side",
            {each: f"{each.rstrip('p')} pixels" for each in sides["enum"]},
            sides["default"],
        ),
        Choice(
            "ratio", "Width to height", {each: each for each in shapes["enum"]}, shapes["default"]
        ),
    ]


def _inputs(given: dict[str, str], listed: Listed) -> dict[str, Any]:
    """Return a form's fields as the offering names them, or raise WrongField."""
    chosen = {}
    for choice in choices_of(listed):
        chosen[choice.name] = given.get(choice.name) or choice.default
        if chosen[choice.name] not in choice.values:
            raise WrongField(choice.name, "Choose one of these.")
    inputs: dict[str, Any] = {"prompt": given.get("prompt", "")}
    if listed.offering.kind is Kind.IMAGE:
        width, _, height = chosen["size"].partition("x")
        return inputs | {"width": int(width), "height": int(height)}
    return inputs | {
        "duration": int(chosen["duration"]),
        "resolution": chosen["resolution"],
        "aspect_ratio": chosen["ratio"],
    }


async def _priced(request: Request, given: dict[str, str]) -> Priced:
    """Return what a form would cost, whatever its prompt. Raises WrongField, Refusal."""
    house = house_of(request)
    lines = lines_of(house, given | {"prompt": given.get("prompt") or "a price"})
    quote = await house.batches.quote(lines)
    what = things(len(lines), kind=_kind_of(given))
    rate = Rate(quote.price, house.clock())
    return Priced(what, quote.total_msat, lines[0].price_microusd, rate)


def _less(away: set[str], each: Listed) -> tuple[bool, bool]:
    return each.offering.id in away, each.stands_in


async def _shown(
    request: Request, given: dict[str, str], wrong: Trouble | None = None, *, asks: bool = False
) -> Response:
    """Return the page with what was filled in, what is wrong with it, and its price."""
    house = house_of(request)
    given = dict(given)
    if given.get("switch") in SWITCHES and given["switch"] != given.get("kind"):
        given |= {"kind": given["switch"], "model": ""}
    kind = _kind_of(given)
    offered = list(house.catalogue.listed(Surface.BULK, kind))
    away = {each.offering.id for each in offered if not await house.availability.is_there(each)}
    filled = {field: given.get(field, "") for field in FIELDS} | {"kind": kind.value}
    filled["count"] = filled["count"] or COUNT_WANTED
    # Chosen is what was, or else what is what it says it is and is made now, where there is such a
    # one.
    by_name = {each.offering.id: each for each in sorted(offered, key=partial(_less, away))}
    chosen = by_name.get(filled["model"]) or next(iter(by_name.values()), None)
    choices = choices_of(chosen) if chosen is not None else []
    for choice in choices:
        value = given.get(choice.name, "")
        filled[choice.name] = value if value in choice.values else choice.default
    filled["model"] = chosen.offering.id if chosen is not None else ""
    priced = None
    if offered and (wrong is None or not wrong.is_field):
        try:
            if asks:
                await house.throttle.count(request, Rule.ESTIMATE)
            priced = await _priced(request, filled)
        except (BadInput, Refusal) as refused:
            if asks or isinstance(refused, Refusal):
                wrong = wrong or trouble_of(refused, "buy")
    return render(
        request,
        "studio.html",
        given=filled,
        kind=kind.value,
        kinds=[each.value for each in Kind if any(house.catalogue.listed(Surface.BULK, each))],
        offered=offered,
        away=away,
        chosen=chosen,
        choices=choices,
        most=MOST_ITEMS,
        priced=priced,
        key=house.new_id(),
        takes_usdc=house.usdc is not None,
        purse=await purse_of(request),
        wrong=wrong,
        rate=await rate_now(house),
        keeps_h=house.settings.artifacts_kept_s // 3_600,
    )
