"""What protects buyers of workers of the network, over HTTP: pictures are brought for one thing
alone, and now and then the house knows what it has asked for.
"""

import io
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from app.ports import Declined, Made, Step, Stepped, Undoable, Wanted, unwatched_step
from db.audit import audit
from db.payouts import PayoutRow, of_owner
from tests.world.batch_doors import ended, sold_by
from tests.world.house_fixtures import Instance
from tests.world.lending_fixtures import Lender, buys, lends, page_of, refused
from tests.world.patience import patiently
from tests.world.scripted_maker import ScriptedMaker


def shown(words: str, seed: int, size: tuple[int, int]) -> bytes:
    """Return a picture of squares, another one for other words and another seed."""
    dice, kept = Random(f"{words} {seed}"), io.BytesIO()
    squares = Image.frombytes("L", (9, 9), dice.randbytes(81))
    squares.resize(size, Image.Resampling.NEAREST).convert("RGB").save(kept, "PNG")
    return kept.getvalue()


def painted(asked: Mapping[str, Any], words: str = "") -> bytes:
    """Return what a worker is asked for; or something else, of these words."""
    size = asked["width"], asked["height"]
    return shown(words or asked["prompt"], asked["seed"], size)


class Squares(ScriptedMaker):
    """The house's own maker: always the same for the same words and seed."""

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """Make it."""
        stepped(Step(1, 1))
        return Made(shown(wanted.prompt, wanted.seed, (64, 64)), "image/png")


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[Instance]:
    """A server that makes nothing itself, but to see what workers make; after every item."""
    settings = {"WORKERS": "true", "WORKER_CANARY_EVERY": 1}
    async with sold_by(database_url, tmp_path, Squares(at_once=0), **settings) as running:
        yield running


async def judged(lender: Lender, passed: int, failed: int) -> dict[str, Any]:
    """Wait until so many canaries of a worker were judged; return where it stands."""
    me: dict[str, Any] = {}
    async for look in patiently("no canary was judged"):
        look.saw = me = await lender.me()
        if me["reputation"]["canaries"] == {"passed": passed, "failed": failed}:
            break
    return me


async def ordered(lender: Lender) -> dict[str, Any]:
    """Ask until the house has ordered something of a worker: dice say when that is."""
    async for _ in patiently("nothing is ordered"):
        if leases := (await lender.claim(wait=1))["leases"]:
            break
    return dict(leases[0])


async def owed_to(house: Instance, batch_id: str) -> list[PayoutRow]:
    """Wait until something of a batch is owed back."""
    async for _ in patiently("its buyer is owed nothing"):
        if owed := await of_owner(house.built.db, batch_id):
            break
    return owed


async def test_junk_is_found_and_its_buyer_is_made_whole(house: Instance) -> None:
    """A picture is not taken for other words. What the house knows is held as any item is; who
    brings it as it was asked for is given more at once, who does not is banned: its last buyer has
    back what was held of its pay, and the house's part. Who brings junk alone keeps nothing."""
    lender = await lends(house)
    await buys(house, "a red boat at sea", "two dogs that run")
    one, two = (await lender.claim(most=2, wait=20))["leases"]
    assert (await lender.brings(one, painted(one["input"]))).status_code == 200
    refused(await lender.brings(two, painted(one["input"])), 422, "result_refused")
    assert (await lender.brings(two, painted(two["input"]))).status_code == 200

    canary = await ordered(lender)
    assert set(canary) == set(one) and set(canary["input"]) == set(one["input"])
    taken = await lender.brings(canary, painted(canary["input"]))
    assert taken.json() == {"accepted": True, "earned": canary["pay"]}
    me = await judged(lender, 1, 0)
    assert (me["delivered"], me["reputation"]["atOnce"]) == (3, 4)

    batch_id = await buys(house, "a lighthouse in the fog")
    item = await lender.one()
    assert item["pay"] == canary["pay"]
    assert (await lender.brings(item, painted(item["input"], "junk"))).status_code == 200
    assert (await ended(house, batch_id))["job"]["status"] == "completed"
    junk = await ordered(lender)
    assert (await lender.brings(junk, painted(junk["input"], "more junk"))).status_code == 200
    me = await judged(lender, 1, 1)
    pays = [lease["pay"]["msat"] for lease in (one, two, canary, item, junk)]
    lost = sum(pays[:3]) + sum(pay // 2 for pay in pays[3:])
    assert (me["state"], me["reputation"]["settledMsat"]) == ("banned", sum(pays) - lost)
    assert me["earnings"]["msat"]["forfeited"] == lost
    owed = await owed_to(house, batch_id)
    said = (await house.http.get(f"/api/jobs/{batch_id}")).json()
    assert [each["reason"] for each in said["refunds"]] == ["not_made_as_asked"]
    assert [each.reason.sentence for each in owed] == ["payment for what wasn’t made as you asked"]
    kept = item["pay"]["msat"] - item["pay"]["msat"] // 2
    assert 0 <= 1_000 * said["chargedSats"] - kept - owed[0].amount_msat < 1_000
    refused(await lender.asks("POST", "/api/v1/workers/claims", json={
        "models": ["scene-1"], "maxPixels": 512 * 512,
    }), 403, "worker_paused")  # fmt: skip
    page = await page_of(lender)
    assert "data-forfeited" in page and "went to the buyers of its last" in page

    liar = await lends(house, "a liar")
    batch_id = await buys(house, "a castle on a hill")
    item = await liar.one()
    assert (await liar.brings(item, painted(item["input"], "noise"))).status_code == 200
    junk = await ordered(liar)
    assert (await liar.brings(junk, painted(junk["input"], "more noise"))).status_code == 200
    pay = (await judged(liar, 0, 1))["earnings"]["msat"]
    assert (pay["free"], pay["forfeited"]) == (0, pay["earned"]) and pay["earned"] > 0
    owed = await owed_to(house, batch_id)
    said = (await house.http.get(f"/api/jobs/{batch_id}")).json()
    assert 0 <= 1_000 * said["chargedSats"] - owed[0].amount_msat < 1_000
    orders = "SELECT batch_id FROM item JOIN canary ON canary.item_id = item.id"
    for row in await house.built.db.read_all(orders):
        # Who could look at it would know which of a worker's items are the house's.
        refused(await house.http.get(f"/api/jobs/{row['batch_id']}"), 404, "not_found")
    assert [finding.line for finding in await audit(house.built.db)] == []
