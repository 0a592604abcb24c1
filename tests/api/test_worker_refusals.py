"""What a worker is refused: each code that its API has, by a request that earns it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app import advance
from app.http.worker_pace import EACH_ADDRESS, MOST_UNKNOWN, WINDOW_S, WorkerPace
from app.refusal import Refusal
from tests.world.batch_doors import sold_by
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance
from tests.world.lending_fixtures import AT, Lender, buys, lends, painted, refused
from tests.world.scripted_maker import ScriptedMaker

MOST = 8


@pytest.fixture
async def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
async def strict_house(database_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Instance]:
    """A server that answers few requests of one worker in a minute."""
    limits = {"WORKERS": "true", "WORKER_REQUESTS_PER_MINUTE": str(MOST)}
    async with sold_by(
        database_url, tmp_path, ScriptedMaker(at_once=0), clock=clock, **limits
    ) as running:
        yield running


async def test_who_asks_too_often_is_told_when_to_come_back(
    strict_house: Instance, clock: Clock
) -> None:
    """On every address of its own; others go on, and in the next minute so does it."""
    first, second = await lends(strict_house), await lends(strict_house, "another")
    for _ in range(MOST):
        await first.me()
    lease = {"leaseId": "0" * 32}
    for answer in await asyncio.gather(
        first.asks("GET", f"{AT}/me"),
        first.asks("PATCH", f"{AT}/me", json={}),
        first.asks("GET", f"{AT}/me/payouts"),
        first.asks("POST", f"{AT}/me/payouts", json={}),
        first.asks("POST", f"{AT}/claims", json={}),
        first.brings(lease, b""),
        *(first.says(lease, what) for what in ("heartbeat", "fail", "release")),
    ):
        refused(answer, 429, "rate_limited")
        wait_s = int(answer.headers["retry-after"])
        assert answer.json()["retry_after"] == wait_s and 1 <= wait_s <= WINDOW_S
    await second.me()
    clock.forward(seconds=wait_s)
    await first.me()
    guesser = Lender(strict_house, "wk_1")
    for _ in range(MOST_UNKNOWN):
        refused(await guesser.asks("GET", f"{AT}/me"), 401, "worker_unknown")
    refused(await guesser.asks("GET", f"{AT}/me"), 429, "rate_limited")
    await second.me()  # whoever has a token is not to blame


async def test_what_has_ended_without_it_is_over(strict_house: Instance, clock: Clock) -> None:
    """Another has brought the item: 410, whatever is said of it; and a body has an end."""
    first, second = await lends(strict_house), await lends(strict_house, "another")
    await buys(strict_house, "a boat")
    late = await first.one()
    too_large = await first.says(late, "heartbeat", preview="0" * 800_000)
    refused(too_large, 413, "body_too_large")
    row = await strict_house.built.db.read_one("SELECT item_id, number FROM lease")
    assert row is not None
    clock.forward(minutes=5)
    await strict_house.built.shell.do(advance.leases.lapse, row["item_id"], row["number"])
    refused(await first.says(late, "heartbeat"), 409, "lease_lost")
    assert (await second.brings(await second.one(), painted())).status_code == 200
    refused(await first.says(late, "heartbeat"), 410, "job_over")
    refused(await first.says(late, "fail", reason="no memory"), 410, "job_over")
    refused(await first.brings(late, painted("blue")), 410, "job_over")


def test_an_address_has_more_than_one_worker() -> None:
    """Ten times as much is answered there, in a minute of the clock; without a limit all is."""
    clock = Clock()
    pace, open_pace = WorkerPace(2, clock), WorkerPace(0, clock)
    for _ in range(2 * EACH_ADDRESS):
        pace.count_address("a")
    with pytest.raises(Refusal) as refusal:
        pace.count_address("a")
    pace.count_address("b")
    clock.forward(seconds=int(refusal.value.headers["Retry-After"]))
    pace.count_address("a")
    for count in (open_pace.count_address, open_pace.count_unknown, open_pace.count):
        for _ in range(1_000):
            count("a")
