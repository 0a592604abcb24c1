"""What strangers made is decoded, bounded and encoded anew: what comes out, and what is refused."""

import io
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import av
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from app.artifacts import pictures
from app.artifacts.recoding import Pressing
from app.ports import NotNow, Recoded, Unfit
from tests.world import hostile_media as media
from tests.world.patience import PATIENCE_S

SVG = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- Generator: visioncortex VTracer 0.6.5 -->\n'
    b'<svg version="1.1" xmlns="http://www.w3.org/2000/svg" width="20" height="10">\n'
    b'<path d="M0 0 C3.3 0 6.6 0 10 0 Z " fill="#FBFBFB" transform="translate(0,1.5)"/>\n</svg>\n'
)


@pytest.fixture(scope="module")
async def press() -> AsyncIterator[Pressing]:
    """One process that decodes, for all tests here: none of them may bring it down."""
    pressing = Pressing()
    yield pressing
    await pressing.close()


def image(made: Recoded | Unfit | NotNow) -> Image.Image:
    """Return the picture that was made."""
    assert isinstance(made, Recoded), made
    picture = Image.open(io.BytesIO(made.data))
    picture.load()
    assert made.media_type == Image.MIME[picture.format or ""]
    assert (made.width, made.height, made.duration_ms) == (*picture.size, None)
    return picture


# ------------------------------------------------------------------------- pictures


@given(
    mode=st.sampled_from(["RGB", "RGBA", "L", "LA", "1", "P"]),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    data=st.data(),
)
@settings(deadline=None, max_examples=60)
def test_every_pixel_of_a_png_is_kept(mode: str, size: tuple[int, int], data: Any) -> None:
    """What comes out shows the same pixels; encoded once more, it stays as it is, byte for byte."""
    bands, (width, height) = len(mode) if mode in ("RGB", "RGBA", "LA") else 1, size
    count = width * height * bands if mode != "1" else (width + 7) // 8 * height
    picture = Image.frombytes(mode, size, data.draw(st.binary(min_size=count, max_size=count)))
    if mode == "P":
        picture.putpalette(bytes(range(256)) * 3)
    once = pictures.press(media.saved(picture))
    shown = Image.open(io.BytesIO(once.data))
    wanted = "RGBA" if "A" in mode else "RGB"
    assert (shown.mode, shown.size) == (wanted, size)
    assert shown.tobytes() == picture.convert(wanted).tobytes()
    assert pictures.press(once.data) == once


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
async def test_what_loses_a_little_loses_no_more_than_a_little(press: Pressing, kind: str) -> None:
    """JPEG and WebP come out as what they were, of their size, and look as they did."""
    given = Image.linear_gradient("L").resize((120, 90)).convert("RGB")
    shown = image(await press.recode(media.saved(given, kind, quality=90), f"image/{kind.lower()}"))
    assert (shown.format, shown.mode, shown.size) == (kind, "RGB", given.size)
    for x, y in ((10, 10), (60, 45), (110, 80)):
        pairs = zip(shown.getpixel((x, y)), given.getpixel((x, y)), strict=True)  # type: ignore
        assert all(abs(one - other) <= 6 for one, other in pairs)


async def test_webp_without_loss_stays_without(press: Pressing) -> None:
    """A WebP that lost nothing loses nothing."""
    given = media.many_coloured("RGBA")
    data = media.saved(given, "WEBP", lossless=True, exact=True)
    assert image(await press.recode(data, "image/webp")).tobytes() == given.tobytes()


async def test_a_picture_is_turned_as_its_camera_was_and_says_so_no_more(press: Pressing) -> None:
    """EXIF's orientation is applied, all eight; then all of EXIF is gone, and comments too."""
    given = media.many_coloured(size=(6, 4))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = orientation, "planted"
        exif.get_ifd(0x8825)[1] = "N"  # where it was
        data = media.saved(given, "PNG", exif=exif)
        made = await press.recode(data, "image/png")
        shown = image(made)
        turn = pictures.UPRIGHT.get(orientation)
        wanted = given if turn is None else given.transpose(turn)
        assert (shown.size, shown.tobytes()) == (wanted.size, wanted.tobytes()), orientation
        assert isinstance(made, Recoded)
        assert not shown.getexif() and b"planted" not in made.data and b"eXIf" not in made.data


