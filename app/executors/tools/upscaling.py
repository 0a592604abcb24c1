"""A picture made larger by Real-ESRGAN's small network, which draws the edges anew.

It works in tiles, so that memory doesn't grow with the picture; what surrounds a tile is given with
it, so that no seam is seen.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.executors.tools.pictures import opened, png
from app.executors.tools.tool import Given, Impossible, Result

WEIGHTS: Final = Path(__file__).with_name("weights") / "realesr-animevideov3-x4"
TIMES: Final = 4  # what the network makes of a side; less is made of that
TILE: Final = 256
AROUND: Final = 10  # pixels of a tile's neighbours
MOST_PIXELS: Final = 1_024 * 1_024
MOST_SIDE: Final = 4_096  # of the result
TOO_LARGE: Final = (
    f"The picture is too large to be upscaled: at most {MOST_PIXELS:,} pixels are taken, and a"
    f" result of {MOST_SIDE:,} pixels a side. Make it smaller first, or upscale it less."
)


@cache
def load() -> Any:
    """Return the network, read once."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = 1, False
    if net.load_param(f"{WEIGHTS}.param") or net.load_model(f"{WEIGHTS}.bin"):
        raise FileNotFoundError("the network's weights")
    return net


def upscale(given: Given) -> Result:
    """Return a picture two, three or four times as large on each side."""
    picture, times = opened(given.file("image")), int(given["scale"])
    size = picture.width * times, picture.height * times
    if picture.width * picture.height > MOST_PIXELS or max(size) > MOST_SIDE:
        raise Impossible(TOO_LARGE)
    pixels = np.asarray(picture.convert("RGB"))
    made = Image.new("RGB", size)
    for top in range(0, picture.height, TILE):
        for left in range(0, picture.width, TILE):
            tile = _tile(pixels, left, top)
            if times < TIMES:
                tile = tile.resize(
                    (tile.width * times // TIMES, tile.height * times // TIMES),
                    Image.Resampling.BOX,
                )
            made.paste(tile, (left * times, top * times))
    if picture.mode == "RGBA":
        made.putalpha(picture.getchannel("A").resize(size, Image.Resampling.LANCZOS))
    return png(made)


def _tile(pixels: NDArray[np.uint8], left: int, top: int) -> Image.Image:
    """Return a tile as the network draws it, without what surrounds it."""
    import ncnn

    around = ((AROUND, AROUND), (AROUND, AROUND), (0, 0))
    bottom, right = min(top + TILE, pixels.shape[0]), min(left + TILE, pixels.shape[1])
    inner = pixels[max(0, top - AROUND) : bottom + AROUND, max(0, left - AROUND) : right + AROUND]
    missing = (
        (max(0, AROUND - top), max(0, bottom + AROUND - pixels.shape[0])),
        (max(0, AROUND - left), max(0, right + AROUND - pixels.shape[1])),
        (0, 0),
    )
    whole = np.pad(inner, missing, mode="edge")
    assert whole.shape == (bottom - top + sum(around[0]), right - left + sum(around[1]), 3)
    # Copied by it: a matrix over an array's own memory doesn't keep the array.
    rgb = ncnn.Mat.PixelType.PIXEL_RGB
    mat = ncnn.Mat.from_pixels(np.ascontiguousarray(whole), rgb, whole.shape[1], whole.shape[0])
    mat.substract_mean_normalize([], [1 / 255] * 3)
    asked = load().create_extractor()
    asked.input("data", mat)
    failed, drawn = asked.extract("output")
    if failed:
        raise MemoryError
    cut = slice(TIMES * AROUND, -TIMES * AROUND)
    levels = np.clip(np.asarray(drawn)[:, cut, cut] * 255 + 0.5, 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))
