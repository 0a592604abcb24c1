"""The demo: one short answer of the agent for nothing, a few an hour for each caller.

The house pays its cost, up to what the operator gives away on one day.
"""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.agents.agent import Broke, Rejected
from app.house import House
from app.http.body import json_response
from app.http.fields import Body, RequestText
from app.http.query import parse_query
from app.http.throttle import Rule, Spent
from app.refusal import Refusal, Why
from app.till import Bill
from app.trade import holds as holding
from pricing.quote import Quote, used_msat
from pricing.rates import Usage

BROKE_S = 30  # when to come back after the agent has failed
CLOSED_S = 86_400
SLOW = Broke("The agent did not answer in time.", retryable=True)
BUY = "The same request can be bought with POST /api/jobs."


class Demo(Body):
    """GET /api/demo?request=…"""

    request: RequestText


async def demo(request: Request) -> Response:
    """GET /api/demo: what the agent makes of a request, or why it declines it."""
    house: House = request.app.state.house
    throttle = house.parts.throttle
    await throttle.look(request, Rule.DEMO)  # told with every answer, also with those that are free
    asked = parse_query(request, Demo)
    if request.method == "HEAD":  # asks what a GET would say, and must cost nothing
        return json_response({})
    if not house.parts.settings.free_sats_per_day:
        raise closed()
    bill = await house.till.demo(asked.request)
    async with throttle.turn(request, Rule.DEMO):
        said = await run(house, asked.request, bill)
    return json_response(said)


def closed() -> Refusal:
    """Return the refusal of a house that gives nothing away."""
    return Refusal(
        Why.NOTHING_FREE, "The demo is closed on this server.", BUY, {"Retry-After": str(CLOSED_S)}
    )


async def run(house: House, text: str, bill: Bill) -> dict[str, Any]:
    """Return the demo's answer to a request, at the cost of the house."""
    async with holding.free(house, "demo", bill.ceiling_msat) as held:
        try:
            async with asyncio.timeout(house.parts.settings.agent_timeout_s):
                return await _ask(house, text, bill, held)
        except TimeoutError:
            raise _refusal(SLOW, Refusal) from None


async def _ask(house: House, text: str, bill: Bill, held: holding.Held) -> dict[str, Any]:
    agent = house.parts.agent
    verdict = await agent.judge(text)
    if isinstance(verdict, Broke):
        raise _broken(verdict, held, bill.judging)
    _charge(held, bill.judging, verdict.usage)
    if isinstance(verdict, Rejected):
        return {"result": verdict.reason, "state": "rejected"}
    work = await agent.work(text, min(house.till.demo_tokens, verdict.max_output_tokens))
    if isinstance(work, Broke):
        raise _broken(work, held, bill.working)
    _charge(held, bill.working, work.usage)
    if isinstance(work, Rejected):
        return {"result": work.reason, "state": "rejected"}
    cut = {"truncated": True} if work.cut else {}
    return {"result": work.text, "state": "complete", **cut}


def _charge(held: holding.Held, quote: Quote, usage: Usage) -> None:
    held.charge(held.cost_msat + used_msat(quote, usage))


def _broken(broke: Broke, held: holding.Held, quote: Quote) -> Refusal:
    """Return the refusal of a call that broke. What it has used was paid for."""
    if broke.usage is None:
        return _refusal(broke, Refusal)
    _charge(held, quote, broke.usage)
    return _refusal(broke, Spent)


def _refusal(broke: Broke, kind: type[Refusal]) -> Refusal:
    reason = broke.reason.rstrip(".")
    return kind(
        Why.NO_AGENT,
        f"{reason[:1].upper()}{reason[1:]}.",
        f"Try again in {BROKE_S} seconds. {BUY}",
        {"Retry-After": str(BROKE_S)},
    )