async def test_a_picture_is_cut_to_a_size_that_is_little_less(press: Pressing) -> None:
    """The middle of it is kept; one that is smaller, or much larger, stays whole."""
    given = media.many_coloured(size=(40, 30))
    for size, box in (((36, 30), (2, 0, 38, 30)), ((41, 30), None), ((40, 1), (0, 14, 40, 15))):
        shown = image(await press.recode(media.saved(given), f"image/png; cut={size[0]}x{size[1]}"))
        wanted = given if box is None else given.crop(box)
        assert (shown.size, shown.tobytes()) == (wanted.size, wanted.tobytes())
    large = media.many_coloured(size=(100, 30))
    assert image(await press.recode(media.saved(large), "image/png; cut=36x30")).size == (100, 30)
    assert isinstance(await press.recode(media.saved(given), "image/png; cut=-1x1"), Unfit)


async def test_nothing_but_pixels_is_kept(press: Pressing) -> None:
    """Neither profiles, comments, resolutions nor unknown chunks come through, in any format."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind, options in (
        ("PNG", {"dpi": (300, 300)}),
        ("JPEG", {"comment": b"planted"}),
        ("WEBP", {"xmp": b"<planted/>"}),
    ):
        data = media.saved(media.many_coloured(), kind, icc_profile=profile, **options)
        made = await press.recode(data, f"image/{kind.lower()}")
        allowed = {"jfif", "jfif_version", "jfif_unit", "jfif_density", "loop", "background",
                   "timestamp", "duration"}  # fmt: skip
        assert set(image(made).info) <= allowed
        assert isinstance(made, Recoded) and b"planted" not in made.data


async def test_colours_of_a_profile_are_shown_as_they_were_meant(press: Pressing) -> None:
    """A profile in which red and blue have changed places is applied before it is dropped; one
    that can't be read is only dropped."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, other in ((b"rXYZ", b"...."), (b"bXYZ", b"rXYZ"), (b"....", b"bXYZ")):
        profile = profile.replace(name, other)
    red = Image.new("RGB", (8, 8), (250, 0, 0))
    r, g, b = image(
        await press.recode(media.saved(red, icc_profile=profile), "image/png")
    ).getpixel((0, 0))  # type: ignore
    assert b > 240 and r < 10 and g < 10
    broken = media.saved(red, icc_profile=b"planted" * 30)
    assert image(await press.recode(broken, "image/png")).getpixel((0, 0)) == (250, 0, 0)


async def test_sixteen_bits_are_scaled_to_eight(press: Pressing) -> None:
    """Grey or coloured: black stays black, half is half, and white is white."""
    grey = Image.new("I;16", (3, 1))
    for x, value in enumerate((0, 0x8000, 0xFFFF)):
        grey.putpixel((x, 0), value)
    shown = image(await press.recode(media.saved(grey), "image/png"))
    assert [shown.getpixel((x, 0)) for x in range(3)] == [(0,) * 3, (127,) * 3, (255,) * 3]
    shown = image(await press.recode(media.deep(), "image/png"))
    assert (shown.mode, shown.getpixel((1, 1))) == ("RGB", (0, 128, 255))


async def test_printers_colours_become_a_screens(press: Pressing) -> None:
    """A JPEG in CMYK comes out in RGB."""
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    shown = image(await press.recode(media.saved(ink, "JPEG", quality=95), "image/jpeg"))
    red, green, blue = shown.getpixel((8, 8))  # type: ignore
    assert shown.mode == "RGB" and red > 200 and green < 60 and blue < 60


