"""A picture traced as a drawing of coloured paths, which stays sharp at any size."""

import io
from typing import Final

from PIL import Image

from app.executors.tools.pictures import opened
from app.executors.tools.tool import Given, Impossible, Result

MOST_SIDE: Final = 1_024  # of what is traced: paths grow to any size afterwards
MOST_BYTES: Final = 7 * 1024 * 1024
# Of specks that are left out the side, the bits of a colour, and how far colours are apart.
DETAIL: Final = {"low": (8, 5, 32), "medium": (4, 6, 16), "high": (2, 7, 8)}
TOO_MUCH: Final = "The picture has too much detail to be traced. Ask for less detail."


def load() -> None:
    """Load the tracer."""
    import vtracer  # noqa: F401


def trace(given: Given) -> Result:
    """Return a picture as SVG."""
    import vtracer

    picture = opened(given.file("image"))
    picture.thumbnail((MOST_SIDE, MOST_SIDE), Image.Resampling.LANCZOS)
    speckle, bits, apart = DETAIL[given["detail"]]
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", compress_level=1)
    drawn = vtracer.convert_raw_image_to_svg(
        encoded.getvalue(),
        img_format="png",
        colormode="color" if given["colors"] == "color" else "binary",
        mode=given["curves"],
        filter_speckle=speckle,
        color_precision=bits,
        layer_difference=apart,
        path_precision=2,
    ).encode()
    if len(drawn) > MOST_BYTES:
        raise Impossible(TOO_MUCH)
    return Result(drawn, "image/svg+xml", *picture.size)
