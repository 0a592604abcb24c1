"""The till: one place says what everything costs, and what it costs the house."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ports import Prices
from app.refusal import Refusal, Why
from app.till import Limits, Till
from pricing.money import BtcPrice, MicroUsd, Msat, sats_to_msat
from pricing.oracle import OracleStatus, PriceUnavailable
from pricing.quote import make_charge, make_quote, token_ceiling
from pricing.rates import LAST_DAYS, PUBLISHED, RateCard, Usage
from tests.world.scripted_agent import ScriptedAgent

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PRICE = BtcPrice(MicroUsd(100_000_000_000), NOW, ("a",))
CARD = RateCard(PUBLISHED, 2_000, 20)
LIMITS = Limits(least_fee_msat=sats_to_msat(5), quote_s=600, demo_tokens=256)
AGENT = ScriptedAgent()
texts = st.text(max_size=3_000)


class Told:
    """Prices that are told by the test."""

    def __init__(self, told: BtcPrice | PriceUnavailable) -> None:
        self._told = told

    async def price(self) -> BtcPrice | PriceUnavailable:
        """See Prices."""
        return self._told

    async def healthy(self) -> PriceUnavailable | None:
        """See Prices."""
        return None

    def status(self) -> OracleStatus:
        """See Prices."""
        raise NotImplementedError

    async def close(self) -> None:
        """See Prices."""


def till(limits: Limits = LIMITS, told: BtcPrice | PriceUnavailable = PRICE) -> Till:
    """Return a till of a house that charges a fifth more than things cost."""
    prices: Prices = Told(told)
    return Till(CARD, prices, AGENT, lambda: NOW, limits)


@given(texts)
async def test_a_firm_price_is_the_fee_and_the_works_ceiling(text: str) -> None:
    """The fee is never below the operator's least, and the work is priced as an agent that has
    measured the most that a text of that size can have would price it."""
    fee_msat, quote = await till().firm(text)
    assert fee_msat == await till().fee_msat(text) >= LIMITS.least_fee_msat
    assert quote == till().work(token_ceiling(text), AGENT.max_output_tokens, PRICE)
    assert (quote.margin_pct, quote.model) == (20, AGENT.work_model)
    assert await till().least_work_msat() <= quote.total_msat


@given(texts)
async def test_the_fee_is_the_cost_ceiling_of_judging_where_that_is_more(text: str) -> None:
    """Without a least fee it is what a call that reads so much and decides may cost."""
    nothing = replace(LIMITS, least_fee_msat=Msat(0))
    read, written = token_ceiling(text), AGENT.max_eval_output_tokens
    quote = make_quote(CARD, AGENT.eval_model, read, written, PRICE, NOW, 600)
    assert await till(nothing).fee_msat(text) == quote.total_msat


@given(texts)
async def test_what_is_given_away_is_priced_at_cost(text: str) -> None:
    """A demo and a visitor's message bear no margin; a session's message bears it."""
    bill = await till().demo(text)
    assert bill.judging.margin_pct == bill.working.margin_pct == 0
    assert bill.ceiling_msat == bill.judging.total_msat + bill.working.total_msat
    assert bill.working.max_output_tokens == min(LIMITS.demo_tokens, AGENT.max_output_tokens)
    call = AGENT.work_model, token_ceiling(text), 900
    given_away = await till().call(*call, is_given=True)
    sold = await till().call(*call, is_given=False)
    assert (given_away.margin_pct, sold.margin_pct) == (0, 20)
    assert given_away.total_msat <= sold.total_msat


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_a_call_has_cost_the_house_is_without_its_margin(read: int, written: int) -> None:
    """It is the price of just what was used, and nothing where nothing was counted."""
    used = Usage(read, written)
    model = AGENT.work_model
    quote = make_quote(replace(CARD, margin_pct=0), model, read, written, PRICE, NOW, 0)
    wanted = make_charge(quote, used, quote.total_msat).total_msat
    assert till().cost_msat(model, used, PRICE) == wanted == quote.total_msat
    assert till().cost_msat(model, None, PRICE) == 0


async def test_without_a_bitcoin_price_nothing_is_priced() -> None:
    """Each question is refused, with when to come back: there is no guess."""
    shut = till(told=PriceUnavailable("nobody answers", 30))
    for asked in (shut.fee_msat("x"), shut.firm("x"), shut.least_work_msat(), shut.demo("x"),
                  shut.call(AGENT.work_model, 1, 1, is_given=False)):  # fmt: skip
        with pytest.raises(Refusal) as refused:
            await asked
        assert refused.value.why is Why.NO_PRICE
        assert refused.value.headers["Retry-After"] == "30"


@pytest.mark.parametrize("ends", ["eval_model", "work_model"])
async def test_after_the_last_day_of_a_model_nothing_is_sold_that_it_would_do(ends: str) -> None:
    """A sentence with the day, and nobody pays a fee for work that could not follow; what a call
    that began before has cost is booked all the same."""
    agent, name = ScriptedAgent(), "claude-sonnet-4-5"
    setattr(agent, ends, name)
    last = datetime.combine(LAST_DAYS[name], NOW.time(), UTC)
    now = [last]
    counter = Till(CARD, Told(PRICE), agent, lambda: now[0], LIMITS)
    assert await counter.fee_msat("hello")
    now[0] = last + timedelta(days=1)
    for asked in (counter.fee_msat("hello"), counter.firm("hello"), counter.demo("hello")):
        with pytest.raises(Refusal, match="claude-sonnet-4-5 was available until") as refused:
            await asked
        assert refused.value.why is Why.NO_AGENT
    with pytest.raises(Refusal):
        await counter.call(name, 1, 1, is_given=False)
    assert counter.cost_msat(name, Usage(1_000, 1_000), PRICE) > 0