async def test_a_second_file_behind_a_picture_is_gone(press: Pressing) -> None:
    """A PNG that is a ZIP too comes out as a PNG alone; in the other formats as well."""
    for kind in ("PNG", "JPEG", "WEBP"):
        both = media.saved(media.many_coloured(), kind) + media.archive()
        assert zipfile.is_zipfile(io.BytesIO(both))
        made = await press.recode(both, f"image/{kind.lower()}")
        image(made)
        assert isinstance(made, Recoded)
        assert not zipfile.is_zipfile(io.BytesIO(made.data)) and b"PK\3\4" not in made.data


async def test_what_it_is_counts_and_not_what_it_is_called(press: Pressing) -> None:
    """A JPEG that was called a PNG comes out as a JPEG, and says so."""
    data = media.saved(media.many_coloured(), "JPEG")
    assert image(await press.recode(data, "image/png")).format == "JPEG"


MOVING = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
NOISE = Image.effect_noise((64, 64), 90)
BAD: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "30,000 pixels a side": (lambda: media.bomb(30_000, 30_000), "image/png", "too large"),
    "50,000 pixels a side": (lambda: media.bomb(50_000, 50_000, 100), "image/png", "too large"),
    "a long line": (lambda: media.bomb(8_200, 100), "image/png", "too large"),
    "a huge WebP": (lambda: media.saved(Image.new("L", (2_100, 2_000)), "WEBP"), "image/webp",
                    "too large"),
    "200 MB of comment": (lambda: media.text_bomb(200), "image/png", "can be decoded"),
    "GIF and JAR": (lambda: media.saved(MOVING[0], "GIF") + media.archive(), "image/png",
                    "PNG, JPEG"),
    "a page": (lambda: b"<!doctype html><script>planted()</script>", "image/png", "PNG, JPEG"),
    "a film as a picture": (media.film, "image/png", "PNG, JPEG"),
    "a picture as a film": (lambda: media.saved(MOVING[0]), "video/mp4", "MP4"),
    "another's SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml",
                      "only coloured paths"),
    "an SVG with a script": (lambda: SVG.replace(b"<path", b"<script>x()</script><path"),
                             "image/svg+xml", "only coloured paths"),
    "an SVG with a handler": (lambda: SVG.replace(b"<path", b"<path onload='x()'"),
                              "image/svg+xml", "only coloured paths"),
    "an SVG with a link": (lambda: SVG.replace(b"</svg>", b"<a href='//x'/></svg>"),
                           "image/svg+xml", "only coloured paths"),
    "an SVG that is too large": (lambda: SVG.replace(b'"20"', b'"20000"'), "image/svg+xml",
                                 "too large"),
    "a picture of no kind": (lambda: b"GIF89a", "image/gif", "Only PNG"),
    "half a PNG": (lambda: media.saved(NOISE)[:-900], "image/png", "whole"),
    "half a JPEG": (lambda: media.saved(NOISE, "JPEG")[:-900], "image/jpeg", "whole"),
    "half a WebP": (lambda: media.saved(NOISE, "WEBP")[:-900], "image/webp", "whole"),
    "a moving PNG": (lambda: moving("PNG"), "image/png", "animated"),
    "a moving WebP": (lambda: moving("WEBP"), "image/webp", "animated"),
    "nothing": (bytes, "image/png", "empty"),
    "no pixels": (lambda: media.bomb(0, 0), "image/png", "can be decoded"),
    "49 MiB": (lambda: bytes(49 << 20), "image/png", "larger than 48 MiB"),
    "33 MiB of film": (lambda: bytes(33 << 20), "video/mp4", "larger than 32 MiB"),
    "half a film": (lambda: media.film()[:-900], "video/mp4", "whole MP4"),
    "a million pictures": (lambda: media.said_to_have(1_000_000, media.film()), "video/mp4",
                           "too long"),
    "a long film": (lambda: media.film(frames=62, rate=1), "video/mp4", "too long"),
    "many large pictures": (lambda: media.said_to_have(900, media.film((1_920, 1_080), 1)),
                            "video/mp4", "too long"),
    "a tiny film": (lambda: media.film((8, 8), 2), "video/mp4", "at least 16"),
    "a huge film": (lambda: media.film((2_048, 1_088), 1), "video/mp4", "too large"),
    "another codec": (lambda: media.film(codec="mpeg4"), "video/mp4", "H.264"),
    "another container": (lambda: media.film(kind="matroska"), "video/mp4", "MP4"),
}  # fmt: skip


