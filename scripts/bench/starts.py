"""Not yet."""

from .rows import Row
from .slices import Pace
from .stand import Stand


def rows(stand: Stand, pace: Pace) -> list[Row]:
    """Nothing."""
    return []
