"""The tools that the extra brings, each for real on real pictures, with its result looked at."""

import base64
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import resvg_py
from PIL import Image, ImageDraw, ImageFont

from app.artifacts.vectors import press
from app.commands.doctor_makers import of_the_extra
from app.commands.findings import Level
from app.executors.toolbox import VISION_NAME, Toolbox, make_vision, missing
from app.executors.tools.shop import VISION
from app.ports import Declined, Made, Wanted
from app.trade.catalogue import NEEDS_EXTRA, PAINTER, TOOLBOX, Catalogue
from app.trade.catalogue import VISION as VISION_MAKER
from app.trade.tools import KNOWN
from db.audit import audit
from tests.world.house_fixtures import instance_of
from tests.world.tool_fixtures import inputs_of, person, pictured, run, run_ended

PHOTOS = Path(__file__).parents[1] / "photos"
PERSON, COFFEE = ((PHOTOS / f"{name}.jpg").read_bytes() for name in ("astronaut", "coffee"))
SENTENCE = "The quick brown fox jumps over 13 lazy dogs."


@pytest.fixture(scope="module")
async def vision() -> AsyncIterator[Toolbox]:
    """One process for all tests here: none of them may bring it down."""
    made = make_vision()
    assert made is not None, missing()
    yield made
    await made.close()


def shown(data: bytes) -> Image.Image:
    """Return a photo as pixels."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def as_png(picture: Image.Image) -> bytes:
    """Return a picture as a file."""
    kept = io.BytesIO()
    picture.save(kept, "PNG")
    return kept.getvalue()


def apart(one: Image.Image, other: Image.Image) -> float:
    """Return how far pixels of two pictures are apart, of 255: the root of the mean square."""
    assert one.size == other.size
    first, second = (np.asarray(each.convert("RGB"), np.float64) for each in (one, other))
    return float(np.sqrt(((first - second) ** 2).mean()))


def test_what_the_extra_brings_is_in_the_catalogue() -> None:
    """Each tool that needs it is sold where it is, and elsewhere says what is missing."""
    assert VISION_NAME == VISION_MAKER
    assert {each.id for each in KNOWN if VISION_MAKER in each.makers} == set(VISION)
    there = Catalogue([PAINTER, TOOLBOX, VISION_MAKER], development=False, known=KNOWN)
    bare = Catalogue([PAINTER, TOOLBOX], development=True, known=KNOWN)
    for name in VISION:
        sold, not_sold = there.tool(name), bare.tool(name)
        assert sold and sold.made_by == VISION_MAKER and "Made by" not in sold.description
        assert not_sold and not not_sold.is_open and not_sold.description.endswith(NEEDS_EXTRA)


def test_the_doctor_names_what_the_extra_would_bring() -> None:
    """Which tools aren't sold without it, and what is missing of it: a warning, and no fault."""
    assert of_the_extra([]) == []
    [found] = of_the_extra(["ncnn"])
    assert found.level is Level.WARN and "upscale" in found.said and "ncnn" in found.said
    assert "boltwork[tools]" in found.mend


async def test_a_drawing_is_bought_and_is_no_picture(database_url: str, tmp_path: Path) -> None:
    """Over HTTP: SVG that runs nothing, at its price; what takes pictures doesn't take it."""
    vision = make_vision()
    assert vision is not None
    async with instance_of(database_url, tmp_path, executors=[Toolbox(), vision]) as shop:
        key = await person(shop, 100)
        image = f"data:image/jpeg;base64,{base64.b64encode(COFFEE).decode()}"
        body = {"toolId": "trace", "inputs": {"image": image}}
        made = await shop.post("/api/v1/generations/execute", body, headers=key)
        assert made.status_code == 202, made.text
        said = await run_ended(shop, made.json()["generationId"], **key)
        assert (said["status"], said["costUsd"]) == ("completed", 0.0015), said
        assert said["madeBy"] == VISION_MAKER
        [drawing] = said["outputs"][0]["data"]["images"]
        file = await shop.http.get(drawing["url"])
        assert file.headers["content-type"] == "image/svg+xml" and b"<path" in file.content
        assert "default-src 'none'" in file.headers["content-security-policy"]
        again = {"toolId": "resize", "inputs": {"image": drawing["artifact"]}}
        refused = await shop.post("/api/v1/generations/execute", again, headers=key)
        assert refused.status_code == 400 and "not a PNG, JPEG or WebP" in refused.text
        assert await audit(shop.built.db) == []


