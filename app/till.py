"""The till: what everything costs here, asked for in one place.

A price is refused while there is no bitcoin price: there is no guess. What the house gives away is
priced at cost, without its margin, for it earns nothing from itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.agents.agent import Agent
from app.ports import Clock, Prices
from app.refusal import Why, unavailable
from pricing.batch_quote import BatchQuote, make_batch_quote
from pricing.money import BtcPrice, MicroUsd, Msat
from pricing.oracle import PriceUnavailable
from pricing.quote import Quote, make_quote, token_ceiling, used_msat
from pricing.rates import EndedModel, RateCard, Usage
from pricing.run_price import Tokens, token_price

ENDED_S = 3600  # when to come back after the last day of a model


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator has set for prices."""

    least_fee_msat: Msat  # of an evaluation
    quote_s: int  # how long a price holds
    demo_tokens: int  # the most that a demo writes


@dataclass(frozen=True, slots=True)
class Bill:
    """What each call of a demo may cost the house at most."""

    judging: Quote
    working: Quote

    @property
    def ceiling_msat(self) -> Msat:
        """The most that both may cost."""
        return Msat(self.judging.total_msat + self.working.total_msat)


@dataclass(frozen=True, slots=True)
class Firm:
    """What a request costs at most, evaluation and work: in bitcoin, and in dollars.

    In dollars it moves with no price of bitcoin, but where the operator's least fee is more than
    the evaluation's own, by whole cents: who is told one pays it a moment later.
    """

    fee_msat: Msat
    fee_microusd: MicroUsd
    quote: Quote

    @property
    def total_msat(self) -> Msat:
        """All of it, in bitcoin."""
        return Msat(self.fee_msat + self.quote.total_msat)

    @property
    def total_microusd(self) -> MicroUsd:
        """All of it, in dollars."""
        return MicroUsd(self.fee_microusd + self.quote.charge_microusd)


class Till:
    """Prices what is sold, what is given, and what it costs the house."""

    def __init__(
        self, card: RateCard, oracle: Prices, agent: Agent, clock: Clock, limits: Limits
    ) -> None:
        self._card, self._oracle, self._agent = card, oracle, agent
        self._clock, self._limits = clock, limits
        self._at_cost = replace(card, margin_pct=0)

    async def price(self) -> BtcPrice:
        """Return the bitcoin price, or refuse with 503."""
        price = await self._oracle.price()
        if isinstance(price, PriceUnavailable):
            raise unavailable(
                Why.NO_PRICE,
                "There is no bitcoin price just now, so nothing can be priced.",
                price.retry_after_s,
            )
        return price

    async def price_if_any(self) -> BtcPrice | None:
        """Return the bitcoin price; None while there is none."""
        price = await self._oracle.price()
        return None if isinstance(price, PriceUnavailable) else price

    async def fee_msat(self, request: str) -> Msat:
        """Return the fee of an evaluation: its cost ceiling, or the operator's least fee."""
        return max(self._limits.least_fee_msat, (await self._judging(request)).total_msat)

    async def firm(self, request: str) -> tuple[Msat, Quote]:
        """Return the evaluation's fee and the work's ceiling: what a request costs at most."""
        firm = await self.in_both(request)
        return firm.fee_msat, firm.quote

    async def in_both(self, request: str) -> Firm:
        """Return what a request costs at most, in bitcoin and in dollars.

        No text of this size can have more tokens, so an agent that takes it keeps this price.
        """
        judging, least_msat = await self._judging(request), self._limits.least_fee_msat
        least_microusd = judging.price.to_cents(least_msat)
        most = self._agent.max_output_tokens
        return Firm(
            max(least_msat, judging.total_msat),
            max(least_microusd, judging.charge_microusd),
            self.work(token_ceiling(request), most, judging.price),
        )

    async def _judging(self, request: str) -> Quote:
        """Return the most that an evaluation costs, at the price of now."""
        agent, price = self._agent, await self.price()
        self.check_sold(agent.work_model)  # nobody shall pay to hear that no work can be done
        tokens = token_ceiling(request), agent.max_eval_output_tokens
        return self._quote(self._card, agent.eval_model, *tokens, price)

    async def least_work_msat(self) -> Msat:
        """Return the least that any work is quoted at: as if it had nothing to read.

        What a request makes the agent read is measured when it is judged; how much the agent may
        write for anybody is known before.
        """
        return self.work(0, self._agent.max_output_tokens, await self.price()).total_msat

    def work(self, input_tokens: int, max_output_tokens: int, price: BtcPrice) -> Quote:
        """Return the price of work that an agent has measured."""
        model = self._agent.work_model
        return self._quote(self._card, model, input_tokens, max_output_tokens, price)

    def tokens(self, most_characters: int) -> Tokens:
        """Return what work costs for its tokens, of a request that is so long at most."""
        agent, today = self._agent, self._clock().date()
        most = agent.max_output_tokens
        return token_price(self._card, agent.work_model, today, most_characters, most)

    async def demo(self, text: str) -> Bill:
        """Return what a demo may cost the house."""
        agent, read, price = self._agent, token_ceiling(text), await self.price()
        judged, written = agent.max_eval_output_tokens, self.demo_tokens
        return Bill(
            self._quote(self._at_cost, agent.eval_model, read, judged, price),
            self._quote(self._at_cost, agent.work_model, read, written, price),
        )

    @property
    def demo_tokens(self) -> int:
        """The most that a demo writes."""
        return min(self._limits.demo_tokens, self._agent.max_output_tokens)

    async def call(self, model: str, read: int, written: int, *, is_given: bool) -> Quote:
        """Return the ceiling of one call of a conversation; `is_given`: the house pays for it."""
        card = self._at_cost if is_given else self._card
        return self._quote(card, model, read, written, await self.price())

    async def batch(
        self, items_microusd: Sequence[MicroUsd], total_msat: Msat | None = None
    ) -> BatchQuote:
        """Return what these items cost together, in sats at the price of now, or as given."""
        price, now, lasts_s = await self.price(), self._clock(), self._limits.quote_s
        return make_batch_quote(items_microusd, price, now, lasts_s, total_msat)

    def cost_msat(self, model: str, used: Usage | None, price: BtcPrice) -> Msat:
        """Return what the house itself pays for a call that has used this."""
        if used is None:
            return Msat(0)
        tokens = used.input_tokens, used.output_tokens
        quote = self._quote_of(self._at_cost, model, *tokens, price)
        return used_msat(quote, used)

    def check_sold(self, model: str) -> None:
        """Refuse with 503 what is asked of a model after its last day."""
        try:
            self._card.check_sold(model, self._clock().date())
        except EndedModel as ended:
            raise unavailable(Why.NO_AGENT, str(ended), ENDED_S) from ended

    def _quote(self, card: RateCard, model: str, read: int, written: int, price: BtcPrice) -> Quote:
        self.check_sold(model)
        return self._quote_of(card, model, read, written, price)

    def _quote_of(
        self, card: RateCard, model: str, read: int, written: int, price: BtcPrice
    ) -> Quote:
        now, lasts_s = self._clock(), self._limits.quote_s
        return make_quote(card, model, read, written, price, now, lasts_s)
