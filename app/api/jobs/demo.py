"""The demo: one short answer of the agent for nothing, a few an hour for each caller.

The house pays its cost, up to what the operator gives away on one day.
"""

from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.body import json_response
from app.http.fields import Body, RequestText
from app.http.query import parse_query
from app.http.throttle import Rule


class Demo(Body):
    """GET /api/demo?request=…"""

    request: RequestText


async def demo(request: Request) -> Response:
    """GET /api/demo: what the agent makes of a request, or why it declines it."""
    house = house_of(request)
    throttle = house.throttle
    await throttle.look(request, Rule.DEMO)  # told with every answer, also with those that are free
    asked = parse_query(request, Demo)
    if request.method == "HEAD":  # asks what a GET would say, and must cost nothing
        return json_response({})
    bill = await house.demos.bill(asked.request)
    async with throttle.turn(request, Rule.DEMO):
        said = await house.demos.answer(asked.request, bill)
    return json_response(said)
