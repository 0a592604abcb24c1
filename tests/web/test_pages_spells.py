"""The pages of spells in a real browser: one is found, cast for an invoice, and fills."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from db.audit import audit
from tests.world.page_fixtures import Visitor
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
    await page.click("[data-stub-pay]")
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
