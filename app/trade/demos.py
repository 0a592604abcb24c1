"""The demo: one short answer of the agent, free for the caller and at the cost of the house.

What the house gives away on one day has a limit; the limit for each caller is the door's.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from app.agents.agent import Agent, Broke, Rejected
from app.refusal import Refusal, Spent, Why
from app.till import Bill, Till
from app.trade.holds import Held, Holds
from pricing.quote import Quote, used_msat
from pricing.rates import Usage

BROKE_S = 30  # when to come back after the agent has failed
CLOSED_S = 86_400
SLOW = Broke("The agent did not answer in time.", retryable=True)
BUY = "The same request can be bought with POST /api/jobs."


@dataclass(frozen=True, slots=True)
class Demos:
    """The desk of what is given away."""

    agent: Agent
    till: Till
    holds: Holds
    timeout_s: float

    @property
    def model(self) -> str:
        """The model that answers a demo."""
        return self.agent.work_model

    async def bill(self, text: str) -> Bill:
        """Return what a demo may cost the house, or refuse where nothing is given away."""
        if not self.holds.free_sats_per_day:
            raise Refusal(
                Why.NOTHING_FREE,
                "The demo is closed on this server.",
                BUY,
                {"Retry-After": str(CLOSED_S)},
            )
        return await self.till.demo(text)

    async def answer(self, text: str, bill: Bill) -> dict[str, Any]:
        """Return the demo's answer to a request, at the cost of the house."""
        async with self.holds.free("demo", bill.ceiling_msat) as held:
            try:
                async with asyncio.timeout(self.timeout_s):
                    return await self._ask(text, bill, held)
            except TimeoutError:
                raise _refusal(SLOW, Refusal) from None

    async def _ask(self, text: str, bill: Bill, held: Held) -> dict[str, Any]:
        agent = self.agent
        verdict = await agent.judge(text)
        if isinstance(verdict, Broke):
            raise _broken(verdict, held, bill.judging)
        _charge(held, bill.judging, verdict.usage)
        if isinstance(verdict, Rejected):
            return {"result": verdict.reason, "state": "rejected"}
        work = await agent.work(text, min(self.till.demo_tokens, verdict.max_output_tokens))
        if isinstance(work, Broke):
            raise _broken(work, held, bill.working)
        _charge(held, bill.working, work.usage)
        if isinstance(work, Rejected):
            return {"result": work.reason, "state": "rejected"}
        cut = {"truncated": True} if work.cut else {}
        return {"result": work.text, "state": "complete", **cut}


def _charge(held: Held, quote: Quote, usage: Usage) -> None:
    held.charge(held.charge_msat + used_msat(quote, usage))


def _broken(broke: Broke, held: Held, quote: Quote) -> Refusal:
    """Return the refusal for a call that broke. The house has paid for what it used."""
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
