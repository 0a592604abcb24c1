"""The vendored drawings (Noto, Apache-2.0) and the words that find them (emojilib, MIT).

Read and unpacked at the first use; `scripts/drawings` makes the file anew from the npm packages.
"""

import json
import lzma
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.executors.scene.own_drawings import OWN, standing

RGBA = NDArray[np.uint8]


@cache
def _vendored() -> dict[str, Any]:
    packed = files(__package__).joinpath("drawings.json.xz").read_bytes()
    held: dict[str, Any] = json.loads(lzma.decompress(packed))
    held["drawings"] |= {name: [body, 128, 128] for name, body in OWN.items()}
    for name, (body, width, height) in held["drawings"].items():
        held["drawings"][name] = [standing(name, body), width, height]
    return held


def named(words: str) -> str:
    """Return the drawing with this name or keyword, or ""."""
    held = _vendored()
    name = words.replace(" ", "-")
    return name if name in held["drawings"] else str(held["words"].get(words, ""))


def by_sign(sign: str) -> str:
    """Return the drawing of an emoji, or ""."""
    return str(_vendored()["signs"].get(sign, "")) if sign and not sign.isascii() else ""


def is_drawn(name: str) -> bool:
    """Return whether there is a drawing of this name."""
    return name in _vendored()["drawings"]


@lru_cache(maxsize=32)
def drawing(name: str, width_px: int) -> RGBA:
    """Return a drawing as pixels, its edges transparent."""
    import io

    import resvg_py
    from PIL import Image

    body, width, height = _vendored()["drawings"][name]
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' viewBox="0 0 {width} {height}" width="{width_px}" height="{width_px}">{body}</svg>'
    )
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=width_px, height=width_px))
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGBA"))
