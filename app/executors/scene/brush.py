"""The brush: a picture painted over from coarse to fine, and the manner that the words ask for.

Each step is a whole pass, so each is a picture that can be shown.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import skia
from numpy.typing import NDArray
from PIL import Image

from app.executors.scene.canvas import Floats, noise
from app.executors.scene.pen import pixels_of
from app.executors.scene.words import Scene

Pixels = NDArray[np.uint8]
Seen = Callable[[int, Pixels], None]

DEFAULT_STEPS: Final = 8
MOST_STEPS: Final = 50
MOST_STROKES: Final = 20_000  # of a pass
# The finest brush of a manner, in parts of the shorter side; 0: no brush at all.
FINEST: Final = {
    "oil": 0.0046, "impressionist": 0.0105, "watercolor": 0.007, "pastel": 0.006, "photo": 0.0022,
    "noir": 0.0035, "sepia": 0.004, "neon": 0.0034, "sketch": 0.003, "cartoon": 0.003,
    "woodblock": 0.004, "mosaic": 0.005, "pixel": 0.006,
}  # fmt: skip


def painted(source: Pixels, scene: Scene, steps: int, seed: int, seen: Seen) -> Pixels:
    """Return a picture, painted in so many passes; each is shown to `seen`."""
    steps = min(max(1, steps or DEFAULT_STEPS), MOST_STEPS)
    height, width, _ = source.shape
    rng = np.random.default_rng([seed & 0xFFFFFFFF, 1])
    short = min(height, width)
    surface = skia.Surface(width, height)
    canvas = surface.getCanvas()
    red, green, blue = (int(part) for part in source.reshape(-1, 3).mean(0))
    canvas.clear(skia.Color(red, green, blue))
    along = _along(source)
    for step, radius in enumerate(np.geomspace(short * 0.09, short * FINEST[scene.style], steps)):
        _pass(canvas, surface, source, along, float(radius), rng, first=step == 0)
        now = np.ascontiguousarray(pixels_of(surface)[..., :3])
        # The last words are the motif's own: its edges stay where they are.
        share = 0.42 * (step + 1) / steps
        now = (now * (1 - share) + source * share).astype(np.uint8)
        if step + 1 < steps:
            seen(step + 1, now)
    done = in_manner(now, scene, seed)
    seen(steps, done)
    return done


def _along(source: Pixels) -> Floats:
    """Return the direction of the edges at each fourth pixel; nan where there is none."""
    height, width, _ = source.shape
    small = Image.fromarray(source).convert("L")
    small = small.resize((max(2, width // 4), max(2, height // 4)), Image.Resampling.BOX)
    down, across = np.gradient(np.asarray(small, np.float32))
    angle = np.arctan2(across, -down)
    out: Floats = np.where(np.abs(across) + np.abs(down) > 2, angle, np.nan)
    return out


def _pass(
    canvas: skia.Canvas, surface: skia.Surface, source: Pixels, along: Floats,
    radius: float, rng: np.random.Generator, *, first: bool,
) -> None:  # fmt: skip
    """Set strokes of one size wherever what is there differs from the motif."""
    height, width, _ = source.shape
    size = (max(2, int(width / radius * 1.6)), max(2, int(height / radius * 1.6)))
    wanted = np.asarray(Image.fromarray(source).resize(size, Image.Resampling.BOX), np.int16)
    there = np.ascontiguousarray(pixels_of(surface)[..., :3])
    there = np.asarray(Image.fromarray(there).resize(size, Image.Resampling.BOX), np.int16)
    rows, columns = np.nonzero(np.abs(wanted - there).sum(2) > (-1 if first else 22))
    order = rng.permutation(len(rows))[:MOST_STROKES]
    count = len(order)
    y = ((rows[order] + rng.random(count)) / size[1] * height).clip(0, height - 1)
    x = ((columns[order] + rng.random(count)) / size[0] * width).clip(0, width - 1)
    colours = source[y.astype(int), x.astype(int)].astype(np.int16)
    colours = (colours + rng.integers(-7, 8, (count, 1))).clip(0, 255)
    cell = (np.minimum(y // 4, along.shape[0] - 1).astype(int),
            np.minimum(x // 4, along.shape[1] - 1).astype(int))  # fmt: skip
    angle = along[cell]
    angle = np.where(np.isnan(angle), 0.4 + 0.5 * rng.standard_normal(count), angle)
    long = radius * (1.2 + 1.4 * rng.random(count)) / 2
    dx, dy = np.cos(angle) * long, np.sin(angle) * long
    paint = skia.Paint(StrokeWidth=radius * 0.8, StrokeCap=skia.Paint.kRound_Cap, AntiAlias=True)
    for px, py, ox, oy, (red, green, blue) in zip(
        x.tolist(), y.tolist(), dx.tolist(), dy.tolist(), colours.tolist(), strict=True
    ):
        paint.setColor(skia.Color(red, green, blue, 235))
        canvas.drawLine(px - ox, py - oy, px + ox, py + oy, paint)


def in_manner(picture: Pixels, scene: Scene, seed: int) -> Pixels:
    """Return a picture in the manner that was asked for."""
    manner = _MANNERS.get(scene.style)
    return picture if manner is None else np.ascontiguousarray(manner(picture, seed))


def _grey(picture: Pixels) -> Floats:
    grey: Floats = picture.astype(np.float32) @ np.asarray((0.3, 0.59, 0.11), np.float32)
    return grey


def _bytes(values: Floats) -> Pixels:
    out: Pixels = np.clip(values, 0, 255).astype(np.uint8)
    return out


def _edges(picture: Pixels, reach: int = 1) -> Floats:
    grey = _grey(picture)
    across = np.roll(grey, -reach, 1) - np.roll(grey, reach, 1)
    down = np.roll(grey, -reach, 0) - np.roll(grey, reach, 0)
    strength: Floats = np.hypot(across, down)
    strength[:reach], strength[-reach:] = 0, 0
    strength[:, :reach], strength[:, -reach:] = 0, 0
    return strength


def _noir(picture: Pixels, seed: int) -> Pixels:
    grey = (_grey(picture) - 128) * 1.22 + 124
    grain = np.random.default_rng(seed & 0xFFFF).normal(0, 5, grey.shape)
    return _bytes(np.repeat((grey + grain)[..., None], 3, 2))


def _sepia(picture: Pixels, seed: int) -> Pixels:
    grey = _grey(picture)[..., None] / 255
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    edge = np.hypot((x / width - 0.5) * 1.25, (y / height - 0.5) * 1.25)[..., None]
    tone = np.asarray((58, 40, 26)) * (1 - grey) + np.asarray((250, 228, 188)) * grey
    return _bytes(tone * (1.08 - 0.55 * edge**2))


def _watercolor(picture: Pixels, seed: int) -> Pixels:
    height, width = picture.shape[:2]
    rng = np.random.default_rng([seed & 0xFFFFFFFF, 3])
    bloom, paper = noise(height, width, rng, 3, 5), noise(height, width, rng, 90, 2)
    colours: Floats = picture.astype(np.float32)
    grey = _grey(picture)[..., None]
    colours = grey + (colours - grey) * 1.22
    wash = (0.24 + 0.26 * bloom)[..., None]
    colours = colours * (1 - wash) + np.asarray((252, 249, 240)) * wash
    colours -= (np.clip(_edges(picture, 2) - 26, 0, 60) * 0.5)[..., None]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    near = np.minimum(np.minimum(x, width - x) / width, np.minimum(y, height - y) / height)
    sheet = np.clip((near - 0.012 - 0.028 * bloom) * 70, 0, 1)[..., None]
    colours = colours * sheet + np.asarray((252, 249, 240)) * (1 - sheet)
    return _bytes(colours * (0.965 + 0.05 * paper[..., None]))


def _pixel(picture: Pixels, seed: int) -> Pixels:
    height, width = picture.shape[:2]
    cell = max(3, min(height, width) // 96)
    small = Image.fromarray(picture).resize(
        (max(2, width // cell), max(2, height // cell)), Image.Resampling.BOX
    )
    small = small.quantize(36, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST))


def _sketch(picture: Pixels, seed: int) -> Pixels:
    height, width = picture.shape[:2]
    grey = _grey(picture)
    lines = 255 - np.clip(_edges(picture, max(1, min(height, width) // 700)) * 2.4 - 12, 0, 235)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    pitch = max(3.0, min(height, width) / 190)
    hatch = (np.sin((x + y) / pitch * 3.1) > 0.15) * (grey < 118) * 46
    hatch = hatch + (np.sin((x - y) / pitch * 3.1) > 0.3) * (grey < 74) * 50
    tone = 246 - (255 - grey) * 0.24 - hatch
    paper = noise(height, width, np.random.default_rng(5), 80, 2) * 9
    out = np.minimum(tone, lines) - paper
    return _bytes(out[..., None] * np.asarray((1.0, 0.988, 0.96)))


def _cartoon(picture: Pixels, seed: int) -> Pixels:
    colours: Floats = picture.astype(np.float32)
    grey = _grey(picture)[..., None]
    colours = grey + (colours - grey) * 1.4
    levels = 7
    flat = np.round(colours / 255 * levels) / levels * 255
    reach = max(1, min(picture.shape[:2]) // 500)
    ink = np.clip((_edges(picture, reach) - 46) / 46, 0, 1)[..., None] * 0.8
    return _bytes(flat * (1 - ink) + 18 * ink)


def _pastel(picture: Pixels, seed: int) -> Pixels:
    colours: Floats = picture.astype(np.float32)
    grey = _grey(picture)[..., None]
    soft = grey + (colours - grey) * 0.85
    grain = noise(picture.shape[0], picture.shape[1], np.random.default_rng(seed & 0xFFFF), 110, 2)[
        ..., None
    ]
    return _bytes((soft * 0.62 + np.asarray((250, 238, 240)) * 0.38) * (0.97 + 0.05 * grain))


def _neon(picture: Pixels, seed: int) -> Pixels:
    colours: Floats = picture.astype(np.float32)
    grey = _grey(picture)[..., None] / 255
    colours = grey * 255 + (colours - grey * 255) * 1.5
    tone = np.asarray((40, 8, 78)) * (1 - grey) + np.asarray((255, 214, 250)) * grey
    mixture = colours * 0.72 + tone * 0.28
    bright = np.clip(mixture - 150, 0, 105)
    size = picture.shape[1], picture.shape[0]
    small = Image.fromarray(_bytes(bright)).resize(
        (max(2, size[0] // 16), max(2, size[1] // 16)), Image.Resampling.BOX
    )
    bloom = np.asarray(small.resize(size, Image.Resampling.BICUBIC), np.float32)
    return _bytes(mixture + bloom * 0.9)


def _woodblock(picture: Pixels, seed: int) -> Pixels:
    inks = np.asarray(
        [(24, 34, 62), (44, 84, 128), (112, 152, 172), (238, 226, 198), (206, 92, 70),
         (150, 132, 84), (92, 118, 88), (226, 178, 122), (62, 52, 50), (250, 246, 234),
         (176, 200, 206), (60, 88, 66), (186, 160, 128)], np.float32
    )  # fmt: skip
    height, width = picture.shape[:2]
    rng = np.random.default_rng([seed & 0xFFFFFFFF, 4])
    wood = noise(height, width, rng, 4, 6, stretch=12)
    flat = picture.reshape(-1, 3).astype(np.float32)
    best: Floats = np.full(len(flat), np.inf, np.float32)
    chosen: NDArray[np.int8] = np.zeros(len(flat), np.int8)
    for number, ink in enumerate(inks):
        away = ((flat - ink) ** 2 * (0.9, 1.2, 0.8)).sum(1)
        chosen = np.where(away < best, number, chosen).astype(np.int8)
        best = np.minimum(away, best)
    out: Floats = inks[chosen].reshape(height, width, 3)
    ink = np.clip((_edges(picture, max(1, min(height, width) // 600)) - 40) / 40, 0, 1)[..., None]
    out = out * (1 - 0.75 * ink) + np.asarray((28, 30, 44)) * 0.75 * ink
    return _bytes(out * (0.93 + 0.12 * wood[..., None]))


def _mosaic(picture: Pixels, seed: int) -> Pixels:
    """Leaded panes: each has one colour, and ends half-way to the next."""
    height, width = picture.shape[:2]
    rng = np.random.default_rng([seed & 0xFFFFFFFF, 5])
    cell = max(8, min(height, width) // 30)
    rows, columns = height // cell + 2, width // cell + 2
    jitter = rng.random((rows, columns, 2)).astype(np.float32)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    first = np.full((height, width), np.inf, np.float32)
    second = first.copy()
    at_y = np.zeros((height, width), np.int32)
    at_x = at_y.copy()
    row, column = (y // cell).astype(int), (x // cell).astype(int)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            r, c = (row + down).clip(0, rows - 1), (column + across).clip(0, columns - 1)
            py, px = (r + jitter[r, c, 0]) * cell, (c + jitter[r, c, 1]) * cell
            away = np.hypot(y - py, x - px)
            nearer = away < first
            second = np.where(
                nearer, first, np.where((away < second) & (away > first), away, second)
            )
            first = np.where(nearer, away, first)
            at_y = np.where(nearer, py, at_y).astype(np.int32)
            at_x = np.where(nearer, px, at_x).astype(np.int32)
    panes: Floats = picture[at_y.clip(0, height - 1), at_x.clip(0, width - 1)].astype(np.float32)
    grey = panes @ np.asarray((0.3, 0.59, 0.11), np.float32)
    panes = grey[..., None] + (panes - grey[..., None]) * 1.35
    lead = np.clip((second - first) / (cell * 0.07) - 0.2, 0, 1)[..., None]
    return _bytes(panes * 1.06 * lead + 22 * (1 - lead))


_MANNERS: Final[dict[str, Callable[[Pixels, int], Pixels]]] = {
    "noir": _noir, "sepia": _sepia, "watercolor": _watercolor, "pixel": _pixel, "sketch": _sketch,
    "cartoon": _cartoon, "pastel": _pastel, "neon": _neon, "woodblock": _woodblock,
    "mosaic": _mosaic,
}  # fmt: skip
