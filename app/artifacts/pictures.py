"""A picture is decoded, bounded and rebuilt from its pixels: nothing else of its bytes is kept.

No metadata, no profile, no second file behind the first one. It is turned as its camera was held,
its colours are sRGB, eight bits each. A PNG keeps every pixel; JPEG and WebP are encoded at the
highest quality that is worth its bytes. Runs in the process of `app.artifacts.press`.
"""

import contextlib
import io
from typing import Final

from PIL import Image, ImageCms, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin

from app.artifacts.bounds import (
    MOST_PIXELS,
    MOST_PIXELS_WEBP,
    MOST_SIDE,
    Pressed,
    Refused,
)
from app.artifacts.looks import look_of

# Imported before anything is decoded: afterwards the process may open no more files.
PLUGINS: Final = (PngImagePlugin, JpegImagePlugin, WebPImagePlugin, MpoImagePlugin)
FORMATS: Final = ("PNG", "JPEG", "WEBP")
# What cameras write with several pictures in one file is a JPEG of the first one.
SAVED_AS: Final = {"PNG": "PNG", "JPEG": "JPEG", "MPO": "JPEG", "WEBP": "WEBP"}
ORIENTATION: Final = 0x0112
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
STRIP: Final = 64  # pixels: models make sides that are multiples of so many
NOT_ONE: Final = "This is not a picture that can be decoded: send a whole PNG, JPEG or WebP file."
TOO_LARGE: Final = (
    f"The picture is too large: at most {MOST_SIDE:,} pixels a side and"
    f" {MOST_PIXELS:,} in all are taken ({MOST_PIXELS_WEBP:,} as WebP)."
)
ANIMATED: Final = "The picture is animated: send a still picture, or a film as MP4."

Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # a second net: it only warns up to twice as many


def press(data: bytes, cut: tuple[int, int] | None = None) -> Pressed:
    """Return a picture encoded anew, cut to this size where that is little less. Raises Refused."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise Refused(TOO_LARGE) from None
    except (MemoryError, Refused):
        raise
    except Exception:
        raise Refused(NOT_ONE) from None
    _bound(picture)
    kind = SAVED_AS[picture.format or ""]
    try:
        picture.load()
    except MemoryError:
        raise
    except Exception:
        raise Refused(NOT_ONE) from None
    turn = UPRIGHT.get(_orientation(picture))
    clean = _clean(picture, "RGB" if kind == "JPEG" else None)
    del picture
    if turn is not None:
        clean = clean.transpose(turn)
    if cut is not None:
        clean = _cut(clean, *cut)
    try:
        look = look_of(clean)
        made = _saved(clean, kind, data)
    except (OSError, ValueError):  # so encoders say that there is too little memory
        raise MemoryError from None
    return Pressed(made, f"image/{kind.lower()}", *clean.size, look=look)


def _cut(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Return the middle of a picture; all of it, where more than a strip would be lost."""
    wide, high = picture.width - width, picture.height - height
    if not (0 <= wide < STRIP and 0 <= high < STRIP):
        return picture
    left, top = wide // 2, high // 2
    return picture.crop((left, top, left + width, top + height))


def _bound(picture: Image.Image) -> None:
    """Refuse what is too large before a pixel of it is decoded."""
    width, height = picture.size
    most = MOST_PIXELS_WEBP if picture.format == "WEBP" else MOST_PIXELS
    if not 0 < width <= MOST_SIDE or not 0 < height <= MOST_SIDE or width * height > most:
        raise Refused(TOO_LARGE)
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise Refused(ANIMATED)


def _orientation(picture: Image.Image) -> int:
    found = 1
    with contextlib.suppress(Exception):  # metadata of a stranger's: where it is broken, none
        found = int(picture.getexif().get(ORIENTATION, 1))
    return found


def _clean(picture: Image.Image, mode: str | None) -> Image.Image:
    """Return the pixels alone, as RGB, or RGBA where some can be seen through."""
    if mode is None:
        mode = "RGBA" if picture.has_transparency_data else "RGB"
    if picture.mode.startswith("I"):  # sixteen bits a pixel; `convert` would cut off, not scale
        picture = picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    profile = picture.info.get("icc_profile")
    if profile and mode == "RGB":
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            ours = ImageCms.createProfile("sRGB")
            theirs = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            told = ImageCms.profileToProfile(picture, theirs, ours, outputMode="RGB")
            picture = told or picture
    if picture.mode != mode:
        picture = picture.convert(mode)
    clean = Image.new(mode, picture.size)
    clean.paste(picture)
    return clean


def _saved(clean: Image.Image, kind: str, given: bytes) -> bytes:
    made = io.BytesIO()
    match kind:
        case "PNG":
            clean.save(made, kind, compress_level=1)  # a third of the time for a tenth more bytes
        case "JPEG":
            clean.save(made, kind, quality=95, subsampling=0)
        case _:
            lossless = b"VP8L" in given[:64]
            # Without loss, quality is how long it tries for fewer bytes.
            quality, method = (20, 0) if lossless else (95, 2)
            clean.save(
                made, kind, quality=quality, method=method, lossless=lossless, exact=lossless
            )
    return made.getvalue()
