"""Shapes as providers name them: `16:9`."""

from collections.abc import Sequence

from app.executors.provider import SHAPE
from app.ports import Wanted


def nearest(wanted: Wanted, shapes: Sequence[str]) -> str | None:
    """Return the named shape of what was asked for; None where none is near enough."""
    asked = wanted.width / wanted.height
    off = {shape: abs(_ratio(shape) - asked) for shape in shapes if _ratio(shape)}
    best = min(off, key=lambda shape: off[shape], default=None)
    return best if best is not None and off[best] <= SHAPE * asked else None


def _ratio(shape: str) -> float:
    """Return width / height; 0 for what is no shape, as `auto`."""
    across, colon, down = shape.partition(":")
    known = colon and across.isdecimal() and down.isdecimal() and int(down) > 0
    return int(across) / int(down) if known else 0.0
