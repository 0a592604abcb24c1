"""Price sources that fall silent are told of, once, and so are those that are back."""

from structlog.testing import capture_logs

from app.telemetry.price_log import LoggedPrices
from pricing.oracle import PriceUnavailable
from tests.world.exchanges import GONE, Clock, Exchanges, oracle, ticker
from tests.world.exchanges import clock as clock
from tests.world.exchanges import exchanges as exchanges


async def test_a_silent_source_is_told_of_once(exchanges: Exchanges, clock: Clock) -> None:
    """When it falls silent, and why; when it is back; when no price is left, and when there is."""
    sources = exchanges.sources(90_000, 90_000, 90_000)
    async with oracle(sources, clock) as asked:
        prices = LoggedPrices(asked)
        with capture_logs() as lines:
            await prices.price()
            assert lines == []
            exchanges.answers |= {"s0": GONE, "s1": b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"}
            for _ in range(3):
                clock.passes(61)
                await prices.price()
        assert [(x["event"], x["source"]) for x in lines] == [
            ("price_source_silent", "s0"),
            ("price_source_silent", "s1"),
        ]
        assert "HTTP 500" in lines[1]["reason"] and lines[1]["log_level"] == "warning"
        with capture_logs() as lines:
            clock.passes(3_600)  # longer than the last price may be old
            for _ in range(3):
                assert isinstance(await prices.price(), PriceUnavailable)
            exchanges.answers |= {"s0": ticker(90_000), "s1": ticker(90_000)}
            clock.passes(61)
            assert await prices.healthy() is None
        assert [x["event"] for x in lines] == [
            "price_unknown", "price_source_back", "price_source_back", "price_known",
        ]  # fmt: skip


async def test_a_fixed_price_is_told_of(exchanges: Exchanges, clock: Clock) -> None:
    """That the operator's own price stands in for the sources is a warning."""
    async with oracle(exchanges.sources(GONE), clock, fallback=1_000_000) as asked:
        prices = LoggedPrices(asked)
        with capture_logs() as lines:
            await prices.price()
            await prices.price()
    assert [x["event"] for x in lines] == ["price_source_silent", "price_not_live"]
