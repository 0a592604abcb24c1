"""The tools that run here, each for real: in a process of its own, that nothing brings down."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import av
import psutil
import pytest
import zxingcpp
from PIL import Image, ImageStat

from app.executors.toolbox import Toolbox, ToolBroke
from app.executors.tools.shop import RUNS
from app.ports import Declined, Made, Undoable, Wanted
from app.trade.catalogue import TOOLBOX
from app.trade.tools import KNOWN
from tests.world.tool_fixtures import BLUE, PICTURE, RED, SIZE, drawn, pictured, run


@pytest.fixture(scope="module")
async def toolbox() -> AsyncIterator[Toolbox]:
    """One process that runs tools, for all tests here: none of them may bring it down."""
    made = Toolbox()
    yield made
    await made.close()


def test_what_the_toolbox_runs_is_in_the_catalogue() -> None:
    """Each of its tools is offered, and each that it is to make is one it has."""
    offered = {each.id for each in KNOWN if TOOLBOX in (*each.makers, each.stand_in)}
    assert offered == set(RUNS)


@pytest.mark.parametrize(
    ("fit", "size"), [("contain", (60, 40)), ("cover", (60, 80)), ("stretch", (60, 80))]
)
async def test_a_picture_is_resized(toolbox: Toolbox, fit: str, size: tuple[int, int]) -> None:
    """Whole within the size, filling it, or stretched to it."""
    assert (await pictured(toolbox, "resize", width=60, height=80, fit=fit)).size == size


async def test_a_picture_is_cropped_to_a_shape(toolbox: Toolbox) -> None:
    """The largest part of that shape, where it is wanted: the red is to the right."""
    for focus, colour in (("left", BLUE), ("right", RED)):
        part = await pictured(toolbox, "crop", aspect_ratio="9:16", focus=focus)
        assert part.size == (36, 64)
        assert part.getpixel((part.width - 2, 5)) == colour


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
async def test_a_picture_is_another_kind_of_file(toolbox: Toolbox, kind: str) -> None:
    """Of the same size; what is seen through is white where the kind has no such thing."""
    glass = io.BytesIO()
    Image.new("RGBA", SIZE, (0, 0, 0, 0)).save(glass, "PNG")
    made = await pictured(toolbox, "convert", glass.getvalue(), format=kind)
    assert made.size == SIZE and made.format == kind.upper()
    if kind == "jpeg":
        assert made.getpixel((3, 3)) == (255, 255, 255)


async def test_light_and_colour_are_adjusted(toolbox: Toolbox) -> None:
    """Darker, without colour, turned and mirrored; by default it stays as it is."""
    same = await pictured(toolbox, "adjust")
    assert same.convert("RGB").tobytes() == Image.open(io.BytesIO(PICTURE)).tobytes()
    dark = await pictured(toolbox, "adjust", brightness=0.5)
    assert ImageStat.Stat(dark).mean[2] < ImageStat.Stat(same).mean[2] * 0.6
    grey = await pictured(toolbox, "adjust", saturation=0)
    red, green, blue = grey.convert("RGB").getpixel((1, 1))  # type: ignore[misc]
    assert red == green == blue
    assert (await pictured(toolbox, "adjust", rotate="90")).size == (64, 96)
    mirrored = await pictured(toolbox, "adjust", mirror=True)
    assert mirrored.getpixel((0, 0)) == RED and mirrored.getpixel((95, 0)) == BLUE


async def test_a_caption_is_written_where_it_is_wanted(toolbox: Toolbox) -> None:
    """Only there; however long it is, it stays on the picture."""
    plain = drawn((320, 240))
    for position, rows in (("top", (0, 60)), ("bottom", (180, 240))):
        made = await pictured(toolbox, "caption", plain, text="Hi " * 60, position=position)
        before = Image.open(io.BytesIO(plain))
        changed = [
            y for y in range(240)
            if made.crop((0, y, 320, y + 1)).tobytes() != before.crop((0, y, 320, y + 1)).tobytes()
        ]  # fmt: skip
        assert changed and rows[0] <= min(changed) and max(changed) < rows[1]


async def test_pictures_are_put_on_a_sheet(toolbox: Toolbox) -> None:
    """In rows of as many as are wanted, each whole."""
    sheet = await pictured(toolbox, "contact-sheet", columns=2, cell=64)
    assert sheet.size == (2 * 76 + 12, 2 * 76 + 12)


async def test_a_palette_names_the_colours_by_their_share(toolbox: Toolbox) -> None:
    """The one that fills most comes first; shares add up to one."""
    made = await run(toolbox, "palette", colors=2)
    assert isinstance(made, Made) and made.media_type == "application/json"
    colours = json.loads(made.data)["colors"]
    assert sum(each["share"] for each in colours) == pytest.approx(1, abs=1e-3)
    assert [each["share"] for each in colours] == sorted(
        (each["share"] for each in colours), reverse=True
    )
    first = bytes.fromhex(colours[0]["color"][1:])
    assert all(abs(one - other) < 12 for one, other in zip(first, BLUE, strict=True))


async def test_a_picture_is_changed_by_the_words_that_are_known(toolbox: Toolbox) -> None:
    """Several in one sentence; a sentence without any is declined with those that are known."""
    words = "turn her so that she faces the viewer, in black and white"
    made = await pictured(toolbox, "retouch", input_prompt=words)
    left, right = made.getpixel((0, 0)), made.getpixel((95, 0))
    assert isinstance(left, tuple) and len(set(left)) == 1 and left != right
    same = await pictured(toolbox, "kontext", input_prompt=words)  # where it stands in
    assert same.tobytes() == made.tobytes()
    declined = await run(toolbox, "retouch", input_prompt="xyzzy")
    assert isinstance(declined, Declined) and "sepia" in declined.reason


async def test_each_edit_makes_a_picture(toolbox: Toolbox) -> None:
    """Whichever words are asked for."""
    from app.executors.tools.pictures import EDITS

    for stems, _ in EDITS:
        assert (await pictured(toolbox, "retouch", input_prompt=stems[0])).mode == "RGB"


async def test_a_qr_code_is_read_again(toolbox: Toolbox) -> None:
    """By a reader of others'; what is too long for one is declined."""
    code = await pictured(toolbox, "qr-code", text="lightning:LNBC1 é", size=400)
    assert 300 <= code.width <= 400
    assert zxingcpp.read_barcodes(code.convert("L"))[0].text == "lightning:LNBC1 é"
    told = await run(toolbox, "qr-code", text="字" * 1_200)
    assert isinstance(told, Declined) and "too long" in told.reason


