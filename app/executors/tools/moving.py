"""Films made of a picture."""

import io
from collections.abc import Iterator
from typing import Final

import av
import numpy as np
from PIL import Image

from app.executors.tools.pictures import flat, opened
from app.executors.tools.tool import Given, Result

FRAMES_A_SECOND: Final = 24
MOST_SIDE: Final = 1_280
ZOOM: Final = 1.25  # how much nearer it comes, or how much of it is out of sight
# One thread and no tricks of the processor's: the same picture makes the same film.
EXACT: Final = {"x264-params": "threads=1:cpu-independent=1", "crf": "20", "preset": "veryfast"}


def pan_and_zoom(given: Given) -> Result:
    """Return a film that moves slowly over a picture."""
    picture = flat(opened(given.file("image")))
    picture.thumbnail((2 * MOST_SIDE, 2 * MOST_SIDE), Image.Resampling.LANCZOS)
    scale = min(1.0, MOST_SIDE / max(picture.size))
    width, height = (max(16, round(side * scale) // 2 * 2) for side in picture.size)
    count, made = given["duration"] * FRAMES_A_SECOND, io.BytesIO()
    with av.open(made, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=FRAMES_A_SECOND, options=EXACT)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for box in _boxes(picture.size, given["direction"], count):
            frame = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box))
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        film.mux(stream.encode())
    return Result(made.getvalue(), "video/mp4", width, height, given["duration"] * 1_000)


def _boxes(
    size: tuple[int, int], direction: str, count: int
) -> Iterator[tuple[float, float, float, float]]:
    """Yield the part of the picture that each frame shows."""
    width, height = size
    for number in range(count):
        part = number / max(1, count - 1)
        part = part * part * (3 - 2 * part)  # it begins and ends slowly
        nearer = {"in": part, "out": 1 - part}.get(direction, 1.0)
        zoom = 1 + (ZOOM - 1) * nearer
        wide, high = width / zoom, height / zoom
        across = {"left": 1 - part, "right": part}.get(direction, 0.5)
        left, top = (width - wide) * across, (height - high) / 2
        yield left, top, left + wide, top + high
