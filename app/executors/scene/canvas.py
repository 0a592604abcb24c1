"""Numbers that become pictures: noise, gradients, ridges, and a plate that layers are laid on.

All chance comes from the generator that is handed in: nothing here knows of a clock or of dice.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

Floats = NDArray[Any]  # numbers of either precision
RGB = tuple[float, float, float]

BICUBIC: Final = Image.Resampling.BICUBIC


def resized(grid: Floats, height: int, width: int) -> Floats:
    """Return a grid of another size, smooth."""
    return np.asarray(Image.fromarray(grid).resize((width, height), BICUBIC), dtype=np.float32)


def noise(
    height: int, width: int, rng: np.random.Generator, base: float = 3, octaves: int = 6,
    stretch: float = 1.0, gain: float = 0.5,
) -> Floats:  # fmt: skip
    """Return clouds of chance between 0 and 1; `stretch` above 1 makes them wider than high."""
    # Fine octaves of a large picture are seen by nobody: half the size is enough.
    h, w = (height, width) if height * width < 400_000 else (height // 2 + 1, width // 2 + 1)
    out = np.zeros((h, w), np.float32)
    amplitude = 1.0
    for octave in range(octaves):
        rows = base * 2**octave
        columns = rows * w / h / stretch
        grid = rng.random(
            (min(int(rows) + 3, h), min(max(2, int(columns)) + 3, w)), dtype=np.float32
        )
        out += amplitude * resized(grid, h, w)
        amplitude *= gain
    out = (out - out.min()) / (np.ptp(out) + 1e-6)
    return out if (h, w) == (height, width) else resized(out, height, width).clip(0, 1)


def shifted(grid: Floats, down: int, across: int) -> Floats:
    """Return a grid moved by so many pixels; what comes in from outside is like the edge."""
    rows = np.clip(np.arange(grid.shape[0]) - down, 0, grid.shape[0] - 1)
    columns = np.clip(np.arange(grid.shape[1]) - across, 0, grid.shape[1] - 1)
    return grid[rows][:, columns]


def ridge(
    width: int, rng: np.random.Generator, rough: float, amplitude: float, base: float
) -> Floats:
    """Return the heights of a skyline, in pixels from above."""
    line = np.zeros(width)
    for octave in range(8):
        count = max(2, 2 ** (octave + 1))
        line += amplitude * np.interp(
            np.linspace(0, count, width), np.arange(count + 1), rng.random(count + 1) - 0.5
        )
        amplitude *= rough
    return (base + line).astype(np.float32)


def gradient(height: int, stops: Sequence[RGB]) -> Floats:
    """Return a column of colours from above to below, softly joined."""
    at = np.linspace(0, len(stops) - 1, max(height, 1))
    low = np.clip(at.astype(int), 0, len(stops) - 2)
    part = at - low
    part = (part * part * (3 - 2 * part))[:, None]
    colours = np.asarray(stops, np.float32)
    out: Floats = (colours[low] * (1 - part) + colours[low + 1] * part).astype(np.float32)
    return out


def mixed(one: ArrayLike, other: ArrayLike, part: float) -> Floats:
    """Return a colour between two."""
    return np.asarray(one, np.float32) * (1 - part) + np.asarray(other, np.float32) * part


class Plate:
    """A picture under way, of floats; where nothing was laid yet it is transparent."""

    def __init__(self, height: int, width: int, ground: Floats | None = None) -> None:
        self.height, self.width = height, width
        self.rgb: Floats = np.zeros((height, width, 3), np.float32) if ground is None else ground
        self.alpha: Floats = np.full((height, width), 0.0 if ground is None else 1.0, np.float32)
        self.y, self.x = np.mgrid[0:height, 0:width].astype(np.float32)

    def lay(self, colour: ArrayLike, mask: Floats) -> None:
        """Lay a colour, or a whole picture, where the mask is near 1."""
        part = mask[..., None]
        self.rgb = self.rgb * (1 - part) + np.asarray(colour, np.float32) * part
        self.alpha = np.maximum(self.alpha, mask)

    def add(self, colour: ArrayLike, mask: Floats) -> None:
        """Add light."""
        self.rgb = self.rgb + np.asarray(colour, np.float32) * mask[..., None]

    def below(self, line: Floats, soft: float = 1.2) -> Floats:
        """Return the mask of all below a skyline."""
        mask: Floats = np.clip((self.y - line[None, :]) / soft + 0.5, 0, 1)
        return mask

    def pixels(self) -> NDArray[np.uint8]:
        """Return it with four bytes a pixel."""
        colours = np.clip(self.rgb, 0, 255).astype(np.uint8)
        alpha = np.clip(self.alpha * 255, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.dstack([colours, alpha]))
