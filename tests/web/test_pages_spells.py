"""The pages of spells in a real browser: one is found, cast for an invoice, and fills."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from db.audit import audit
from tests.world.page_fixtures import Visitor
from tests.world.patience import patiently
from tests.world.spell_fixtures import CHAIN, Stage, stage_on

Come = Callable[..., Awaitable[Visitor]]


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A server with a spell of five steps."""
    async with stage_on(database_url, tmp_path) as running:
        await running.publish(CHAIN)
        yield running
        assert [finding.line for finding in await audit(running.at.built.db)] == []


async def test_a_spell_is_cast_and_its_steps_fill(stage: Stage, visit: Come, axe: str) -> None:
    """It is found by words, priced, paid for and made; what failed is resumed for what it costs."""
    stage.toolbox.refuses = {"crop"}
    visitor = await visit(stage.at.url)
    page = visitor.page
    await page.goto(f"{stage.at.url}/spells?search=five")
    await visitor.judged(axe, "spells")
    await page.click("text=Five steps")
    assert await page.locator(".flow .card").count() == 5
    await visitor.judged(axe, "spell")
    await page.fill("#p-what", "a lake <b>at night</b>")
    price = await page.inner_text(".amount .n")
    await page.click("text=Get an invoice")
    await visitor.headline("Pay for this cast")
    assert await page.inner_text(".amount .n") == price
    stage.painter.go.clear()
    await page.click("[data-stub-pay]")
    async for _ in patiently("the preview is not shown", pause_s=0.1):
        if await page.evaluate("document.querySelector('.flow .now img')?.naturalWidth") == 64:
            break
    assert await page.locator(".flow .now progress[value='49']").count() == 1
    told = (await stage.at.http.get(f"/api/v1/spells/casts/{page.url[-32:]}")).json()["steps"][0]
    assert told["progress"] == 49
    assert (await stage.at.http.get(told["preview"])).headers["content-type"] == "image/png"
    await visitor.judged(axe, "casting")
    stage.painter.go.set()
    await visitor.headline("Stopped")
    assert await page.locator(".flow .done img").count() == 3
    assert await page.locator(".flow .stop").count() == 2
    await visitor.judged(axe, "cast")
    assert stage.painter.asked[0].inputs["prompt"] == "a lake <b>at night</b>, wide"
    stage.toolbox.refuses = set()
    await page.click("text=Resume")
    await visitor.headline("Pay for this cast")
    await page.click("[data-stub-pay]")
    await visitor.headline("Done")
    assert await page.locator(".flow .done img").count() == 5


async def test_a_cast_is_paid_from_a_balance(stage: Stage, visit: Come, axe: str) -> None:
    """By who is signed in: the price and the balance before, the receipt after it. What has become
    dearer since it was shown is not charged."""
    visitor = await visit(stage.at.url)
    page = visitor.page
    await page.goto("/spells/five-steps")
    assert not await page.locator("[name=pay]").count()
    mine = {"username": "caster", "password": "secret"}
    assert (await page.request.post("/api/auth/login", data=mine)).ok
    await page.goto("/spells/five-steps")
    assert "5,000 sats" in await page.inner_text("#purse")
    await visitor.judged(axe, "spell of a balance")
    price = int(await page.inner_text(".amount .n"))
    await page.evaluate("document.querySelector('[name=most]').value = '1'")
    await page.click("[name=pay]")
    assert "The price has changed" in await page.inner_text("#problem")
    assert await stage.sats(stage.caster) == 5_000
    stage.toolbox.refuses = {"crop"}
    await page.click("[name=pay]")
    await visitor.headline("Stopped")
    left = await stage.sats(stage.caster)
    assert 5_000 - price < left < 5_000
    rest = int(await page.inner_text("[data-rest]"))
    stage.toolbox.refuses = set()
    await page.click("[name=pay]")
    await visitor.headline("Done")
    assert left - await stage.sats(stage.caster) <= rest
    assert await page.locator("text=Signed receipt").count() == 2
    async with page.expect_download() as downloading:
        await page.click("text=Signed receipt 1")
    assert "receipt" in (await downloading.value).suggested_filename


async def test_what_is_wrong_with_a_field_is_said_there(stage: Stage, visit: Come) -> None:
    """And nothing is bought."""
    visitor = await visit(stage.at.url)
    page = visitor.page
    await page.goto(f"{stage.at.url}/spells/five-steps")
    await page.evaluate("document.querySelector('#p-what').removeAttribute('maxlength')")
    await page.fill("#p-what", "x" * 201)
    await page.click("text=Get an invoice")
    assert "characters" in await page.inner_text("#problem")
    assert await page.get_attribute("#p-what", "aria-invalid") == "true"
    assert not stage.painter.asked
