"""Work that can wait goes a piece at a time; in its rests nothing of it stands in the way."""

import asyncio

import pytest

from app.promises.pacing import LONGEST_REST_S, RESTS, Pacing


class Time:
    """Time that passes when it is told to, and every pause that was made in it."""

    def __init__(self) -> None:
        self.now_s, self.paused = 100.0, list[float]()

    def __call__(self) -> float:
        """Return the moment."""
        return self.now_s

    async def pause(self, seconds: float) -> None:
        """Have it pass."""
        self.paused.append(seconds)
        self.now_s += seconds


async def test_one_piece_after_the_other_in_the_order_they_came() -> None:
    """However many wait, one is under way; one that breaks lets the next one in."""
    time, at_work, order = Time(), 0, list[int]()
    pacing = Pacing(time, time.pause)

    async def work(number: int) -> None:
        nonlocal at_work
        async with pacing.turn():
            at_work += 1
            assert at_work == 1
            await asyncio.sleep(0)
            order.append(number)
            at_work -= 1
            if number == 2:
                raise ValueError

    told = await asyncio.gather(*(work(number) for number in range(5)), return_exceptions=True)
    assert order == [0, 1, 2, 3, 4]
    assert [type(each) for each in told if each is not None] == [ValueError]


async def test_a_piece_is_followed_by_a_rest_that_its_length_sets() -> None:
    """Twice as long as it took, and never so long that work stands still; who comes later than
    that is let in at once."""
    time = Time()
    pacing = Pacing(time, time.pause)
    for took_s in (0.004, 10.0, 0.001):
        async with pacing.turn():
            time.now_s += took_s
    assert time.paused == pytest.approx([RESTS * 0.004, LONGEST_REST_S])
    time.now_s += 1
    async with pacing.turn():
        pass
    assert len(time.paused) == 2
