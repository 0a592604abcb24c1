"""A film: the same scene in motion, under a camera that slowly draws nearer.

The same frames give the same bytes only when the encoder uses one thread and no tricks of the
processor: both are told so.
"""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import av
import numpy as np
import skia
from numpy.typing import NDArray

from app.executors.scene.brush import in_manner, painted
from app.executors.scene.pen import opaque, pixels_of
from app.executors.scene.picture import Layers, Stage, composed
from app.executors.scene.words import Scene

FRAMES_A_SECOND: Final = 24
STEPS: Final = 5  # passes of the brush over what stands still
CLOSER: Final = 0.07  # how much nearer the camera has come at the end
# Manners that are quick enough to be had in each frame.
IN_EACH_FRAME: Final = frozenset(("noir", "sepia", "pastel", "neon", "pixel", "sketch", "cartoon"))

Seen = Callable[[int, int, NDArray[np.uint8]], None]


def filmed(
    scene: Scene, height: int, width: int, seed: int, duration_ms: int, steps: int, seen: Seen
) -> bytes:
    """Return an MP4; each frame is shown to `seen`. Both sizes must be even."""
    stage = Stage(_brushed(composed(scene, height, width, seed), steps or STEPS, seed))
    count = max(2, round(duration_ms / 1000 * FRAMES_A_SECOND))
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_A_SECOND)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        stream.options = {
            "preset": "veryfast", "crf": "21", "x264-params": "threads=1:cpu-independent=1",
        }  # fmt: skip
        camera = skia.Surface(width, height)
        for number in range(count):
            frame = _seen_by(camera, stage.at(number / FRAMES_A_SECOND), number / (count - 1))
            if scene.style in IN_EACH_FRAME:
                frame = in_manner(frame, scene, seed)
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            for packet in stream.encode(picture.reformat(format="yuv420p")):
                container.mux(packet)
            seen(number + 1, count, frame)
        for packet in stream.encode():
            container.mux(packet)
    return out.getvalue()


def _brushed(layers: Layers, steps: int, seed: int) -> Layers:
    """Return the layers with what stands still painted by the brush."""
    plain = replace(layers.scene, style="oil" if layers.scene.style == "oil" else "photo")

    def over(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        colours = painted(
            np.ascontiguousarray(pixels[..., :3]), plain, steps, seed, lambda *_: None
        )
        return np.dstack([colours, pixels[..., 3:]])

    land = None if layers.land is None else over(layers.land)
    return replace(layers, back=over(layers.back), land=land)


def _seen_by(camera: skia.Surface, picture: NDArray[np.uint8], part: float) -> NDArray[np.uint8]:
    """Return a frame as the camera sees it after this part of the film."""
    height, width, _ = picture.shape
    near = part * part * (3 - 2 * part) * CLOSER
    view = skia.Rect.MakeXYWH(
        width * near / 2, height * near * 0.6, width * (1 - near), height * (1 - near)
    )
    pixels = np.dstack([picture, np.full((height, width), 255, np.uint8)])
    camera.getCanvas().drawImageRect(
        opaque(pixels), view, skia.Rect.MakeWH(width, height),
        skia.SamplingOptions(skia.FilterMode.kLinear),
    )  # fmt: skip
    return np.ascontiguousarray(pixels_of(camera)[..., :3])
