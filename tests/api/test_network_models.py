"""Models that workers of the network alone make: listed as theirs, sold while one that can is
there, and paid back where none comes.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.executors.toolbox import Toolbox
from db.audit import audit
from tests.world.batch_doors import ended, proof_of
from tests.world.clock import Clock
from tests.world.contract import refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lending_fixtures import AT, Lender, lends, painted
from tests.world.patience import PATIENCE_S, patiently

MODEL, SIDE = "chroma", 256
ASKS = {"models": [MODEL], "maxPixels": 2_048 * 2_048}
BODY: dict[str, Any] = {
    "defaults": {"model": MODEL, "width": SIDE, "height": SIDE},
    "images": [{"prompt": "a red boat"}, {"prompt": "a tree"}],
}
MADE_BY = {"model": MODEL, "madeBy": "network", "standsIn": False}


@dataclass
class Town:
    """A server that sells what workers make, and whose clock is ours."""

    at: Instance
    clock: Clock

    async def listed(self, is_there: bool) -> dict[str, Any]:
        """Return how the model is listed, once it is known whether somebody makes it."""
        async for look in patiently("it is not counted", pause_s=0.1):
            models = (await self.at.http.get("/api/models")).json()["image"]
            look.saw = [model] = [each for each in models if each["id"] == MODEL]
            if model["available"] is is_there:
                break
        return dict(model)

    async def studio(self) -> str:
        """Return the studio's page."""
        async with httpx2.AsyncClient(base_url=self.at.url, timeout=PATIENCE_S) as http:
            return (await http.get("/studio")).text


@pytest.fixture
async def town(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """No picture is made here but by workers."""
    clock = Clock()
    settings: dict[str, Any] = {"WORKERS": "true", "UNMADE_S": "600"}
    async with instance_of(
        database_url, tmp_path, executors=[Toolbox()], clock=clock, **settings
    ) as running:
        yield Town(running, clock)


async def asks(lender: Lender, **more: Any) -> list[dict[str, Any]]:
    """Claim what waits of the model."""
    answer = await lender.asks("POST", f"{AT}/claims", json=ASKS | more)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["leases"])


async def test_it_is_sold_while_a_worker_that_makes_it_is_there(town: Town) -> None:
    """And else nothing is taken. Every listing, quote and offer says whose work it is; where all
    workers go away after it was paid, what they have not made is given up in time, and paid back.
    """
    at = town.at
    model = await town.listed(False)
    assert (model["madeBy"], model["standsIn"]) == ("network", False)
    assert "workers of the network" in model["description"]
    tiers = (await at.http.get("/api/v1/models")).json()["models"]["z-image-turbo"]
    assert (tiers["made_by"], tiers["available"]) == ("network", False)
    page = await town.studio()
    assert "(not available now)" in page and "None is there just now" in page
    quote = (await at.post("/api/jobs/quote", BODY)).json()
    assert quote["makers"] == [MADE_BY | {"available": False}]
    away = await at.post("/api/jobs", BODY)
    refused(away, 503)
    assert "No worker that makes chroma is there just now" in away.text
    assert int(away.headers["retry-after"]) > 0

    lender = await lends(at)
    assert await asks(lender) == []
    await town.listed(True)
    assert "(not available now)" in await town.studio()  # the others
    offer = await at.post("/api/jobs", BODY)
    assert offer.json()["makers"] == [MADE_BY]
    waits = asyncio.create_task(asks(lender, wait=20))
    made = (await at.post("/api/jobs", BODY, headers=await proof_of(at, offer))).json()
    assert made["makers"] == [MADE_BY]
    [lease] = await waits
    assert lease["input"]["model"] == MODEL
    assert (await lender.brings(lease, painted(side=SIDE))).status_code == 200

    town.clock.forward(seconds=700)
    said = await ended(at, made["jobId"])
    assert [each["status"] for each in said["images"]] == ["completed", "failed"]
    assert said["images"][0]["madeBy"] == "network"
    assert said["images"][1]["error"] == "No worker that makes it came in time."
    assert said["refunds"][0]["amountSats"] * 2 == offer.json()["amountSats"]
    async for _ in patiently("it is sold, and nobody makes it"):  # a count is good for a moment
        if (answer := await at.post("/api/jobs", BODY)).status_code != 402:
            break
    refused(answer, 503)
    assert [finding.line for finding in await audit(at.built.db)] == []
