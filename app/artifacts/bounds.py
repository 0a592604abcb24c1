"""What a picture and a film may be at most, to read and to make; and what the process may use.

The product sells pictures up to 2048 × 2048 and films of 15 seconds in 720p; there is room beyond.
"""

from dataclasses import dataclass
from typing import Any, Final

from app.confined import Means

MIB: Final = 1024 * 1024

MOST_SIDE: Final = 8_192
MOST_PIXELS: Final = 4_096 * 4_096
MOST_PIXELS_WEBP: Final = 2_048 * 2_048  # it holds several copies of what it decodes or encodes

MOST_FILM_PIXELS: Final = 1_920 * 1_088
LEAST_FILM_SIDE: Final = 16
MOST_FILM_S: Final = 60
MOST_FRAMES: Final = MOST_FILM_S * 60
MOST_PIXELS_OF_ALL: Final = 1_280 * 720 * 30 * MOST_FILM_S  # what there is time to encode anew

MOST_ANSWER: Final = 96 * MIB  # what encoding anew can give: pixels nobody can compress


# With what the process has before, each stays below 300 MB.
PICTURE: Final = Means(48 * MIB, 264 * MIB, 20, 80, 0)
FILM: Final = Means(32 * MIB, 264 * MIB, 120, 300, 64 * MIB)
VECTOR: Final = Means(8 * MIB, 264 * MIB, 20, 80, 0)


class Refused(Exception):
    """What was sent can't be kept; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Pressed:
    """What came of encoding anew."""

    data: bytes
    media_type: str
    width: int
    height: int
    duration_ms: int | None = None
    look: str | None = None  # see `app.artifacts.looks`; None: it is too plain to be told by one

    def facts(self) -> dict[str, Any]:
        """Return what there is to say of the bytes."""
        return {
            "media_type": self.media_type,
            "width": self.width,
            "height": self.height,
            "duration_ms": self.duration_ms,
            "look": self.look,
        }