@pytest.mark.parametrize("scale", [2, 4])
async def test_a_picture_is_upscaled(vision: Toolbox, scale: int) -> None:
    """To the size that was asked for, close to what a good resampling makes, without a seam where
    two tiles meet, and what was seen through stays so."""
    small = shown(COFFEE).resize((264, 24), Image.Resampling.LANCZOS)
    small.putalpha(Image.linear_gradient("L").resize(small.size))
    made = await pictured(vision, "upscale", as_png(small), scale=str(scale))
    assert made.size == (264 * scale, 24 * scale) and made.mode == "RGBA"
    usual = small.resize(made.size, Image.Resampling.LANCZOS)
    assert apart(made, usual) < 16
    seam = (253 * scale, 0, 259 * scale, made.height)
    assert apart(made.crop(seam), usual.crop(seam)) < 16
    assert made.getchannel("A").tobytes() == usual.getchannel("A").tobytes()


async def test_edges_are_drawn_anew_when_upscaled(vision: Toolbox) -> None:
    """They are sharper than those of a resampling: that is what it is bought for."""
    small = shown(PERSON).resize((64, 64), Image.Resampling.LANCZOS)
    made = await pictured(vision, "upscale", as_png(small), scale="4")
    usual = small.resize(made.size, Image.Resampling.LANCZOS)
    steepest = [
        np.percentile(np.abs(np.diff(np.asarray(each.convert("L"), int))), 99)
        for each in (made, usual)
    ]
    assert steepest[0] > 1.2 * steepest[1] and apart(made, shown(PERSON)) < 25


async def test_what_is_too_large_to_upscale_is_declined(vision: Toolbox) -> None:
    """Before any of it is worked on."""
    for size, scale in (((1_025, 1_024), "2"), ((1_400, 16), "3")):
        told = await run(vision, "upscale", as_png(Image.new("RGB", size)), scale=scale)
        assert isinstance(told, Declined) and "too large" in told.reason


async def test_a_person_is_cut_out(vision: Toolbox) -> None:
    """Face and suit stay, with their own colours; the wall behind can't be seen any more."""
    made = await pictured(vision, "cut-out", PERSON, subject="person")
    assert made.mode == "RGBA" and made.size == (256, 256)
    alpha = np.asarray(made.getchannel("A"))
    assert alpha[60:80, 105:125].min() > 240 and alpha[170:200, 60:140].min() > 240
    assert alpha[:60, :60].max() < 15 and alpha[:60, 170:].max() < 15
    assert made.convert("RGB").tobytes() == shown(PERSON).tobytes()


async def test_a_thing_is_cut_out(vision: Toolbox) -> None:
    """A cup on its saucer stays, and the table goes."""
    made = await pictured(vision, "cut-out", COFFEE, subject="object")
    alpha = np.asarray(made.getchannel("A"))
    assert alpha[60:90, 90:140].mean() > 240 and alpha[:30, :40].max() < 15
    assert alpha[:, 215:].max() < 15 and 0.25 < alpha.mean() / 255 < 0.7


async def test_where_there_is_nothing_to_cut_out_it_is_declined(vision: Toolbox) -> None:
    """No person in a cup of coffee, no thing on a blank sheet: nothing is charged."""
    blank = as_png(Image.new("RGB", (60, 40), "white"))
    for data, subject in ((COFFEE, "person"), (blank, "object"), (blank, "person")):
        told = await run(vision, "cut-out", data, subject=subject)
        assert isinstance(told, Declined) and "was found" in told.reason


