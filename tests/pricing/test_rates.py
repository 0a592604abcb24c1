"""The price tables: which row holds on which day, and what an operator may override."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.rates import (
    PUBLISHED,
    EndedModel,
    ModelRate,
    RateCard,
    UnknownModel,
    Usage,
    parse_overrides,
    with_overrides,
)

TODAY = date(2026, 11, 22)
days = st.dates(date(2020, 1, 1), date(2035, 1, 1))
names = st.from_regex(r"[a-z][a-z0-9.-]{0,20}[a-z]", fullmatch=True)
dollars = st.decimals(0, 10_000, places=6)


def card(*rows: ModelRate) -> RateCard:
    return RateCard(rows, infra_microusd=0, margin_pct=0)


@given(st.sets(days, min_size=1, max_size=6), days)
def test_the_newest_row_that_has_begun_counts(begins: set[date], on: date) -> None:
    """A row holds from its day on, until a newer one begins; before the first there is no price."""
    rows = card(*(ModelRate("m", day, day.toordinal(), 1) for day in begins))
    begun = [day for day in begins if day <= on]
    if begun:
        assert rows.rate("m", on).since == max(begun)
    else:
        with pytest.raises(UnknownModel):
            rows.rate("m", on)


@pytest.mark.parametrize("model", ["", "gpt-unknown", "claude-haiku-4-5-", "claude-haiku-4-5-2025"])
def test_an_unknown_model_cannot_be_sold(model: str) -> None:
    """A model without a row raises UnknownModel: no price is made up."""
    with pytest.raises(UnknownModel, match="no price is known"):
        card(*PUBLISHED).rate(model, TODAY)


BEGUN = [row for row in PUBLISHED if row.since <= TODAY]


@pytest.mark.parametrize("row", BEGUN, ids=lambda row: row.model)
def test_a_dated_name_has_the_price_of_its_model(row: ModelRate) -> None:
    """`claude-haiku-4-5-20251001` costs what `claude-haiku-4-5` costs."""
    assert card(*PUBLISHED).rate(row.model, TODAY) is row
    assert card(*PUBLISHED).rate(f"{row.model}-20251001", TODAY) is row


def test_an_announced_price_holds_from_its_day_on() -> None:
    """What is known to be dearer next year is sold at this year's price until then."""
    last, first = date(2026, 12, 31), date(2027, 1, 1)
    prices = [card(*PUBLISHED).rate("gemini-3.8-flash", day) for day in (last, first)]
    assert [row.input_microusd_per_mtok for row in prices] == [750_000, 1_500_000]
    assert [row.output_microusd_per_mtok for row in prices] == [3_750_000, 7_500_000]


ENDING = [row for row in PUBLISHED if row.until is not None]


@pytest.mark.parametrize("row", ENDING, ids=lambda row: row.model)
@pytest.mark.parametrize("name", ["{}", "{}-20250929"])
def test_a_model_is_sold_until_its_last_day_and_has_its_price_after_it(
    row: ModelRate, name: str
) -> None:
    """On its last day it is sold; on the next it is not, but what it has cost can be booked."""
    assert row.until is not None
    model, after = name.format(row.model), row.until + timedelta(days=1)
    card(*PUBLISHED).check_sold(model, row.until)
    with pytest.raises(EndedModel, match=f"was available until {row.until}"):
        card(*PUBLISHED).check_sold(model, after)
    assert card(*PUBLISHED).rate(model, after) is row


def test_a_model_that_an_operator_prices_himself_is_sold_for_as_long_as_he_does() -> None:
    """Where a maker still offers it to him, its price in MODEL_PRICES says so."""
    [row] = parse_overrides("claude-sonnet-4-5=3/15")
    card(*with_overrides(PUBLISHED, (row,))).check_sold(row.model, date(2035, 1, 1))


