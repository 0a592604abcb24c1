"""A house with a studio for the tests of its pages, and a visitor who orders there."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from app.trade.catalogue import PAINTER
from db import batches
from tests.world.house_fixtures import Instance, instance_of
from tests.world.page_fixtures import Visitor
from tests.world.patience import patiently
from tests.world.scripted_maker import ScriptedMaker


@pytest.fixture
def maker() -> ScriptedMaker:
    """What makes the pictures of `studio`."""
    return ScriptedMaker()


@pytest.fixture
async def studio(
    database_url: str, tmp_path: Path, maker: ScriptedMaker
) -> AsyncIterator[Instance]:
    """A running instance that sells pictures."""
    async with instance_of(database_url, tmp_path, executors=[maker]) as running:
        yield running
        maker.go.set()  # whoever stops waits for nothing


async def ordered(visitor: Visitor, prompt: str, count: int = 2) -> str:
    """Order pictures in the studio; return the id of the batch that it becomes."""
    page = visitor.page
    await page.goto("/studio")
    await page.fill("#prompt", prompt)
    await page.select_option("#model", PAINTER)
    await page.fill("#count", str(count))
    await page.click("text=Get an invoice >> nth=-1")
    await visitor.headline("Pay for")
    return page.url.rpartition("/")[2]


async def bought(studio: Instance, http: httpx2.AsyncClient, prompt: str, count: int) -> str:
    """Buy pictures by the studio's forms, wait until they have ended, and return the batch's id."""
    form = {"kind": "image", "prompt": prompt, "model": PAINTER, "count": str(count)}
    at = (await http.post("/studio", data=form)).headers["location"]
    assert (await http.post(f"{at}/pay")).status_code == 303
    batch_id = at.rpartition("/")[2]
    async for look in patiently("it did not end", pause_s=0.02):
        look.saw = row = await batches.view(studio.built.db, batch_id)
        if row is not None and row.is_final:
            break
    return batch_id
