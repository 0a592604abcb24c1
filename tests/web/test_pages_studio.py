"""The studio's pages in a real browser: what is wanted, its price, its payment, and a gallery."""

import io
import json
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from app.keys.receipt_check import keys_in, verify
from app.trade.catalogue import PAINTER
from db.audit import audit
from statemachine.public_id import public_id
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance, instance_of
from tests.world.page_fixtures import Visitor
from tests.world.patience import PATIENCE_S, patiently
from tests.world.scripted_maker import ScriptedMaker
from tests.world.studio_fixtures import bought, ordered

Come = Callable[..., Awaitable[Visitor]]


@pytest.fixture(scope="module")
def maker_of_file() -> ScriptedMaker:
    """What makes the pictures of `studio`."""
    return ScriptedMaker()


@pytest.fixture
def maker(maker_of_file: ScriptedMaker) -> Iterator[ScriptedMaker]:
    """The same, that was asked for nothing yet."""
    maker_of_file.asked.clear()
    yield maker_of_file
    maker_of_file.go.set()


@pytest.fixture(scope="module")
async def studio(
    database_url_of_file: str,
    tmp_path_factory: pytest.TempPathFactory,
    maker_of_file: ScriptedMaker,
) -> AsyncIterator[Instance]:
    """A running instance that sells pictures, for all tests: visitors sit where others sat."""
    folder = tmp_path_factory.mktemp("studio")
    async with instance_of(database_url_of_file, folder, executors=[maker_of_file]) as running:
        yield running
        maker_of_file.go.set()  # whoever stops waits for nothing


async def test_pictures_are_bought_and_come_one_by_one(
    studio: Instance, maker: ScriptedMaker, visit: Come
) -> None:
    """The price is on the invoice; the gallery fills by itself as pictures are made; each is saved
    by itself, and all of them as one zip, under names that open nothing.
    """
    maker.go.clear()
    visitor = await visit(studio.url)
    page = visitor.page
    batch_id = await ordered(visitor, "a cat in the rain", 3)
    assert await page.inner_text(".amount .n") == "12"
    assert "LIGHTNING:LN" in await visitor.code()
    await page.click("[data-stub-pay]")
    await visitor.headline("Making 3 pictures")
    await page.locator(".piece.processing").wait_for()
    # How it looks by now.
    async for _ in patiently("the preview is not shown", pause_s=0.1):
        if await page.evaluate("document.querySelector('.processing img')?.naturalWidth") == 64:
            break
    maker.go.set()
    await visitor.headline("Done")
    assert await page.locator(".gallery a img").count() == 3
    assert "All 3 pictures are here" in await page.inner_text("[role=status]")
    assert len({wanted.seed for wanted in maker.asked}) == 3  # each is another one
    async with page.expect_download() as downloading:
        await page.click("text=Download all")
    download = await downloading.value
    packed = zipfile.ZipFile(await download.path())
    assert packed.testzip() is None
    assert packed.namelist() == ["001.png", "002.png", "003.png"]
    with Image.open(io.BytesIO(packed.read("001.png"))) as first:
        assert first.size == (64, 64)
    async with page.expect_download() as downloading:
        await page.click("#item-2 >> text=Save")
    saved = (await downloading.value).suggested_filename
    assert saved.endswith("-002.png") and download.suggested_filename.endswith(".zip")
    assert batch_id not in download.suggested_filename + saved
    async with page.expect_download() as downloading:
        await page.click("text=Signed receipt")
    receipt = json.loads((await (await downloading.value).path()).read_text())
    jwks = (await studio.http.get("/.well-known/jwks.json")).json()
    assert verify(receipt["receipt"], keys_in(jwks))["publicId"] == public_id(batch_id)
    assert await audit(studio.built.db) == []