async def test_a_sentence_is_read(vision: Toolbox) -> None:
    """As it is written, and so is one line of white on dark; a photo without text is declined."""
    page = Image.new("RGB", (520, 120), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(22)
    draw.text((12, 14), SENTENCE, "black", font)
    draw.rectangle((0, 60, 520, 120), (20, 20, 70))
    draw.text((12, 76), "Pay 21,000 sats", "white", font)
    made = await run(vision, "read-text", as_png(page))
    assert isinstance(made, Made) and made.media_type == "text/plain"
    assert made.data.decode().splitlines()[0] == SENTENCE and "21,000 sats" in made.data.decode()
    line = await run(vision, "read-text", as_png(page.crop((0, 0, 520, 60))), layout="line")
    assert isinstance(line, Made) and line.data.decode() == SENTENCE
    told = await run(vision, "read-text", COFFEE)
    assert isinstance(told, Declined) and "No text" in told.reason


@pytest.mark.parametrize(("detail", "far"), [("low", 30), ("high", 15)])
async def test_a_traced_picture_is_drawn_back(vision: Toolbox, detail: str, far: int) -> None:
    """Its paths pass the rules of what is kept, and rendered they are close to the picture."""
    made = await run(vision, "trace", COFFEE, detail=detail)
    assert isinstance(made, Made) and made.media_type == "image/svg+xml"
    kept = press(made.data)
    assert (kept.width, kept.height) == (made.width, made.height) == (240, 160)
    drawn = resvg_py.svg_to_bytes(svg_string=kept.data.decode())
    assert apart(Image.open(io.BytesIO(bytes(drawn))), shown(COFFEE)) < far


async def test_a_trace_in_two_colours_lets_the_ground_through(vision: Toolbox) -> None:
    """A disc is one dark path, with nothing behind it."""
    disc = Image.new("L", (80, 80), 255)
    ImageDraw.Draw(disc).ellipse((10, 10, 70, 70), 0)
    asked: dict[str, Any] = {"colors": "black and white", "curves": "polygon"}
    made = await run(vision, "trace", as_png(disc), **asked)
    assert isinstance(made, Made)
    drawn = press(made.data).data.decode()
    assert drawn.count("<path") == 1
    back = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=drawn))))
    alpha = np.asarray(back.convert("RGBA").getchannel("A"))
    assert alpha[40, 40] == 255 and alpha[2, 2] == 0
    assert abs(int((alpha > 127).sum()) - int((np.asarray(disc) < 128).sum())) < 150


async def test_a_picture_is_painted_anew(vision: Toolbox) -> None:
    """In a style of its own, another's, or not at all; its colours are kept where that is asked."""
    small = as_png(shown(PERSON).resize((96, 96)))
    own = await pictured(vision, "restyle", small, style=20)
    before = shown(small)
    assert own.size == (96, 96) and apart(own, before) > 20
    assert apart(await pictured(vision, "restyle", small, strength=0), before) == 0
    kept = await pictured(vision, "restyle", small, style=20, keep_colors=True)
    hues = [np.asarray(each.convert("YCbCr"), int)[..., 1:] for each in (kept, before)]
    assert np.abs(hues[0] - hues[1]).mean() < 6
    inputs = inputs_of("restyle", style_image="artifact:b")
    files = {"artifact:a": small, "artifact:b": COFFEE}
    made = await vision.make(Wanted("restyle", inputs=inputs, files=files))
    assert isinstance(made, Made)
    like_coffee = np.asarray(shown(made.data)).mean((0, 1))
    assert like_coffee[0] > like_coffee[2] + 40  # brown, as the cup and the table are
    tiny = await run(vision, "restyle", as_png(Image.new("RGB", (400, 31))))
    assert isinstance(tiny, Declined) and "too small" in tiny.reason


async def test_a_picture_is_judged(vision: Toolbox) -> None:
    """A portrait and a cup of coffee are safe: a number from 0 to 1, and the word for it."""
    for data in (PERSON, COFFEE):
        made = await run(vision, "moderate", data)
        assert isinstance(made, Made) and made.media_type == "application/json"
        told = json.loads(made.data)
        assert 0 <= told["score"] < 0.2 and told["verdict"] == "safe"
