"""The bitcoin price: agreed by sources on real sockets, or refused. Faults: row 16."""

import asyncio
from collections import Counter
from datetime import datetime

import pytest

from pricing.money import MICROUSD_PER_USD, BtcPrice, MicroUsd
from pricing.oracle import FAILURE_TTL_S, MAX_BODY_BYTES, Oracle, PriceUnavailable, Source
from tests.world.exchanges import (
    ENDLESS,
    GONE,
    HANG,
    HEAD,
    START,
    Clock,
    Exchanges,
    oracle,
    said,
    ticker,
)
from tests.world.exchanges import clock as clock
from tests.world.exchanges import exchanges as exchanges
from tests.world.patience import PATIENCE_S

USD = MICROUSD_PER_USD
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: /honest\r\nContent-Length: 0\r\n\r\n"


def btc(microusd_per_btc: int, at: datetime, sources: tuple[str, ...]) -> BtcPrice:
    """A price from live sources."""
    return BtcPrice(MicroUsd(microusd_per_btc), at, sources)


# What is no price at all, and what of it the readiness page says.
LIES: dict[str, tuple[bytes, str]] = {
    "zero": (ticker(0), "out of all bounds"),
    "zero in words": (ticker("0.00"), "out of all bounds"),
    "negative": (ticker(-90_000), "out of all bounds"),
    "negative in words": (ticker("-90000"), "not a number"),
    "NaN": (said(b'{"result": {"c": [NaN]}}'), "not JSON"),
    "NaN in words": (ticker("NaN"), "not a number"),
    "Infinity": (said(b'{"result": {"c": [Infinity]}}'), "not JSON"),
    "words": (ticker("ninety thousand"), "not a number"),
    "spaces": (ticker(" 90000 "), "not a number"),
    "underscores": (ticker("90_000"), "not a number"),
    "other digits": (ticker("９００００"), "not a number"),
    "exponent in words": (ticker("9e4"), "not a number"),
    "true": (ticker(True), "not a number"),
    "null": (ticker(None), "not a number"),
    "a list": (ticker([90_000]), "not a number"),
    "an object": (ticker({"usd": 90_000}), "not a number"),
    "a thousand times too low": (ticker(90), "out of all bounds"),
    "ten thousand times too high": (ticker(900_000_000), "out of all bounds"),
    "a huge exponent": (said(b'{"result": {"c": [9e999999999]}}'), "out of all bounds"),
    "six thousand digits": (said(b'{"result": {"c": [%s]}}' % (b"9" * 6_000)), "out of all"),
    "nothing there": (said(b'{"result": {}}'), "nothing at result.c.0"),
    "an empty list": (said(b'{"result": {"c": []}}'), "nothing at result.c.0"),
    "a string on the way": (said(b'{"result": "c"}'), "nothing at result.c.0"),
    "a number only": (said(b"90000"), "nothing at result.c.0"),
    "HTML": (said(b"<html>90000</html>"), "not JSON"),
    "empty": (said(b""), "not JSON"),
    "cut": (said(b'{"result": {"c": [900'), "not JSON"),
    "not UTF-8": (said(b'{"result": {"c": [90000], "x": "\xff"}}'), "not JSON"),
    "very deep": (said(b"[" * 60_000), "not JSON"),
    "huge": (said(b" " * (MAX_BODY_BYTES + 1)), "more than 65536 bytes"),
    "endless": (ENDLESS, "more than 65536 bytes"),
    "an old copy": (said(b"{}", HEAD + b"Age: 901\r\n"), "old copy"),
    "a broken age": (said(b"{}", HEAD + b"Age: -1\r\n"), "old copy"),
    "error 500": (said(b"{}", b"HTTP/1.1 500 Oops\r\n"), "HTTP 500"),
    "too many asks": (said(b"{}", b"HTTP/1.1 429 Slow\r\n"), "HTTP 429"),
    "redirect": (REDIRECT, "HTTP 302"),
    "no HTTP": (b"\x00\x01\x02 nonsense\r\n\r\n", "cannot be reached"),
    "cut in the head": (b"HTTP/1.1 200 OK\r\nContent-Le", "cannot be reached"),
    "cut in the body": (HEAD + b"Content-Length: 99\r\n\r\n{}", "cannot be reached"),
    "gone": (GONE, "cannot be reached"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_what_is_not_a_price_is_never_used(
    lie: str, exchanges: Exchanges, clock: Clock
) -> None:
    """Among four sources a lie changes nothing; among three it leaves too few, and no guess."""
    answer, why = LIES[lie]
    exchanges.answers["honest"] = ticker(90_000)
    four = exchanges.sources("90000.1", 90_000.25, "90001", answer)
    async with oracle(four, clock) as of_four:
        assert await of_four.price() == btc(90_000_250_000, START, ("s0", "s1", "s2"))
        liar = of_four.status().sources[3]
        assert why in liar.error
        assert (liar.answered_at, liar.microusd_per_btc) == (None, None)
    async with oracle(four[1:], clock) as of_three:
        refused = await of_three.price()
        assert refused == PriceUnavailable(
            "The bitcoin price is not known: 2 of 3 sources answered, 3 are needed.", FAILURE_TTL_S
        )
        assert await of_three.healthy() == refused
    assert exchanges.asked["honest"] == 0


@pytest.mark.parametrize("wrong", [900_000, 9_000, 95_000, "85499.9", "94502.2"])
async def test_one_of_three_off_is_dropped(
    wrong: object, exchanges: Exchanges, clock: Clock
) -> None:
    """A source further than 5 % from the median is left out, and not named on the price."""
    async with oracle(exchanges.sources(90_000, wrong, 90_002), clock) as asked:
        assert await asked.price() == btc(90_001 * USD, START, ("s0", "s2"))


@pytest.mark.parametrize("prices", [(90_000, 9_000, 900_000), (50_000, 100_000, 150_000, 50_001)])
async def test_sources_that_do_not_agree_make_no_price(
    prices: tuple[int, ...], exchanges: Exchanges, clock: Clock
) -> None:
    """Without a strict majority within 5 % nobody is believed."""
    async with oracle(exchanges.sources(*prices), clock, development=USD) as asked:
        refused = await asked.price()
    assert isinstance(refused, PriceUnavailable)
    assert f"the {len(prices)} sources that answered do not agree" in refused.reason


@pytest.mark.parametrize("configured", [1, 2])
async def test_fewer_configured_sources_must_all_answer(
    configured: int, exchanges: Exchanges, clock: Clock
) -> None:
    """An operator who names one source or two needs all of them; who names more needs three."""
    sources = exchanges.sources(*[90_000] * configured)
    async with oracle(sources, clock) as asked:
        assert asked.status().minimum_sources == configured
        assert isinstance(await asked.price(), BtcPrice)
    exchanges.answers["s0"] = GONE
    async with oracle(sources, clock) as asked:
        assert isinstance(await asked.price(), PriceUnavailable)


async def test_a_slow_source_is_not_waited_for(exchanges: Exchanges, clock: Clock) -> None:
    """A source has its time; the others make the price."""
    sources = exchanges.sources(90_000, 90_000, 90_000, HANG)
    async with oracle(sources, clock, timeout_s=2.5) as asked:
        assert isinstance(await asked.price(), BtcPrice)
        assert asked.status().sources[3].error == "no answer within 2.5 s"


async def test_a_price_is_kept_for_a_minute(exchanges: Exchanges, clock: Clock) -> None:
    """Within a minute nobody is asked again; after it the new price counts."""
    async with oracle(exchanges.sources(90_000, 90_000, 90_000), clock) as asked:
        first = await asked.price()
        exchanges.sources(91_000, 91_000, 91_000)
        clock.passes(59)
        assert await asked.price() == first
        assert exchanges.asked["s0"] == 1
        clock.passes(1)
        assert await asked.price() == btc(91_000 * USD, clock.now, ("s0", "s1", "s2"))
        assert asked.status().sources[0].answered_at == clock.now


async def test_a_stale_price_serves_until_its_age_limit(exchanges: Exchanges, clock: Clock) -> None:
    """While refreshing fails the last price is used for 15 minutes, and not a second longer."""
    async with oracle(exchanges.sources(90_000, 90_000, 90_000), clock, development=USD) as asked:
        first = await asked.price()
        exchanges.sources(GONE, 90_000, "junk")
        clock.passes(899)
        assert await asked.price() == first
        assert exchanges.asked["s0"] == 2
        assert asked.status().sources[0].microusd_per_btc == 90_000 * USD
        assert "cannot be reached" in asked.status().sources[0].error
        clock.passes(1)
        assert isinstance(await asked.price(), PriceUnavailable)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_jumps_makes_no_eternal_price(
    hours: int, exchanges: Exchanges, clock: Clock
) -> None:
    """After a jump of the clock, back or forth, a price whose age is not known is not used."""
    async with oracle(exchanges.sources(90_000, 90_000, 90_000), clock) as asked:
        await asked.price()
        exchanges.sources(GONE, GONE, GONE)
        clock.passes(hours * 3_600)
        assert isinstance(await asked.price(), PriceUnavailable)
        exchanges.sources(91_000, 91_000, 91_000)
        clock.passes(-hours * 7_200)
        price = await asked.price()
        assert isinstance(price, BtcPrice) and price.microusd_per_btc == 91_000 * USD


async def test_a_failure_is_remembered_for_some_seconds(exchanges: Exchanges, clock: Clock) -> None:
    """When all failed just now, callers are refused at once and no source is asked again."""
    async with oracle(exchanges.sources(GONE, GONE, GONE), clock) as asked:
        for _ in range(20):
            assert isinstance(await asked.price(), PriceUnavailable)
        once = exchanges.asked["s0"]
        exchanges.sources(90_000, 90_000, 90_000)
        clock.passes(FAILURE_TTL_S - 1)
        assert isinstance(await asked.price(), PriceUnavailable)
        assert exchanges.asked["s0"] == once
        clock.passes(1)
        assert isinstance(await asked.price(), BtcPrice)


async def test_a_failure_that_lasts_is_asked_about_less_often(
    exchanges: Exchanges, clock: Clock
) -> None:
    """Each is remembered twice as long, up to a minute: what is said of when to come back."""
    async with oracle(exchanges.sources(GONE, GONE, GONE), clock) as asked:
        for wait_s in (5, 10, 20, 40, 60, 60):
            for left_s in (wait_s, wait_s - 2):
                refused = await asked.price()
                assert isinstance(refused, PriceUnavailable) and refused.retry_after_s == left_s
                clock.passes(2 if left_s == wait_s else left_s)
        exchanges.sources(90_000, 90_000, 90_000)
        assert isinstance(await asked.price(), BtcPrice)


async def test_many_callers_share_one_refresh(exchanges: Exchanges, clock: Clock) -> None:
    """Two hundred callers at once ask each source once, and get one price."""
    async with oracle(exchanges.sources(90_000, 90_000, 90_000), clock) as asked:
        prices = await asyncio.gather(*(asked.price() for _ in range(200)))
    assert len(set(prices)) == 1
    assert exchanges.asked == Counter(s0=1, s1=1, s2=1)


async def test_a_caller_that_leaves_stops_nothing(exchanges: Exchanges, clock: Clock) -> None:
    """A cancelled caller does not take the answer from those who wait on."""
    async with oracle(
        exchanges.sources(HANG, 90_000, 90_000, 90_000), clock, timeout_s=2.5
    ) as asked:
        leaving = asyncio.create_task(asked.price())
        staying = asyncio.create_task(asked.price())
        await exchanges.waiting.wait()
        leaving.cancel()
        assert isinstance(await staying, BtcPrice)
        assert leaving.cancelled()
        assert exchanges.asked["s1"] == 1


async def test_closing_ends_a_refresh_under_way(exchanges: Exchanges, clock: Clock) -> None:
    """close() does not wait for a source that hangs."""
    async with oracle(exchanges.sources(HANG), clock, timeout_s=3600) as asked:
        caller = asyncio.create_task(asked.price())
        await exchanges.waiting.wait()
        async with asyncio.timeout(PATIENCE_S):
            await asked.close()
        with pytest.raises(asyncio.CancelledError):
            await caller


async def test_the_operators_price_says_that_it_was_used(
    exchanges: Exchanges, clock: Clock
) -> None:
    """With a fixed price there is always one, with a note; live sources go before it."""
    sources = exchanges.sources(90_000, 90_000, 90_000)
    async with oracle(sources, clock, fallback=80_000 * USD, development=USD) as asked:
        live = await asked.price()
        assert isinstance(live, BtcPrice) and live.note == ""
        exchanges.sources(GONE, GONE, GONE)
        clock.passes(600)
        assert await asked.price() == live
        clock.passes(600)
        fixed = await asked.price()
        assert isinstance(fixed, BtcPrice)
        assert (fixed.microusd_per_btc, fixed.at) == (80_000 * USD, clock.now)
        assert fixed.sources == ("operator",)
        assert "operator's fixed bitcoin price" in fixed.note
        assert await asked.healthy() is None


async def test_the_development_price_needs_that_nobody_is_reached(
    exchanges: Exchanges, clock: Clock
) -> None:
    """An example price stands in when all sources are gone, never when one of them said junk."""
    gone = exchanges.sources(GONE, HANG, GONE)
    async with oracle(gone, clock, development=70_000 * USD, timeout_s=0.2) as asked:
        price = await asked.price()
        assert isinstance(price, BtcPrice)
        assert price.sources == ("development",) and "development environment" in price.note
    reached = exchanges.sources(GONE, GONE, "junk")
    async with oracle(reached, clock, development=70_000 * USD) as asked:
        assert isinstance(await asked.price(), PriceUnavailable)
    async with oracle(exchanges.sources(GONE, GONE, GONE), clock) as in_production:
        assert isinstance(await in_production.price(), PriceUnavailable)


async def test_no_server_at_all_is_a_value_too(clock: Clock, exchanges: Exchanges) -> None:
    """Refused connections and names that do not exist are errors of a source, never raised."""
    nobody = tuple(
        Source(name, url, ("usd",))
        for name, url in {
            "refused": "http://127.0.0.1:9/",
            "unknown": "http://no.such.host.invalid/",
            "tls": f"https://127.0.0.1:{exchanges.port}/s0",
        }.items()
    )
    async with oracle(nobody, clock, timeout_s=1) as asked:
        assert isinstance(await asked.price(), PriceUnavailable)
        assert all(source.error for source in asked.status().sources)


def test_at_least_one_source_must_be_needed(clock: Clock) -> None:
    """A minimum of none would be a guess."""
    with pytest.raises(ValueError, match="at least one"):
        Oracle(
            (), clock=clock, fallback_microusd=None, development_microusd=None, minimum_sources=0
        )
