"""A picture that was brought for something else is not taken, whoever brings it."""

import asyncio

import pytest

from app import advance
from app.advance import Applied, Replayed, Reused
from db import forgetting, lapsed
from tests.world.market_fixtures import Market, hashed
from tests.world.trust_fixtures import CAT, DENSE, DOG, Lent


@pytest.fixture
def lent(market: Market) -> Lent:
    """A market for workers of the network."""
    return Lent(market)


async def test_a_picture_is_not_taken_for_other_words(lent: Lent) -> None:
    """Nor one that looks nearly the same, from whoever it comes; and the lease is still held: with
    a picture of its own it is paid for."""
    await lent.workers("w", "v")
    await lent.asked("b", (CAT, 1), (DOG, 1), ("a castle in the mountains at night", 1))
    first, second = await lent.claimed("w", 2)
    assert await lent.brings(first, "w", DENSE, "bytes") == Applied()
    assert await lent.brings(second, "w", DENSE, "bytes") == Reused()
    assert await lent.brings(second, "w", DENSE ^ 1 << 99, "other bytes") == Reused()
    [third] = await lent.claimed("v")
    assert await lent.brings(third, "v", DENSE ^ 1 << 99, "other bytes") == Reused()
    assert await lent.market.rests_on("user:v-account") == 0
    assert await lent.brings(third, "v", DENSE ^ (1 << 50) - 1, "its own") == Applied()
    assert await lent.brings(second, "w", DENSE << 1, "its own too") == Applied()
    assert await lent.brings(first, "w", DENSE, "bytes") == Replayed()
    await lent.market.is_right()


async def test_the_same_words_may_look_the_same(lent: Lent) -> None:
    """With the same seed it may be the same bytes; with another it looks alike, but is another."""
    await lent.workers("w")
    await lent.asked("b", (CAT, 1), (CAT, 1), (CAT.upper(), 1), (CAT, 2))
    same, again, loud, other = await lent.claimed("w", 4)
    for claim in (same, again, loud):
        assert await lent.brings(claim, "w", DENSE, "bytes") == Applied()
    assert await lent.brings(other, "w", DENSE, "bytes") == Reused()
    assert await lent.brings(other, "w", DENSE, "other bytes") == Applied()
    await lent.market.is_right()


async def test_what_is_plain_is_not_compared(lent: Lent) -> None:
    """Of two pictures in one colour nobody can say that the one was made for the other."""
    await lent.workers("w")
    await lent.asked("b", ("all red", 1), ("a plain wall", 1))
    for claim in await lent.claimed("w", 2):
        assert await lent.brings(claim, "w", None) == Applied()


async def test_what_the_house_makes_is_not_compared(lent: Lent) -> None:
    """Its own executors are not paid for it."""
    await lent.asked("b", (CAT, 1), (DOG, 1))
    for claim in await lent.market.claim("house:scene-1:1", 2):
        assert await lent.brings(claim, "house:scene-1:1", DENSE) == Applied()


async def test_of_two_who_bring_one_picture_at_once_one_is_paid(lent: Lent) -> None:
    """The second waits for the first, and then sees what that has brought."""
    await lent.workers("w", "v")
    for number in range(4):
        await lent.asked(f"b{number}", (f"{CAT} number{number}", 1), (f"{DOG} {number}", 1))
        claims = [((await lent.claimed(worker))[0], worker) for worker in ("w", "v")]
        bits = int(hashed(f"look {number}"), 16)
        told = await asyncio.gather(
            *(lent.brings(claim, worker, bits, f"{number}") for claim, worker in claims)
        )
        assert sorted(map(str, told)) == ["Applied()", "Reused()"]
        await lent.market.shell.do(advance.batches.cancel, f"b{number}")
        for claim, worker in claims:
            fail = advance.leases.fail
            await lent.market.shell.do(fail, claim.id, claim.number, worker, "It can't.")


async def test_looks_are_forgotten_with_what_was_asked_for(lent: Lent) -> None:
    """Without its words nobody can say whether another was asked the same."""
    await lent.workers("w")
    await lent.asked("b", (CAT, 1))
    [claim] = await lent.claimed("w")
    assert await lent.brings(claim, "w", DENSE) == Applied()
    lent.market.clock.forward(hours=1)
    now = lent.market.clock()
    await lent.market.db.run("purge", lambda tx: lapsed.purge_leases(tx, now, now, 9))
    assert await lent.market.db.run("forget", lambda tx: forgetting.forget(tx, now, now, 9)) == 1
    assert await lent.market.db.read_all("SELECT 1 FROM look") == []
    await lent.asked("c", (DOG, 1))
    [other] = await lent.claimed("w")
    assert await lent.brings(other, "w", DENSE) == Applied()