@pytest.mark.parametrize("direction", ["in", "left"])
async def test_a_film_moves_over_a_picture(toolbox: Toolbox, direction: str) -> None:
    """Of the length that was asked for, the same each time; its first frame is not its last."""
    asked: dict[str, Any] = {"duration": 2, "direction": direction}
    made = await run(toolbox, "pan-and-zoom", drawn((320, 240)), **asked)
    assert isinstance(made, Made) and made.media_type == "video/mp4"
    again = await run(toolbox, "pan-and-zoom", drawn((320, 240)), **asked)
    assert again == made
    with av.open(io.BytesIO(made.data), "r") as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 48 and (made.width, made.height) == (320, 240)
    assert made.duration_ms == 2_000 and abs(frames[0].astype(int) - frames[-1]).max() > 40


async def test_a_run_that_takes_too_much_is_declined(toolbox: Toolbox) -> None:
    """Its child is ended or told so; the process lives, and the next run is made."""
    huge = drawn((8_000, 8_000), kind="JPEG")
    told = await run(toolbox, "adjust", huge, sharpness=2.0, saturation=0.5)
    assert isinstance(told, Declined) and "less" in told.reason
    assert (await pictured(toolbox, "resize", width=16, height=16, fit="stretch")).size == (16, 16)


async def test_bytes_that_are_no_picture_break_that_run_alone(toolbox: Toolbox) -> None:
    """It may be tried again, and says of the error no more than its type."""
    with pytest.raises(ToolBroke, match="UnidentifiedImageError"):
        await run(toolbox, "resize", b"planted: not a picture")
    assert isinstance(await run(toolbox, "palette"), Made)


async def test_a_tool_that_is_not_there_is_not_run(toolbox: Toolbox) -> None:
    """It is for another maker."""
    assert isinstance(await toolbox.make(Wanted("flux")), Undoable)


async def test_the_process_comes_again_and_ends_with_us() -> None:
    """Killed from outside it is started anew; closed it is gone, and says so."""
    box = Toolbox(["palette"])
    assert await box.healthy() is None and isinstance(await run(box, "palette"), Made)
    [shop] = [
        child for child in psutil.Process().children()
        if "app.executors.tools.shop" in child.cmdline()
        and child.create_time() == max(c.create_time() for c in psutil.Process().children())
    ]  # fmt: skip
    assert "PATH" in shop.environ() and "DATABASE_URL" not in shop.environ()
    shop.kill()
    shop.wait()
    try:
        first = await run(box, "palette")
    except ToolBroke:  # it was noticed by this run
        first = await run(box, "palette")
    assert isinstance(first, Made)
    await box.close()
    assert await box.healthy() is not None
    with pytest.raises(ToolBroke):
        await run(box, "palette")
