"""A payment in USDC that is sent again: answered for an hour, and later to who has its key."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.world.batch_doors import sold_by
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance
from tests.world.scripted_maker import ScriptedMaker
from tests.world.usdc_doors import asked_in, signed
from tests.world.usdc_fixtures import Payer

PATH = "/v1/images/generate"
IMAGE = {"model": "nano-banana-pro", "prompt": "a garden", "resolution": "1k"}


@pytest.fixture
async def shop(database_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Instance]:
    """An instance that sells images, and lives by the test's clock."""
    async with sold_by(database_url, tmp_path, ScriptedMaker(), clock=clock) as running:
        yield running


async def test_a_payment_is_answered_again_for_an_hour(shop: Instance, clock: Clock) -> None:
    """Then whoever sends it without a key has read it on the chain, and is told nothing."""
    asked = asked_in(await shop.post(PATH, IMAGE))
    sent = signed(shop, Payer(), asked)
    first = await shop.post(PATH, IMAGE, headers=sent)
    assert first.status_code == 202, first.text
    clock.forward(minutes=59)
    again = await shop.post(PATH, IMAGE, headers=sent)
    assert again.json()["id"] == first.json()["id"]
    clock.forward(minutes=2)
    late = await shop.post(PATH, IMAGE, headers=sent)
    assert late.status_code == 409 and first.json()["id"] not in late.text, late.text


async def test_who_has_its_key_is_answered_later_too(shop: Instance, clock: Clock) -> None:
    """It is in no order on the chain; without it the request is another one."""
    asked = asked_in(await shop.post(PATH, IMAGE))
    sent = signed(shop, Payer(), asked) | {"Idempotency-Key": "0123456789abcdef0123456789abcdef"}
    first = await shop.post(PATH, IMAGE, headers=sent)
    clock.forward(hours=2)
    again = await shop.post(PATH, IMAGE, headers=sent)
    assert again.status_code == 202 and again.json()["id"] == first.json()["id"], again.text
    del sent["Idempotency-Key"]
    assert (await shop.post(PATH, IMAGE, headers=sent)).status_code == 409