def test_what_has_no_price_is_not_sold() -> None:
    """A model without a row is no model that has ended."""
    with pytest.raises(UnknownModel):
        card(*PUBLISHED).check_sold("gpt-unknown", TODAY)


def test_a_row_of_the_dated_name_goes_before_its_model() -> None:
    """The more exact name counts, even when its row is older."""
    family = ModelRate("m", date(2026, 1, 1), 1, 1)
    exact = ModelRate("m-20250101", date(2025, 1, 1), 2, 2)
    assert card(family, exact).rate("m-20250101", TODAY) is exact
    assert card(family, exact).rate("m", TODAY) is family


def test_nothing_is_free_by_accident() -> None:
    """Every published row has a price for reading and a higher one for writing."""
    for row in PUBLISHED:
        assert 0 < row.input_microusd_per_mtok < row.output_microusd_per_mtok


@given(names, dollars, dollars, st.none() | days)
def test_an_override_is_read_exactly(
    model: str, paid_in: Decimal, paid_out: Decimal, since: date | None
) -> None:
    """Dollars a million tokens become micro-dollars without rounding."""
    text = f" {model}={paid_in}/{paid_out}" + (f"@{since}" if since else "") + " ,"
    assert parse_overrides(text) == (
        ModelRate(model, since or date.min, int(paid_in * 1_000_000), int(paid_out * 1_000_000)),
    )


def test_no_overrides_are_no_rows() -> None:
    """An empty setting overrides nothing."""
    assert parse_overrides("") == parse_overrides(" , ,") == ()


@pytest.mark.parametrize(
    "text",
    [
        "m",
        "m=1",
        "=1/2",
        " =1/2",
        "m=1/",
        "m=a/b",
        "m=-1/2",
        "m=NaN/1",
        "m=sNaN/1",
        "m=Infinity/1",
        "m=1e400/1",
        "m=1e99999999/1",
        "m=0.0000001/1",
        "m=1.00000000000000000000000000000000001/1",
        "m=1/2/3",
        "m=1/2@yesterday",
        "m=1/2@2026-13-01",
        "good=1/2,bad",
    ],
)
def test_a_price_that_cannot_be_read_is_named(text: str) -> None:
    """A slip in the setting stops the start, with the item in the sentence."""
    with pytest.raises(ValueError, match="cannot read the model price") as caught:
        parse_overrides(text)
    assert repr(text.split(",")[-1].strip()) in str(caught.value)


@given(st.lists(names, min_size=1, unique=True), st.data())
def test_an_override_replaces_all_rows_of_its_model_and_no_other(
    models: list[str], data: st.DataObject
) -> None:
    """An overridden model has only its override's price; the others keep theirs."""
    table = [
        ModelRate(model, TODAY - timedelta(days=back), 1, 1) for model in models for back in (0, 9)
    ]
    chosen = data.draw(st.sets(st.sampled_from(models)))
    overrides = tuple(ModelRate(model, date.min, 7, 8) for model in sorted(chosen))
    rows = with_overrides(table, overrides)
    for model in models:
        prices = {r.input_microusd_per_mtok for r in rows if r.model == model}
        assert prices == ({7} if model in chosen else {1})


@given(st.integers(max_value=-1), st.integers(0, 10**9))
def test_usage_is_never_negative(below: int, fine: int) -> None:
    """Tokens below zero cannot be made into a usage, on either side."""
    with pytest.raises(ValueError, match="negative"):
        Usage(below, fine)
    with pytest.raises(ValueError, match="negative"):
        Usage(fine, below)
    assert Usage(fine, fine).total_tokens == 2 * fine


@pytest.mark.parametrize(("infra_microusd", "margin_pct"), [(-1, 0), (0, -1)])
def test_a_card_never_pays_the_buyer(infra_microusd: int, margin_pct: int) -> None:
    """Infra and margin below zero are refused."""
    with pytest.raises(ValueError, match="cannot be negative"):
        RateCard((), infra_microusd, margin_pct)
