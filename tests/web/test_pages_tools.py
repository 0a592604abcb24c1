"""The tools' pages in a real browser: a form from a schema, its price, its payment, its result."""

import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from app.executors.toolbox import Toolbox, make_vision
from db.audit import audit
from tests.world.house_fixtures import Instance, instance_of
from tests.world.page_fixtures import Visitor
from tests.world.patience import PATIENCE_S, patiently

Come = Callable[..., Awaitable[Visitor]]
BUTTON = "text=Get an invoice"


@pytest.fixture(scope="module")
async def shop(
    database_url_of_file: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Instance]:
    """An instance that sells tools, those of the extra too: one for all tests."""
    folder, vision = tmp_path_factory.mktemp("shop"), make_vision()
    assert vision is not None
    async with instance_of(database_url_of_file, folder, executors=[Toolbox(), vision]) as running:
        yield running


def picture(folder: Path) -> Path:
    """Return a file with a picture."""
    path = folder / "picture.png"
    Image.new("RGB", (64, 48), "teal").save(path)
    return path


async def test_a_code_is_bought_and_shown(shop: Instance, visit: Come, axe: str) -> None:
    """From the list to the form, from the form to the invoice, and then the picture; each page can
    be used by everybody."""
    visitor = await visit(shop.url)
    page = visitor.page
    await page.goto("/tools")
    await visitor.judged(axe, "tools")
    await page.click("main >> text=QR code")
    await visitor.headline("QR code")
    assert await page.inner_text(".amount .n") == "1"
    await visitor.judged(axe, "tool")
    await page.fill("#text", "hello there")
    await page.fill("#size", "256")
    await page.click(BUTTON)
    await visitor.headline("Pay for 1 result")
    await page.click("[data-stub-pay]")
    await visitor.headline("Done")
    made = page.locator(".gallery img")
    assert await made.get_attribute("alt") == "hello there, number 1"
    assert await page.inner_text("[data-request]") == "hello there"
    await visitor.judged(axe, "result")
    saved = await page.context.request.get(await made.get_attribute("src") or "")
    with Image.open(io.BytesIO(await saved.body())) as code:
        assert 200 <= code.width <= 256
    assert await audit(shop.built.db) == []


async def test_a_file_of_ones_own_is_a_picture(
    shop: Instance, visit: Come, axe: str, tmp_path: Path
) -> None:
    """It is chosen, sent with the form, and what comes of it may be values."""
    visitor = await visit(shop.url)
    page = visitor.page
    await page.goto("/tools/palette")
    async with page.expect_file_chooser() as choosing:
        await page.click("[data-file-of=image]")
    await (await choosing.value).set_files(picture(tmp_path))
    async for _ in patiently("the picture is not read", pause_s=0.1):
        if (await page.input_value("#image")).startswith("data:"):
            break
    await page.click(BUTTON)
    await visitor.headline("Pay for 1 result")
    await page.click("[data-stub-pay]")
    await visitor.headline("Done")
    assert "#008080" in await page.inner_text(".said")
    await visitor.judged(axe, "values")


async def test_the_price_follows_what_is_typed(shop: Instance, visit: Come) -> None:
    """And says what is wrong, in place of a price; without a script a button asks for it."""
    visitor = await visit(shop.url)
    page = visitor.page
    await page.goto("/tools/contact-sheet")
    assert await page.locator("[data-ask-price]").is_hidden()
    await page.fill("#columns", "99")
    await page.locator("#price", has_text="must be 1 to 8").wait_for()
    await page.fill("#columns", "4")
    await page.locator("#price .amount").wait_for()
    plain = await visit(shop.url, java_script_enabled=False)
    await plain.page.goto("/tools/adjust")
    await plain.page.click("text=What would it cost?")
    assert await plain.page.inner_text(".amount .n") == "1"
    await plain.page.fill("#image", "data:image/png;base64,AAAA")
    await plain.page.check("#mirror")
    await plain.page.click(BUTTON)
    said = await plain.page.inner_text("#problem")
    assert "not a PNG, JPEG or WebP picture" in said
    assert await plain.page.is_checked("#mirror")


async def test_every_open_tool_has_a_form(shop: Instance) -> None:
    """Each field with its label and its hint, and a picture that isn't needed may be left out. One
    that isn't there is a 404."""
    async with httpx2.AsyncClient(base_url=shop.url, verify=False, timeout=PATIENCE_S) as http:
        for listed in shop.built.catalogue.tools():
            answer = await http.get(f"/tools/{listed.offering.id}")
            assert answer.status_code == (200 if listed.is_open else 404), listed.offering.id
            if listed.is_open:
                ids = re.findall(r'id="([\w-]+)-hint"', answer.text)
                assert len(ids) >= 1 and "/tools" in answer.text
        assert (await http.get("/tools/no-such")).status_code == 404
        restyle = (await http.get("/tools/restyle")).text
        needs = {name: f'name="{name}" required' in restyle for name in ("image", "style_image")}
        assert needs == {"image": True, "style_image": False} and "under MIT" in restyle
        assert '<option value="16">stained glass</option>' in restyle
        assert "Which of its own." in restyle
