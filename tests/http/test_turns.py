"""Turns: what fails on our side is given back, wherever counts lie, and that has an end too."""

import asyncio
import functools
from datetime import UTC, datetime
from pathlib import Path

import pytest
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage

from app.http.counts import PostgresStorage
from app.http.throttle import Rule, Throttle
from app.refusal import Refusal, Why
from db.engine import Database, DatabaseAway
from tests.world.house_fixtures import a_request
from tests.world.rail_fixtures import RailClock


@pytest.mark.parametrize("in_postgres", [True, False])
async def test_what_failed_on_our_side_is_given_back(
    db: Database, tmp_path: Path, in_postgres: bool
) -> None:
    """Wherever counts lie: of many at once that fail, so many are given back as may be asked in a
    window; a refusal of the request itself is not, and neither is one whose caller has left.
    """
    most, request = 5, a_request()
    clock = functools.partial(datetime.now, UTC)  # the library's store goes by no other
    storage: Storage = PostgresStorage(db, clock) if in_postgres else MemoryStorage()
    throttle = Throttle(storage, {Rule.DEMO: RateLimitItemPerMinute(most)}, clock)

    async def fail(why: BaseException) -> int:
        with pytest.raises(type(why)):
            async with throttle.turn(request, Rule.DEMO):
                raise why
        return int(request.scope["state"]["rate_limit"]["x-ratelimit-remaining"])

    assert await fail(Refusal(Why.DECLINED, "The model declines.")) == most - 1
    assert await fail(asyncio.CancelledError()) == most - 2
    assert await fail(RuntimeError("ours")) == most - 2
    for ours in (
        Refusal(Why.NOT_WELL, "Away."),
        DatabaseAway("away"),
        ValueError("ours"),
        KeyError("ours"),
    ):
        assert await fail(ours) == most - 2
    assert [await fail(RuntimeError("ours")) for _ in range(3)] == [2, 1, 0]
    with pytest.raises(Refusal, match="more than"):
        await throttle.count(request, Rule.DEMO)


async def test_what_was_refused_meanwhile_takes_no_turn(db: Database, tmp_path: Path) -> None:
    """Who asks on while all turns are under way has what is given back of them afterwards."""
    clock, request = RailClock(), a_request()
    throttle = Throttle(PostgresStorage(db, clock), {Rule.DEMO: RateLimitItemPerMinute(1)}, clock)

    async def refused_now() -> None:
        with pytest.raises(Refusal, match="more than"):
            async with throttle.turn(request, Rule.DEMO):
                raise AssertionError("it was let through")

    with pytest.raises(RuntimeError):
        async with throttle.turn(request, Rule.DEMO):
            await asyncio.gather(*(refused_now() for _ in range(8)))
            raise RuntimeError
    async with throttle.turn(request, Rule.DEMO):
        await refused_now()


async def test_a_window_that_has_closed_is_given_nothing_back(db: Database, tmp_path: Path) -> None:
    """What fails after its window closed is not taken from the next one's count."""
    clock, request = RailClock(), a_request()
    throttle = Throttle(PostgresStorage(db, clock), {Rule.DEMO: RateLimitItemPerMinute(2)}, clock)
    with pytest.raises(RuntimeError):
        async with throttle.turn(request, Rule.DEMO):
            clock.advance(60)
            raise RuntimeError
    for expected in (1, 0):
        await throttle.count(request, Rule.DEMO)
        told = request.scope["state"]["rate_limit"]
        assert told["x-ratelimit-remaining"] == expected