def moving(kind: str) -> bytes:
    """Return a file of several pictures that are shown one after the other."""
    return media.saved(MOVING[0], kind, save_all=True, append_images=MOVING[1:])


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_good_is_refused_in_a_sentence(press: Pressing, name: str) -> None:
    """Whatever is sent, the answer is a value; and the next picture is made as ever."""
    data, media_type, said = BAD[name]
    made = await press.recode(data(), media_type)
    assert isinstance(made, Unfit), made
    assert said in made.reason
    assert made.reason.endswith(".") and "Error" not in made.reason
    image(await press.recode(media.saved(media.many_coloured()), "image/png"))


async def test_several_photographs_in_one_file_are_the_first(press: Pressing) -> None:
    """What telephones write beside a photograph, for depth or for a moment, is left out."""
    first, second = media.many_coloured(size=(32, 32)), Image.new("RGB", (32, 32))
    data = media.saved(first, "MPO", save_all=True, append_images=[second])
    made = await press.recode(data, "image/jpeg")
    assert image(made).format == "JPEG"
    assert isinstance(made, Recoded) and made.data.count(b"\xff\xd8\xff") == 1


async def test_a_drawing_of_ours_is_written_anew(press: Pressing) -> None:
    """Its paths and nothing else; no word of who drew it."""
    made = await press.recode(SVG, "image/svg+xml")
    assert isinstance(made, Recoded)
    assert (made.media_type, made.width, made.height) == ("image/svg+xml", 20, 10)
    assert b"Generator" not in made.data and b'viewBox="0 0 20 10"' in made.data
    assert b'<path d="M0 0 C3.3 0 6.6 0 10 0 Z" fill="#fbfbfb"' in made.data


def test_limits_of_memory_files_and_time_hold(tmp_path: Path) -> None:
    """A child gets no more memory than it is given, writes no larger file, and is ended by the
    kernel once its time is used up."""
    script = """
import sys
from app.confined import Means, confine
confine(Means(0, 64 << 20, 1, 20, 1000))
try:
    bytes(100 << 20)
except MemoryError:
    print("memory", flush=True)
try:
    with open(sys.argv[1], "wb") as file:
        file.write(bytes(2000))
except OSError:
    print("file", flush=True)
while True:
    pass
"""
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "file")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert run.stdout.split() == ["memory", "file"], run.stderr
    assert run.returncode < 0  # by the kernel, for its time was used up


# ------------------------------------------------------------------------- films


def watched(made: Recoded | Unfit | NotNow) -> tuple[list[Image.Image], int]:
    """Return the pictures of a film that was made, and how many samples of sound it has."""
    assert isinstance(made, Recoded), made
    assert made.media_type == "video/mp4"
    with av.open(io.BytesIO(made.data), "r") as film:
        codecs = [stream.codec_context.name for stream in film.streams]
        assert codecs in (["h264"], ["h264", "aac"])
        assert not film.metadata.keys() - {"major_brand", "minor_version", "compatible_brands"}
        frames: list[Any] = list(film.decode(video=0))
        shown = [frame.to_image() for frame in frames]
    samples = 0
    if len(codecs) > 1:
        with av.open(io.BytesIO(made.data), "r") as film:
            samples = sum(frame.samples for frame in film.decode(audio=0))
    assert {picture.size for picture in shown} == {(made.width, made.height)}
    return shown, samples


