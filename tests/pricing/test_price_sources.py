"""The laws of a price, without a socket: how answers agree, how one is read, who is asked."""

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.money import MICROUSD_PER_USD
from pricing.oracle import BUILT_IN, Source, WrongAnswer, agree, parse_sources, read_price

USD = MICROUSD_PER_USD
reasonable = st.integers(1_000 * USD, 100_000_000 * USD)


@given(st.dictionaries(st.text(max_size=5), reasonable, max_size=9))
def test_an_agreed_price_lies_among_its_sources(answers: dict[str, int]) -> None:
    """A strict majority stands behind a price, which lies between the least and most they said."""
    agreed = agree(answers)
    if agreed is None:
        return
    price, names = agreed
    said_by = [answers[name] for name in names]
    assert 2 * len(names) > len(answers)
    assert min(said_by) <= price <= max(said_by)
    assert list(names) == sorted(names)


@given(
    reasonable,
    st.lists(st.integers(0, 40_000), min_size=1, max_size=6),
    st.lists(reasonable, max_size=6),
)
def test_a_minority_of_liars_cannot_move_the_price(
    low: int, above_ppm: list[int], lies: list[int]
) -> None:
    """Where honest sources lie close together and outnumber the liars, their range holds."""
    honest = [low + low * ppm // 1_000_000 for ppm in above_ppm]
    liars = lies[: len(honest) - 1]
    answers = {f"h{i}": v for i, v in enumerate(honest)} | {f"l{i}": v for i, v in enumerate(liars)}
    agreed = agree(answers)
    assert agreed is not None
    price, names = agreed
    assert min(honest) <= price <= max(honest)
    assert {f"h{i}" for i in range(len(honest))} <= set(names)


def test_five_percent_is_still_in() -> None:
    """The limit itself is kept, the next micro-dollar is not."""
    assert agree({"a": 100, "b": 100, "c": 105}) == (100, ("a", "b", "c"))
    assert agree({"a": 100, "b": 100, "c": 106}) == (100, ("a", "b"))
    assert agree({"a": 100, "b": 102}) == (101, ("a", "b"))
    assert agree({"a": 100, "b": 200}) is None
    assert agree({}) is None


@given(st.decimals(1_000, 100_000_000, places=6), st.booleans())
def test_a_price_is_read_exactly(usd: Decimal, in_words: bool) -> None:
    """A decimal number and a decimal string give the same micro-dollars, without a float."""
    text = f'"{usd:f}"' if in_words else f"{usd:f}"
    assert read_price(f'{{"p": {text}}}'.encode(), ("p",)) == int(usd * USD)


@given(st.binary(max_size=200), st.lists(st.text(max_size=3), max_size=3))
def test_any_answer_is_a_price_in_bounds_or_refused(body: bytes, path: list[str]) -> None:
    """No bytes make read_price raise anything but WrongAnswer."""
    with contextlib.suppress(WrongAnswer):
        assert 1_000 * USD <= read_price(body, tuple(path)) <= 100_000_000 * USD


def test_sources_are_read_from_a_setting() -> None:
    """Built-in names stand alone, others bring a URL and a path; nothing means all built-in."""
    assert parse_sources("") == parse_sources(" , ") == BUILT_IN
    assert len(BUILT_IN) >= 3
    by_name = {source.name: source for source in BUILT_IN}
    assert parse_sources(" kraken , coinbase") == (by_name["kraken"], by_name["coinbase"])
    own = "mine=https://example.org/t?pair=XBT&x=a%2Cb#result.XXBTZUSD.c.0"
    assert parse_sources(f"{own},kraken") == (
        Source(
            "mine",
            "https://example.org/t?pair=XBT&x=a%2Cb",
            ("result", "XXBTZUSD", "c", "0"),
        ),
        by_name["kraken"],
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("krakenn", "is not one of coingecko"),
        ("kraken,kraken", "is named twice"),
        ("kraken=https://example.org/#a,kraken", "is named twice"),
        ("=https://example.org/#a", "its name must be"),
        ("My Name=https://example.org/#a", "its name must be"),
        ("mine=https://example.org/", "comes '#' and the path"),
        ("mine=https://example.org/#", "comes '#' and the path"),
        ("mine=https://example.org/#a..b", "comes '#' and the path"),
        ("mine=ftp://example.org/#a", "must begin with https"),
        ("mine=example.org/t#a", "must begin with https"),
        ("mine=https://#a", "must begin with https"),
        ("mine=https://example.org:port/#a", "cannot read the price source"),
    ],
)
def test_a_source_that_cannot_be_read_is_named(text: str, why: str) -> None:
    """A slip in the setting stops the start, with a sentence that says what is wrong."""
    with pytest.raises(ValueError, match="price source") as caught:
        parse_sources(text)
    assert why in str(caught.value)
