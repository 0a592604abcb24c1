"""The observer: what a port declares is named, counted and stood at, whatever part keeps it."""

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
from prometheus_client import REGISTRY

from app.telemetry.observer import observed, places_of
from payments.rail import Opened, Rail
from payments.stub import StubRail
from pricing.money import sats_to_msat
from tests.world.rail_fixtures import wall_clock


class Port(Protocol):
    """What a part can be asked."""

    label: str

    @property
    def is_up(self) -> bool:
        """Say something that changes."""
        ...

    def plain(self) -> int:
        """Ask nobody."""
        ...

    async def asks(self, number: int) -> int:
        """Ask somebody."""
        ...

    def answer(self, count: int) -> AsyncGenerator[int, None]:
        """Stream an answer."""
        ...

    def pushes(self) -> AsyncIterator[int | None]:
        """Hear for ever."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


class Part:
    """Keeps the port, and has more."""

    label, secret = "a part", "not of the port"

    def __init__(self) -> None:
        self.is_up = False
        self.ended: list[str] = []

    def plain(self) -> int:
        """See Port."""
        return 7

    async def asks(self, number: int) -> int:
        """See Port."""
        return 10 // number

    async def answer(self, count: int) -> AsyncGenerator[int, None]:
        """See Port."""
        try:
            for number in range(count):
                yield number
        finally:
            self.ended.append("answer")

    async def pushes(self) -> AsyncIterator[int | None]:
        """See Port."""
        yield None
        yield 1

    async def close(self) -> None:
        """See Port."""
        self.ended.append("closed")


def seen() -> tuple[Port, Part, list[str]]:
    """Return a part that is observed, the part, and the places that were passed."""
    part, passed = Part(), list[str]()
    kept: Port = part
    return observed(kept, Port, "thing", passed.append), part, passed


def counted(call: str, outcome: str) -> float:
    """Return how many such calls were counted."""
    labels = {"part": "thing", "call": call, "outcome": outcome}
    return REGISTRY.get_sample_value("boltwork_calls_total", labels) or 0


async def test_a_call_is_named_before_and_after_and_counted() -> None:
    """By the part and the method; one that raises has no after, and is counted as that."""
    shown, _, passed = seen()
    was, broke = counted("asks", "ok"), counted("asks", "raised")
    assert await shown.asks(5) == 2
    assert passed == ["thing asks: before", "thing asks: after"]
    with pytest.raises(ZeroDivisionError):
        await shown.asks(0)
    assert passed[2:] == ["thing asks: before"]
    assert (counted("asks", "ok"), counted("asks", "raised")) == (was + 1, broke + 1)


async def test_each_piece_of_a_streamed_answer_is_named_and_the_stream_is_closed() -> None:
    """Who stops in the middle closes the part's own stream too."""
    shown, part, passed = seen()
    assert [piece async for piece in shown.answer(2)] == [0, 1]
    one = "thing piece: before"
    assert passed == ["thing answer: before", one, one, "thing answer: after"]
    stream = shown.answer(5)
    assert await anext(stream) == 0
    await stream.aclose()
    assert part.ended == ["answer", "answer"]


async def test_what_is_heard_for_ever_is_named_each_time_and_is_no_call() -> None:
    """A channel that came back is heard as well."""
    shown, _, passed = seen()
    assert [heard async for heard in shown.pushes()] == [None, 1]
    assert passed == ["thing push: before"] * 2


async def test_all_else_of_the_port_is_as_it_is_at_the_moment_and_nothing_beyond_it() -> None:
    """Values that change are not copied; what is not of the port can't be reached."""
    shown, part, passed = seen()
    assert (shown.label, shown.plain(), shown.is_up) == ("a part", 7, False)
    part.is_up = True
    assert shown.is_up
    await shown.close()
    assert part.ended == ["closed"] and passed == []
    assert not hasattr(shown, "secret")


async def test_every_call_of_a_rail_has_a_place_where_a_process_can_end(tmp_path: Path) -> None:
    """What is passed is what is listed: a method that is new in the port is named by itself."""
    passed = list[str]()
    stub = StubRail(tmp_path / "stub.sqlite3", wall_clock)
    kept: Rail = stub
    rail = observed(kept, Rail, "rail", passed.append)
    opened = await rail.create_invoice("key", sats_to_msat(5), "memo", 600)
    assert isinstance(opened, Opened)
    await rail.look_up_invoice(opened.payment_hash)
    await rail.balance_msat()
    await rail.healthy()
    await rail.close()
    listed = {f"{name}: {at}" for name, moments in places_of(Rail, "rail") for at in moments}
    assert set(passed) <= listed and "rail balance: after" in passed
    assert {"rail pay: before", "rail push: before", "rail look_up_payment: after"} <= listed