async def test_a_film_shows_the_same_pictures_for_as_long(press: Pressing) -> None:
    """As many, as bright, in their order; its maker's notes are gone, and its index comes first."""
    made = await press.recode(media.film(frames=12, rate=12), "video/mp4")
    shown, samples = watched(made)
    assert isinstance(made, Recoded)
    assert (len(shown), samples, made.duration_ms) == (12, 0, 1000)
    reds = [picture.getpixel((30, 20))[0] for picture in shown]  # type: ignore
    assert all(abs(red - 10 * number) < 12 for number, red in enumerate(reds))
    assert b"planted" not in made.data
    assert made.data.index(b"moov") < made.data.index(b"mdat")


async def test_a_film_encoded_anew_keeps_its_size_and_its_length(press: Pressing) -> None:
    """What was made, sent once more, comes out of the same size, length and count."""
    once = await press.recode(media.film((96, 64), 10, rate=10, sound=True), "video/mp4")
    assert isinstance(once, Recoded)
    again = await press.recode(once.data, "video/mp4")
    assert isinstance(again, Recoded)
    assert (again.width, again.height, again.duration_ms) == (96, 64, once.duration_ms)
    assert len(watched(again)[0]) == len(watched(once)[0]) == 10


async def test_a_film_keeps_its_sound(press: Pressing) -> None:
    """Sound comes out as AAC of two channels, as long as it was."""
    made = await press.recode(media.film(frames=24, rate=12, sound=True), "video/mp4")
    _, samples = watched(made)
    assert abs(samples - 2 * 48_000) < 4_096


async def test_odd_sides_and_fine_colours_become_what_everybody_plays(press: Pressing) -> None:
    """A film of an odd size loses a line or two; 4:4:4 becomes 4:2:0."""
    made = await press.recode(media.film((65, 49), 3, pixels="yuv444p"), "video/mp4")
    assert isinstance(made, Recoded)
    assert (made.width, made.height, len(watched(made)[0])) == (64, 48, 3)


async def test_a_film_that_breaks_off_is_no_shorter_film(press: Pressing) -> None:
    """Where its index speaks of pictures that did not arrive, in part or at all, it was not sent
    whole, and is refused."""
    whole = await press.recode(media.film(frames=40), "video/mp4")
    assert isinstance(whole, Recoded)
    with av.open(io.BytesIO(whole.data), "r") as film:
        last = [packet.pos for packet in film.demux(video=0) if packet.size][-1]
    assert last is not None
    for end, said in ((last, "breaks off"), (last + 5, "whole"), (last - 5, "whole")):
        broken = await press.recode(whole.data[:end], "video/mp4")
        assert isinstance(broken, Unfit) and said in broken.reason, broken


async def test_whatever_bytes_come_the_answer_is_a_value(press: Pressing) -> None:
    """Files in which some bytes were changed are taken or refused; none of them is a fault."""
    dice = Random(21)
    whole = [
        (media.saved(NOISE), "image/png"),
        (media.saved(NOISE, "JPEG"), "image/jpeg"),
        (media.saved(NOISE, "WEBP"), "image/webp"),
        (media.film(sound=True), "video/mp4"),
    ]
    for number in range(48):
        data, media_type = whole[number % 4]
        changed = bytearray(data)
        for _ in range(dice.randrange(1, 9)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        made = await press.recode(bytes(changed), media_type)
        assert isinstance(made, Recoded | Unfit), (number, made)


async def test_a_process_that_died_is_started_again() -> None:
    """The next piece is encoded as ever; once it is to be stopped, none is begun."""
    before = set(psutil.Process().children())
    pressing, data = Pressing(), media.saved(media.many_coloured())
    assert isinstance(await pressing.recode(data, "image/png"), Recoded)
    [press] = set(psutil.Process().children()) - before
    press.kill()
    press.wait()
    assert isinstance(await pressing.recode(data, "image/png"), Recoded)
    await pressing.close()
    assert await pressing.recode(data, "image/png") == NotNow("The server is being stopped.")
