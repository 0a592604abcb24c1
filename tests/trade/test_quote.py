"""Quote, charge and surplus: what a buyer is promised, and what the promise holds."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.money import MICROUSD_PER_USD, MSAT_PER_SAT, BtcPrice, MicroUsd
from pricing.quote import Quote, make_charge, make_quote, token_ceiling
from pricing.rates import ModelRate, RateCard, UnknownModel, Usage

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
tokens = st.integers(0, 10_000_000)
paid_for_mtok = st.integers(0, 1_000 * MICROUSD_PER_USD)

cards = st.builds(
    lambda paid_in, paid_out, infra, margin: RateCard(
        (ModelRate("m", date(2025, 1, 1), paid_in, paid_out),), infra, margin
    ),
    paid_for_mtok,
    paid_for_mtok,
    st.integers(0, 10 * MICROUSD_PER_USD),
    st.integers(0, 1_000),
)
moments = st.datetimes(
    datetime(2025, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)
) | st.datetimes(
    datetime(2025, 1, 2), datetime(2100, 1, 1), timezones=st.just(timezone(timedelta(hours=-7)))
)
prices = st.builds(
    BtcPrice,
    st.integers(1_000 * MICROUSD_PER_USD, 100_000_000 * MICROUSD_PER_USD).map(MicroUsd),
    moments,
    st.lists(st.text(max_size=10), max_size=5).map(tuple),
    st.text(max_size=40),
)
quotes = st.builds(
    make_quote, cards, st.just("m"), tokens, tokens, prices, moments, st.integers(1, 86_400)
)
usages = st.builds(Usage, tokens, tokens)


@given(quotes)
def test_a_stored_quote_is_the_same_quote(quote: Quote) -> None:
    """from_json undoes to_json, through real JSON, and what is stored holds no float."""
    stored = json.dumps(quote.to_json(), allow_nan=False)
    assert Quote.from_json(json.loads(stored, parse_float=_no_float)) == quote


def _no_float(text: str) -> float:
    raise AssertionError(f"{text} is stored as a float")


@given(quotes, usages, st.integers(0, 10**9))
def test_what_is_paid_is_charged_or_owed_back(quote: Quote, usage: Usage, more_sat: int) -> None:
    """paid = charge + surplus, and charge ≤ quote, whatever the agent says it used."""
    paid_msat = quote.total_msat + more_sat * MSAT_PER_SAT
    charge = make_charge(quote, usage, paid_msat)
    assert charge.total_msat + charge.surplus_msat == paid_msat
    assert MSAT_PER_SAT <= charge.total_msat <= quote.total_msat
    assert charge.surplus_msat >= 0
    assert charge.total_msat % MSAT_PER_SAT == 0


@given(quotes, usages, st.data())
def test_nobody_is_charged_more_than_was_paid(
    quote: Quote, usage: Usage, data: st.DataObject
) -> None:
    """Where less than the quote arrived, the charge ends at what arrived."""
    paid_msat = data.draw(st.integers(0, quote.total_msat))
    charge = make_charge(quote, usage, paid_msat)
    assert 0 <= charge.total_msat <= paid_msat
    assert charge.total_msat + charge.surplus_msat == paid_msat


@given(quotes, usages)
def test_usage_within_the_ceiling_is_covered(quote: Quote, usage: Usage) -> None:
    """What stays below the quote's sizes costs no more than the quote before any ceiling."""
    usage = Usage(
        min(usage.input_tokens, quote.input_tokens),
        min(usage.output_tokens, quote.max_output_tokens),
    )
    charge = make_charge(quote, usage, quote.total_msat)
    assert charge.cost_microusd <= quote.cost_microusd
    assert charge.charge_microusd <= quote.charge_microusd


@given(quotes)
def test_the_ceiling_itself_costs_the_quote(quote: Quote) -> None:
    """An agent that uses all it may leaves no surplus."""
    usage = Usage(quote.input_tokens, quote.max_output_tokens)
    assert make_charge(quote, usage, quote.total_msat).total_msat == quote.total_msat
    above = Usage(quote.input_tokens + 10**9, quote.max_output_tokens + 10**9)
    assert make_charge(quote, above, quote.total_msat).surplus_msat == 0


@given(quotes, usages, tokens, tokens)
def test_more_tokens_never_cost_less(
    quote: Quote, usage: Usage, more_in: int, more_out: int
) -> None:
    """The charge grows with what was read and written."""
    more = Usage(usage.input_tokens + more_in, usage.output_tokens + more_out)
    low = make_charge(quote, usage, quote.total_msat)
    high = make_charge(quote, more, quote.total_msat)
    assert low.total_msat <= high.total_msat
    assert low.cost_microusd <= high.cost_microusd


