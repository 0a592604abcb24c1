"""Many notices at once, most of them to servers that hang or fail."""

from tests.runs.notice_storm import ANSWERS, FAILS, HANGS, storm
from tests.world.notice_fixtures import world_of


async def test_all_are_delivered_or_given_up_by_the_book(database_url: str) -> None:
    """A third hangs, a third fails, a third answers: each to its end, at its times, and no other.

    `scripts/notices` sends a thousand.
    """
    async with world_of(database_url, at_once=30) as office:
        came = await storm(office, count=30, at_once=30)
    assert came.wrong == []
    assert came.states == {
        (HANGS, "given_up"): 10, (FAILS, "given_up"): 10, (ANSWERS, "delivered"): 10,
    }  # fmt: skip
    assert came.tries == 10 * 12 + 10 * 12 + 10
    assert came.most_at_once == came.bodies == 1
