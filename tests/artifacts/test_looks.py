"""How pictures look: what is encoded anew looks the same, what shows another thing does not."""

import io
from random import Random

import pytest
from PIL import Image, ImageDraw

from app.artifacts import pictures
from app.artifacts.bounds import Pressed
from statemachine.look import REUSED_PCT, unlike_pct


def scene(number: int, size: tuple[int, int] = (192, 128)) -> Image.Image:
    """Return a picture of shapes and shades, another one for each number."""
    dice = Random(number)
    whole = Image.linear_gradient("L").resize(size).convert("RGB")
    draw = ImageDraw.Draw(whole)
    for _ in range(12):
        x, y = dice.randrange(size[0]), dice.randrange(size[1])
        wide, colour = dice.randrange(10, 60), tuple(dice.randrange(256) for _ in range(3))
        draw.ellipse((x - wide, y - wide // 2, x + wide, y + wide // 2), fill=colour)
    return whole


def brought(picture: Image.Image, kind: str = "PNG", **how: int) -> Pressed:
    """Return what becomes of a picture that is brought."""
    kept = io.BytesIO()
    picture.save(kept, kind, **how)
    return pictures.press(kept.getvalue())


def look(picture: Image.Image, kind: str = "PNG", **how: int) -> str:
    """Return how a picture looks, once it is kept."""
    seen = brought(picture, kind, **how).look
    assert seen is not None
    return seen


@pytest.mark.parametrize("number", range(6))
def test_a_picture_looks_the_same_however_it_is_encoded(number: int) -> None:
    """As JPEG, as WebP, a little larger, a little brighter, and with a dot in it."""
    one = scene(number)
    dotted = one.copy()
    dotted.putpixel((5, 5), (255, 0, 255))
    changed = [
        look(one, "JPEG", quality=60),
        look(one, "WEBP", quality=70),
        look(one.resize((256, 170), Image.Resampling.BICUBIC)),
        look(one.point(lambda value: min(255, value * 26 // 25))),
        look(dotted),
        look(one.convert("RGBA")),
    ]
    assert all(unlike_pct(look(one), other) <= REUSED_PCT for other in changed)


def test_pictures_of_different_things_look_different() -> None:
    """None of forty is nearly another."""
    looks = [look(scene(number)) for number in range(40)]
    least = min(unlike_pct(a, b) for at, a in enumerate(looks) for b in looks[:at])
    assert least > 2 * REUSED_PCT


@pytest.mark.parametrize(
    "plain",
    [
        Image.new("RGB", (64, 64), "red"),
        Image.new("RGBA", (64, 64), (0, 0, 0, 0)),
        Image.linear_gradient("L"),  # from above: nothing differs from its right neighbour
        Image.new("RGB", (1, 1), "white"),
    ],
)
def test_what_is_too_plain_has_no_look(plain: Image.Image) -> None:
    """It would look like much else that is plain."""
    assert brought(plain).look is None
