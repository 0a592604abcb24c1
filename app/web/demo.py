"""The demo as a page: one short answer for nothing, for whoever has no JavaScript."""

from starlette.requests import Request
from starlette.responses import Response

from app.api.jobs.demo import Demo
from app.house import house_of
from app.http.query import parse_query
from app.http.throttle import Rule
from app.refusal import Refusal
from app.strict_json import BadInput
from app.web import home
from app.web.forms import check_origin
from app.web.page import page, render
from app.web.prose import prose
from app.web.troubles import at, trouble_of


@page
async def show(request: Request) -> Response:
    """GET /demo?request=…: what the agent makes of it, or why it declines."""
    house = house_of(request)
    check_origin(request)  # a picture on another site must not use up its visitors' demos
    given = {"demo": request.query_params.get("request", "")}
    model = house.demos.model
    try:
        with at("demo-request"):
            asked = parse_query(request, Demo)
        if request.method == "HEAD":  # asks what a GET would say, and must cost nothing
            return render(request, "demo.html", asked=asked.request, answer=None, demo_model=model)
        bill = await house.demos.bill(asked.request)
        async with house.throttle.turn(request, Rule.DEMO):
            said = await house.demos.answer(asked.request, bill)
    except (BadInput, Refusal) as refused:
        return await home.shown(request, given, trouble_of(refused, "demo-request"))
    answer = {
        "state": said["state"],
        "html": await prose(said["result"]),
        "truncated": said.get("truncated", False),
    }
    return render(request, "demo.html", asked=asked.request, answer=answer, demo_model=model)
