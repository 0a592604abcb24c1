"""The operator's pages: what happens, what was earned, what is owed, and what needs a person."""

from starlette.requests import Request
from starlette.responses import Response

from app.advance import Applied
from app.house import House, house_of
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.web.cookies import token_of
from app.web.forms import check_origin
from app.web.operator_door import COOKIE, PATH, admitted, closed, operator_form
from app.web.page import page, render, see
from app.web.plot import ENDS, hours_of, plot
from app.web.troubles import Trouble, WrongField, trouble_of
from db import overview, switches
from db.overview import Group
from db.payouts import PayoutRow
from db.promises import TryAgain
from pricing.oracle import PriceUnavailable
from statemachine.entries import Asset
from statemachine.payout import PayoutState
from statemachine.public_id import concealed
from statemachine.routing import is_nearly_given

HOURS = 48
NOT_HANDED_OVER = (
    "This payout hasn’t been handed to the wallet yet: it waits for its turn, and is sent"
    " automatically when payouts go on."
)


@page
async def show(request: Request) -> Response:
    """GET /operator."""
    if not admitted(request):
        return closed(request)
    return await _shown(request)


@page
async def books(request: Request) -> Response:
    """GET /operator/books: the trial balance, recomputed from every posting just now."""
    if not admitted(request):
        return closed(request)
    groups, review = await house_of(request).overseeing.trial_balance()
    sums = {
        asset: sum(line.kind.sign * line.recomputed for line in lines)
        for asset, lines in _by_asset(groups).items()
    }
    return render(
        request,
        "operator_books.html",
        books=_by_asset(groups),
        sums=sums,
        mismatched=sum(line.wrong for line in groups),
        review=review,
        csrf=token_of(request, COOKIE),
    )


@page
async def act(request: Request) -> Response:
    """POST /operator/payouts: try one again, send it elsewhere, or ask the rail about it."""
    check_origin(request)
    given = await operator_form(request)
    try:
        await _act(house_of(request), given)
    except (BadInput, Refusal) as refused:
        return await _shown(request, trouble_of(refused, "payouts"))
    return see(f"{PATH}#payouts")


@page
async def switch(request: Request) -> Response:
    """POST /operator/switches: stop or resume selling, or paying out."""
    check_origin(request)
    given = await operator_form(request)
    house, to = house_of(request), given.get("to")
    try:
        name = switches.Name(given.get("switch", ""))
    except ValueError:
        return await _shown(request, Trouble("page", "There is no such switch.", status=404))
    if to not in ("on", "off"):
        return await _shown(request, Trouble("page", "A switch is turned on or off.", status=409))
    await house.overseeing.turn(name, to == "on")
    return see(PATH)


async def _act(house: House, given: dict[str, str]) -> None:
    row = await house.overseeing.payout(given.get("payout", ""))
    if row is None:
        raise Refusal(Why.UNKNOWN, "There is no such payout.")
    match given.get("act"):
        case "ask" if row.state is PayoutState.IN_FLIGHT:
            await _ask(house, row)
        case "retry" if row.refund_to:
            await _redirect(house, row, row.refund_to)
        case "redirect":
            await _redirect(house, row, given.get("to", ""))
        case _:
            raise Refusal(
                Why.NOT_POSSIBLE_NOW, "This can’t be done with this payout in its present state."
            )


async def _ask(house: House, row: PayoutRow) -> None:
    """Ask the rail about what it was handed. What waits for its turn is left in its lane."""
    try:
        asked = await house.refunds.ask(row)
    except TryAgain as not_yet:
        raise Refusal(Why.NOT_POSSIBLE_NOW, NOT_HANDED_OVER) from not_yet
    if not asked:
        raise Refusal(Why.NOT_POSSIBLE_NOW, NOT_HANDED_OVER)


async def _redirect(house: House, row: PayoutRow, refund_to: str) -> None:
    try:
        told = await house.refunds.redirect(row, refund_to)
    except BadInput as bad:
        raise WrongField(f"to-{concealed(row.id)}", str(bad)) from bad
    if not isinstance(told, Applied):
        raise Refusal(
            Why.REFUND_IN_FLIGHT, "This payout is on its way or has arrived, and is not sent twice."
        )


async def _shown(request: Request, wrong: Trouble | None = None) -> Response:
    house = house_of(request)
    first = overview.first_hour(house.clock(), HOURS)
    glance = await house.overseeing.glance(first)
    hours = hours_of(glance.tallies, first, HOURS)
    price = glance.price
    return render(
        request,
        "operator.html",
        wrong=wrong,
        hours=hours,
        ends=ENDS,
        plot=plot(hours),
        open_jobs=glance.open_jobs,
        sheet=glance.sheet,
        usdc=glance.usdc,
        unclaimed=glance.unclaimed,
        gone=glance.gone,
        refunds_from=glance.refunds_from,
        watched=glance.watched,
        waiting=glance.waiting,
        notices=glance.notices,
        promises=glance.promises,
        price=None if isinstance(price, PriceUnavailable) else price,
        no_price=price.reason if isinstance(price, PriceUnavailable) else "",
        sources=glance.sources,
        ending=glance.ending,
        review=glance.review,
        switches=[(name.value, on) for name, on in glance.switches.items()],
        routing_msat=glance.routing_msat,
        routing_most_msat=glance.routing_most_msat,
        routing_alarm=is_nearly_given(glance.routing_msat, glance.routing_most_msat),
        routing_payers=glance.routing_payers,
        rail=glance.rail,
        push_is_up=glance.push_is_up,
        fleet=glance.fleet,
        csrf=token_of(request, COOKIE),
    )


def _by_asset(groups: list[Group]) -> dict[Asset, list[Group]]:
    """Return the lines of the books in each asset: msat always, another where there is one."""
    kept = {line.asset for line in groups} | {Asset.MSAT}
    return {a: [line for line in groups if line.asset == a] for a in Asset if a in kept}
