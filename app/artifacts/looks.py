"""How a picture looks, in 256 bits that stay when it is encoded anew, or made larger or smaller.

A difference hash (dHash, as Neal Krawetz describes it): the picture is reduced to 17 × 16 greys,
and a bit tells whether one is darker than its right neighbour. What differs by less than can be
seen is no difference, so that the noise of an encoder is none. Runs in the process of
`app.artifacts.press`.
"""

from collections.abc import Sequence
from typing import Final

from PIL import Image

SIDE: Final = 16
WIDE: Final = SIDE + 1
LEAST: Final = 3  # of 255 greys
TELLING: Final = 16  # so many bits at least: what has fewer looks like much else
BEHIND: Final = (128, 128, 128)  # what can be seen through


def look_of(picture: Image.Image) -> str | None:
    """Return the look of a picture as 64 hex digits; None: it is too plain to be told by one."""
    small = picture.resize((WIDE, SIDE), Image.Resampling.BOX)
    if small.mode == "RGBA":
        whole = Image.new("RGB", small.size, BEHIND)
        whole.paste(small, mask=small.getchannel("A"))
        small = whole
    return look_in(small.convert("L").tobytes())


def look_in(greys: Sequence[int]) -> str | None:
    """Return the look that 17 × 16 greys make, row by row."""
    bits = [
        greys[at + 1] - greys[at] >= LEAST
        for row in range(SIDE)
        for at in range(row * WIDE, row * WIDE + SIDE)
    ]
    if sum(bits) < TELLING:
        return None
    return f"{int(''.join('01'[bit] for bit in bits), 2):064x}"