async def test_what_is_not_delivered_comes_back(studio: Instance, visit: Come) -> None:
    """Each item says why it failed, as text; the rest of the payment is taken back from the page,
    and the bill holds what was delivered alone.
    """
    visitor = await visit(studio.url)
    page = visitor.page
    await ordered(visitor, "SOME cats", 4)
    await page.click("[data-stub-pay]")
    await visitor.headline("Done")
    assert "2 of 4 pictures could be made" in await page.inner_text("[role=status]")
    assert await page.inner_text(".piece.failed .quiet >> nth=0") == "Nobody paints <b>that</b>."
    assert await page.inner_text("[data-total] .n >> nth=0") == "8"
    await page.click("[data-stub-refund]")
    await page.locator("#refunds .ok").wait_for()
    assert await audit(studio.built.db) == []


async def test_pictures_are_bought_without_a_script(studio: Instance, visit: Come) -> None:
    """Buttons and reloads do all of it: the kind, the price, the payment, and the refund."""
    visitor = await visit(studio.url, java_script_enabled=False)
    page = visitor.page
    await page.goto("/studio")
    await page.fill("#prompt", "BREAK it")
    await page.click("[value=video]")
    assert await page.input_value("#prompt") == "BREAK it"
    assert await page.input_value("#duration") == "5"
    await page.click("[value=image]")
    await page.select_option("#model", "chroma")
    await page.fill("#count", "2")
    await page.click("[data-ask-price]")
    assert await page.inner_text("#price .n >> nth=0") == "50"
    assert "stands in for it" in await page.inner_text("#who")
    await page.select_option("#model", PAINTER)
    await page.focus("#count")
    await page.keyboard.press("Enter")  # which orders, and does not change the kind
    await page.click("[data-stub-pay]")
    await visitor.reloaded_until("Failed")
    assert "What you paid is refunded" in await page.inner_text("[role=status]")
    await page.click("[data-stub-refund]")
    assert "It has arrived" in await page.inner_text("#refunds")
    await page.click("text=Edit and ask again")
    assert await page.input_value("#prompt") == "BREAK it"
    assert await page.input_value("#count") == "2"
    assert await audit(studio.built.db) == []


async def test_the_price_follows_what_is_chosen(studio: Instance, visit: Come) -> None:
    """As one types, without a button; what makes no price is said in its place."""
    visitor = await visit(studio.url)
    page = visitor.page
    await page.goto("/studio")
    assert await page.locator("[data-ask-price]").is_hidden()
    price = page.locator("#price .amount .n")
    assert await price.inner_text() == "16"
    await page.fill("#count", "500")
    await page.locator("#price", has_text="500 pictures").wait_for()
    assert await price.inner_text() == "2,000"
    await page.select_option("#model", "z-image-turbo")
    await page.locator("#price", has_text="$0.025 each").wait_for()
    assert await price.inner_text() == "12,500"
    await page.fill("#count", "501")
    await page.locator("#price", has_text="from 1 to 500").wait_for()
    assert await price.count() == 0


async def test_an_order_is_cancelled_on_its_page(
    studio: Instance, maker: ScriptedMaker, visit: Come
) -> None:
    """Before it is paid, at no cost; after that what nobody makes yet is given up, and owed."""
    visitor = await visit(studio.url)
    page = visitor.page
    await ordered(visitor, "a cat")
    await page.click("text=Cancel this")
    await visitor.headline("Cancelled")
    assert "Nothing was charged" in await page.inner_text("[data-say]")
    maker.go.clear()
    await ordered(visitor, "a cat", 3)
    await page.click("[data-stub-pay]")
    await page.locator(".piece.processing").wait_for()
    await page.click("text=Cancel the rest")
    await visitor.headline("Cancelling")
    maker.go.set()
    await visitor.headline("Cancelled")
    assert "1 of 3 pictures had been made" in await page.inner_text("[data-say]")
    assert await page.locator(".piece.cancelled").count() == 2
    await page.locator("#refunds .qr").wait_for()
    assert await audit(studio.built.db) == []


async def test_a_page_that_has_not_changed_is_not_drawn(studio: Instance) -> None:
    """A look that knows the page's mark gets 304; the mark changes with what is being made."""
    async with httpx2.AsyncClient(base_url=studio.url, timeout=PATIENCE_S) as http:
        batch_id = await bought(studio, http, "a cat", 2)
        first = await http.get(f"/jobs/{batch_id}")
        mark = {"If-None-Match": first.headers["etag"]}
        assert (await http.get(f"/jobs/{batch_id}", headers=mark)).status_code == 304
        assert (await http.get(f"/jobs/{batch_id}?page=2", headers=mark)).status_code == 304
        assert "Done" in first.text


