"""Pictures and films that are no good, or too much of it; and some that are as they should be."""

import io
import struct
import zipfile
import zlib
from fractions import Fraction
from typing import Any

import av
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Return a picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def many_coloured(mode: str = "RGB", size: tuple[int, int] = (24, 16)) -> Image.Image:
    """Return a picture no two of whose pixels are alike, so that one that moved is seen."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    width, height = size
    values = bytes(
        (x * 9 + y * (31 + band * 50) + 17 * band) % 256
        for y in range(height)
        for x in range(width)
        for band in range(bands)
    )
    return Image.frombytes(mode, size, values)


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """Return how a PNG of such a size begins."""
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def bomb(width: int, height: int, rows: int | None = None) -> bytes:
    """Return a small PNG that says it is huge, with the rows that it speaks of, or some of them."""
    hundred = bytes(1 + (width + 7) // 8) * 100
    squeeze, count = zlib.compressobj(1), (height if rows is None else rows) // 100
    data = b"".join(squeeze.compress(hundred) for _ in range(count)) + squeeze.flush()
    return header(width, height, 1, 0) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def text_bomb(megabytes: int) -> bytes:
    """Return a PNG with a compressed comment that is so long."""
    squeeze, block = zlib.compressobj(1), bytes(1_000_000)
    text = b"".join(squeeze.compress(block) for _ in range(megabytes)) + squeeze.flush()
    whole = saved(many_coloured())
    comment = chunk(b"zTXt", b"Comment\0\0" + text)
    return whole[:33] + comment + whole[33:]


def deep(size: tuple[int, int] = (3, 2)) -> bytes:
    """Return a PNG of sixteen bits a colour."""
    width, height = size
    row = b"\0" + struct.pack(">3H", 0, 0x8000, 0xFFFF) * width
    rows = chunk(b"IDAT", zlib.compress(row * height))
    return header(width, height, 16, 2) + rows + chunk(b"IEND", b"")


def archive() -> bytes:
    """Return a ZIP, as a browser or a Java runtime would find it behind a picture."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("planted.html", "<script>planted()</script>")
    return file.getvalue()


def film(
    size: tuple[int, int] = (64, 48),
    frames: int = 12,
    *,
    rate: int = 12,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    sound: bool = False,
    kind: str = "mp4",
) -> bytes:
    """Return a film whose pictures get brighter, with a note of its maker's."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as made:
        made.metadata["comment"] = "planted"
        frame_of: Any = av.VideoFrame.from_image
        shown: Any = made.add_stream(codec, rate=rate)
        shown.width, shown.height, shown.pix_fmt = *size, pixels
        played = made.add_stream("aac", rate=44_100, layout="mono") if sound else None
        for number in range(frames):
            picture = Image.new("RGB", size, (10 * number % 256, 40, 90))
            made.mux(shown.encode(frame_of(picture)))
        made.mux(shown.encode(None))
        if played is not None:
            quiet = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            quiet.rate, quiet.time_base = 44_100, Fraction(1, 44_100)
            for plane in quiet.planes:
                plane.update(bytes(plane.buffer_size))
            for number in range(frames * 44_100 // rate // 1024):
                quiet.pts = number * 1024
                made.mux(played.encode(quiet))
            made.mux(played.encode(None))
    return file.getvalue()


def said_to_have(frames: int, whole: bytes) -> bytes:
    """Return a film whose index speaks of so many pictures."""
    told = bytearray(whole)
    sizes = told.index(b"stsz") + 8
    told[sizes : sizes + 8] = struct.pack(">II", 16, frames)
    times = told.index(b"stts") + 8
    told[times + 4 : times + 8] = struct.pack(">I", frames)
    return bytes(told)