@given(cards, tokens, tokens, tokens, tokens, prices)
def test_a_larger_call_is_never_quoted_cheaper(
    card: RateCard, read: int, more_in: int, written: int, more_out: int, price: BtcPrice
) -> None:
    """The quote grows with the tokens it is made for."""
    small = make_quote(card, "m", read, written, price, NOW, 60)
    large = make_quote(card, "m", read + more_in, written + more_out, price, NOW, 60)
    assert small.total_msat <= large.total_msat
    assert small.charge_microusd <= large.charge_microusd


@given(cards, tokens, tokens, prices)
def test_a_quote_covers_its_cost(card: RateCard, read: int, written: int, price: BtcPrice) -> None:
    """Every step rounds up, by less than a unit: we are never short, the buyer hardly over."""
    quote = make_quote(card, "m", read, written, price, NOW, 60)
    rate = card.models[0]
    exact_cost = Fraction(
        read * rate.input_microusd_per_mtok + written * rate.output_microusd_per_mtok, 1_000_000
    )
    assert exact_cost <= quote.cost_microusd < exact_cost + 1
    exact = Fraction((quote.cost_microusd + card.infra_microusd) * (100 + card.margin_pct), 100)
    assert exact <= quote.charge_microusd < exact + 1
    assert quote.total_msat == price.to_msat(quote.charge_microusd)
    assert quote.expires_at - NOW == timedelta(seconds=60)


@given(quotes, usages, prices)
def test_a_charge_uses_the_bitcoin_price_of_its_quote(
    quote: Quote, usage: Usage, later: BtcPrice
) -> None:
    """Between quote and charge the market may do what it likes."""
    charge = make_charge(quote, usage, quote.total_msat)
    owed_msat = quote.price.to_msat(charge.charge_microusd)
    assert charge.total_msat == min(owed_msat, quote.total_msat)
    other = make_charge(replace(quote, price=later), usage, quote.total_msat)
    assert other.charge_microusd == charge.charge_microusd


def test_an_unpriced_model_has_no_quote() -> None:
    """make_quote raises UnknownModel rather than sell for nothing."""
    card = RateCard((), 0, 0)
    with pytest.raises(UnknownModel):
        make_quote(card, "m", 1, 1, BtcPrice(MicroUsd(1), NOW, ()), NOW, 60)


@pytest.mark.parametrize(("read", "written"), [(-1, 0), (0, -1)])
def test_a_call_of_less_than_nothing_has_no_quote(read: int, written: int) -> None:
    """Negative sizes are a broken promise of the agent, never a discount."""
    card = RateCard((ModelRate("m", date(2025, 1, 1), 1, 1),), 0, 0)
    with pytest.raises(ValueError, match="less than nothing"):
        make_quote(card, "m", read, written, BtcPrice(MicroUsd(1), NOW, ()), NOW, 60)


@given(quotes, usages, st.integers(max_value=-1))
def test_a_negative_payment_is_refused(quote: Quote, usage: Usage, paid_msat: int) -> None:
    """A payment below zero cannot be charged."""
    with pytest.raises(ValueError, match="less than nothing"):
        make_charge(quote, usage, paid_msat)


@given(st.text(), st.text())
def test_the_token_ceiling_covers_every_byte(request_text: str, more: str) -> None:
    """A byte can be a token: the ceiling is never below the bytes, and grows with the request."""
    assert token_ceiling(request_text) >= len(request_text.encode())
    assert token_ceiling(request_text) <= token_ceiling(request_text + more)


def test_an_example_by_hand() -> None:
    """1,000 read at 3 USD and 500 written at 15 USD a million, 20 % margin, at 100,000 USD."""
    card = RateCard((ModelRate("m", date(2025, 1, 1), 3_000_000, 15_000_000),), 500, 20)
    price = BtcPrice(MicroUsd(100_000 * MICROUSD_PER_USD), NOW, ("a",))
    quote = make_quote(card, "m", 1_000, 500, price, NOW, 600)
    assert quote.cost_microusd == 3_000 + 7_500
    assert quote.charge_microusd == 13_200
    assert quote.total_msat == 14_000
    charge = make_charge(quote, Usage(1_000, 100), quote.total_msat)
    assert charge.cost_microusd == 4_500
    assert (charge.total_msat, charge.surplus_msat) == (6_000, 8_000)