async def test_files_are_for_who_knows_their_batch(studio: Instance, visit: Come) -> None:
    """An item is found under its own batch alone; a zip of nothing is refused with a page."""
    async with httpx2.AsyncClient(base_url=studio.url, timeout=PATIENCE_S) as http:
        mine, others = [await bought(studio, http, "a cat", 1) for _ in range(2)]
        page = (await http.get(f"/jobs/{mine}")).text
        item_id = page.partition(f"/jobs/{mine}/items/")[2][:32]
        picture = await http.get(f"/jobs/{mine}/items/{item_id}")
        assert picture.headers["content-type"] == "image/png"
        assert "sandbox" in picture.headers["content-security-policy"]
        ended, nobody = f"/jobs/{mine}/previews/{item_id}", f"/jobs/{mine}/items/{'0' * 32}"
        for path in (f"/jobs/{others}/items/{item_id}", nobody, ended):
            assert (await http.get(path)).status_code == 404
        lost = await bought(studio, http, "REFUSE", 1)
        refused = await http.get(f"/jobs/{lost}/files.zip")
        assert refused.status_code == 409 and "no file yet" in refused.text
        assert (await http.head(f"/jobs/{mine}/files.zip")).status_code == 200


async def test_files_that_were_deleted_are_said(
    database_url: str, tmp_path: Path, maker: ScriptedMaker
) -> None:
    """They are kept for a day: the page says so of each, and their addresses answer 410."""
    clock = Clock()
    async with (
        instance_of(database_url, tmp_path, executors=[maker], clock=clock) as studio,
        httpx2.AsyncClient(base_url=studio.url, timeout=PATIENCE_S) as http,
    ):
        batch_id = await bought(studio, http, "a cat", 1)
        page = (await http.get(f"/jobs/{batch_id}")).text
        item_id = page.partition(f"/jobs/{batch_id}/items/")[2][:32]
        clock.forward(hours=25)
        later = (await http.get(f"/jobs/{batch_id}")).text
        assert "<span>Deleted</span>" in later and "<img" not in later
        assert "files.zip" not in later
        for path in (f"items/{item_id}", "files.zip"):
            gone = await http.get(f"/jobs/{batch_id}/{path}")
            assert gone.status_code == 410 and "deleted" in gone.text


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("prompt", "", "Say what you want to see"),
        ("prompt", "x" * 4_001, "4000"),
        ("model", "dall-e", "available here"),
        ("size", "9x9", "Choose one of these"),
        ("size", "4096x4096", "Choose one of these"),
        ("count", "0", "from 1 to 500"),
        ("count", "501", "from 1 to 500"),
        ("count", "²", "from 1 to 500"),
        ("refundTo", "nobody", "Lightning address"),
    ],
)
async def test_a_wrong_field_is_said_at_the_field(
    studio: Instance, field: str, value: str, says: str
) -> None:
    """With what was filled in, and nothing was ordered."""
    form = {"kind": "image", "prompt": "a cat", "model": PAINTER, "count": "1", field: value}
    before = await studio.built.db.read_all("SELECT id FROM batch")
    async with httpx2.AsyncClient(base_url=studio.url, timeout=PATIENCE_S) as http:
        answer = await http.post("/studio", data=form)
    assert answer.status_code == 400
    problem = answer.text.partition('id="problem"')[2].partition("</p>")[0]
    assert says in problem
    assert await studio.built.db.read_all("SELECT id FROM batch") == before


async def test_an_order_sent_twice_is_one(studio: Instance) -> None:
    """A second click changes nothing; another prompt is another order."""
    form = {"kind": "image", "prompt": "a cat", "model": PAINTER, "count": "1", "key": "0" * 32}
    async with httpx2.AsyncClient(base_url=studio.url, timeout=PATIENCE_S) as http:
        places = [(await http.post("/studio", data=form)).headers["location"] for _ in range(2)]
        other = await http.post("/studio", data=form | {"prompt": "a dog"})
    assert places[0] == places[1] != other.headers["location"]
