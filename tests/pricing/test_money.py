"""The units and the one rounding rule."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.money import (
    MICROUSD_PER_USD,
    MSAT_PER_SAT,
    SAT_PER_BTC,
    BtcPrice,
    MicroUsd,
    btc_to_msat,
    ceil_div,
    credits_down,
    credits_to_msat,
    halfway,
    msat_to_sats,
    sats_down,
    sats_text,
    sats_to_msat,
    sats_up,
    split_sats,
    split_usd,
    usd_number,
    usd_to_microusd,
    whole_sats_down,
    whole_sats_up,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
prices = st.integers(1, 100_000_000 * MICROUSD_PER_USD)
costs_microusd = st.integers(0, 10**15)


def price(microusd_per_btc: int) -> BtcPrice:
    return BtcPrice(MicroUsd(microusd_per_btc), NOW, ("a", "b", "c"))


@given(st.integers(0, 10**12), st.integers(1, 100_000))
def test_credits_are_whole_pieces_of_a_balance(balance_msat: int, credit_sats: int) -> None:
    """As many as can be spent, and not one more."""
    credits = credits_down(balance_msat, credit_sats)
    assert credits_to_msat(credits, credit_sats) <= balance_msat
    assert balance_msat < credits_to_msat(credits + 1, credit_sats)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**30))
def test_ceil_div_is_the_least_whole_number_not_below(numerator: int, denominator: int) -> None:
    """Division of money rounds up, exactly, whatever the size of the numbers."""
    result = ceil_div(numerator, denominator)
    exact = Fraction(numerator, denominator)
    assert result - 1 < exact <= result


@pytest.mark.parametrize("denominator", [0, -1, -(10**9)])
def test_ceil_div_refuses_what_is_not_positive(denominator: int) -> None:
    """Money is never divided by zero, nor by less."""
    with pytest.raises(ValueError, match="cannot divide money"):
        ceil_div(1, denominator)


@given(st.integers(0, 21_000_000 * SAT_PER_BTC))
def test_sats_and_msat_are_the_same_amount(amount_sat: int) -> None:
    """Whole sats become msat and come back unchanged."""
    assert msat_to_sats(sats_to_msat(amount_sat)) == amount_sat


@given(st.integers(0, 10**15), st.integers(1, MSAT_PER_SAT - 1))
def test_a_fraction_of_a_sat_never_reaches_the_wire(amount_sat: int, rest_msat: int) -> None:
    """An amount with a fraction of a sat is refused, not rounded a second time."""
    with pytest.raises(ValueError, match="not a whole number of sats"):
        msat_to_sats(amount_sat * MSAT_PER_SAT + rest_msat)


@given(st.integers(-(10**15), 10**15))
def test_whole_sats_are_the_nearest_below_and_above(amount_msat: int) -> None:
    """Down is what there is, up is what it may cost; they differ where there is a fraction."""
    exact = Fraction(amount_msat, MSAT_PER_SAT)
    assert sats_down(amount_msat) <= exact < sats_down(amount_msat) + 1
    assert sats_up(amount_msat) - 1 < exact <= sats_up(amount_msat)
    assert whole_sats_down(amount_msat) == sats_to_msat(sats_down(amount_msat))
    assert whole_sats_up(amount_msat) == sats_to_msat(sats_up(amount_msat))


@given(st.integers(0, 10**15))
def test_an_amount_that_is_only_told_is_split_exactly(amount: int) -> None:
    """Whole units and the rest give the amount back."""
    sats, rest_msat = split_sats(amount)
    assert sats * MSAT_PER_SAT + rest_msat == amount and 0 <= rest_msat < MSAT_PER_SAT
    dollars, rest_microusd = split_usd(amount)
    assert dollars * MICROUSD_PER_USD + rest_microusd == amount
    assert 0 <= rest_microusd < MICROUSD_PER_USD


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_the_price_between_two_is_rounded_down(one: int, other: int) -> None:
    """The middle of two prices is never above it, and less than a micro-USD below."""
    middle = Fraction(one + other, 2)
    assert middle - 1 < halfway(one, other) <= middle


@given(st.decimals(0, 10**9, places=9))
def test_dollars_that_others_tell_lose_less_than_a_micro_usd(amount_usd: Decimal) -> None:
    """What is less than a micro-USD is cut off."""
    exact = Fraction(amount_usd) * MICROUSD_PER_USD
    assert exact - 1 < usd_to_microusd(amount_usd) <= exact


@given(st.integers(0, 21_000_000 * SAT_PER_BTC * MSAT_PER_SAT))
def test_bitcoin_is_msat_or_nothing(amount_msat: int) -> None:
    """Eleven places of a bitcoin are a whole number of msat; one place more is not rounded."""
    amount_btc = Decimal(amount_msat).scaleb(-11)
    assert btc_to_msat(amount_btc) == amount_msat
    assert btc_to_msat(amount_btc + Decimal("0.000000000001")) is None


@given(prices, costs_microusd)
def test_a_dollar_amount_is_rounded_up_once_to_a_whole_sat(rate: int, cost_microusd: int) -> None:
    """A charge covers its cost in dollars, by less than one sat too much, and is at least a sat."""
    sats = msat_to_sats(price(rate).to_msat(cost_microusd))
    exact = Fraction(cost_microusd * SAT_PER_BTC, rate)
    assert sats >= 1
    assert sats >= exact
    assert sats == 1 or sats - 1 < exact


@given(prices, costs_microusd, costs_microusd)
def test_a_higher_cost_is_never_cheaper(rate: int, one_microusd: int, other_microusd: int) -> None:
    """At one bitcoin price, msat grow with dollars."""
    low, high = sorted((one_microusd, other_microusd))
    assert price(rate).to_msat(low) <= price(rate).to_msat(high)


@given(prices, prices, costs_microusd)
def test_a_dearer_bitcoin_never_costs_more_msat(one: int, other: int, cost_microusd: int) -> None:
    """For one dollar amount, msat fall as the price of a bitcoin rises."""
    low, high = sorted((one, other))
    assert price(high).to_msat(cost_microusd) <= price(low).to_msat(cost_microusd)


@pytest.mark.parametrize("microusd_per_btc", [0, -1])
def test_a_bitcoin_is_worth_something(microusd_per_btc: int) -> None:
    """A price that is not positive cannot be made."""
    with pytest.raises(ValueError, match="must be positive"):
        price(microusd_per_btc)


def test_an_example_by_hand() -> None:
    """At 100,000 USD, 0.012346 USD is 12.346 sats, and so 13."""
    assert price(100_000 * MICROUSD_PER_USD).to_msat(12_346) == 13_000
    assert price(100_000 * MICROUSD_PER_USD).to_msat(12_000) == 12_000
    assert price(100_000 * MICROUSD_PER_USD).to_msat(0) == 1_000
    assert usd_number(12_346) == 0.012346


@pytest.mark.parametrize(
    ("amount_msat", "text"),
    [(0, "0"), (1, "0.001"), (1_000_000_000, "1,000,000"), (-2_999, "-2.999"), (1_500, "1.500")],
)
def test_sats_are_written_as_people_read_them(amount_msat: int, text: str) -> None:
    """Thousands apart, and what is left of a sat behind the point."""
    assert sats_text(amount_msat) == text
