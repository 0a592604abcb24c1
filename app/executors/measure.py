"""What a file is, by its first bytes, and how large a picture says that it is.

Nothing is decoded here: these are claims, which the press checks in a process of its own.
"""

from dataclasses import dataclass
from typing import Final

_SIZED: Final = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), 0xCD))


@dataclass(frozen=True, slots=True)
class Measured:
    """A picture with its size, or a film, whose size is left to the press, with its length."""

    media_type: str
    width: int = 0
    height: int = 0
    duration_ms: int = 0  # of a film; 0 where it doesn't say

    @property
    def is_film(self) -> bool:
        """Whether it is a film."""
        return self.media_type.startswith("video/")


def measured(data: bytes) -> Measured | None:
    """Return what a file is; None where it is no picture and no film that is kept."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return Measured("image/png", _big(data, 16, 4), _big(data, 20, 4))
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        return _webp(data)
    if data[4:8] == b"ftyp":
        return Measured("video/mp4", duration_ms=_length_ms(data))
    return None


def _length_ms(data: bytes) -> int:
    """Return the length that an MP4 says it has; 0 where it says none."""
    at = data.rfind(b"mvhd")
    if at < 0 or len(data) < at + 36:
        return 0
    ticks, wide = (at + 24, 8) if data[at + 4] == 1 else (at + 16, 4)
    a_second = _big(data, ticks, 4)
    return _big(data, ticks + 4, wide) * 1_000 // a_second if a_second else 0


def _jpeg(data: bytes) -> Measured | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        kind = data[at + 1]
        if kind in _SIZED:
            return Measured("image/jpeg", _big(data, at + 7, 2), _big(data, at + 5, 2))
        at += 1 if kind == 0xFF else 2 + max(2, _big(data, at + 2, 2))
    return None


def _webp(data: bytes) -> Measured | None:
    match data[12:16]:
        case b"VP8X":
            return Measured("image/webp", 1 + _little(data, 24, 3), 1 + _little(data, 27, 3))
        case b"VP8L":
            bits = _little(data, 21, 4)
            return Measured("image/webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        case b"VP8 ":
            width, height = _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
            return Measured("image/webp", width, height)
        case _:
            return None


def _big(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "big")


def _little(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "little")
