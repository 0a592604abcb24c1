"""A process of its own that paints what it is asked for, one thing after the other.

It reads lines of JSON on standard input; it answers with lines of JSON, each followed by as many
bytes as it names. It ends when that input closes: so it never outlives whoever started it. What it
may use is bounded by the system: strangers' words choose what it does.
"""

import contextlib
import io
import json
import os
import resource
import sys
from importlib import import_module
from typing import Any, BinaryIO, Final

PREVIEW: Final = 256  # longest side of a preview, in pixels
FILES: Final = 64


def main() -> None:
    """Paint until standard input ends."""
    bounds = json.loads(sys.stdin.buffer.readline())
    # Libraries may print; only our own lines go to whoever reads the pictures.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        for part in bounds["parts"]:
            import_module(part)
    except ImportError as error:  # also where a library of the system isn't there
        tell(answers, {"missing": str(error)})
        return
    _bound(bounds)  # not before: a bound that is too small isn't a library that is missing
    tell(answers, {"ready": True})
    for line in sys.stdin.buffer:
        try:
            _make(json.loads(line), answers)
        except (MemoryError, OSError, RuntimeError, ValueError) as error:
            tell(answers, {"failed": type(error).__name__})
    os._exit(0)


def _bound(bounds: dict[str, Any]) -> None:
    """Take away what painting doesn't need; be slow rather than in the way of the market."""
    memory = bounds["memory_mb"] * 1024 * 1024
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),  # it writes no file
        (resource.RLIMIT_NOFILE, FILES),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))
    with contextlib.suppress(OSError):
        os.nice(bounds["nice"])


def tell(answers: BinaryIO, said: dict[str, Any], data: bytes = b"") -> None:
    """Send one line, and the bytes that belong to it."""
    answers.write(json.dumps({**said, "bytes": len(data)}).encode() + b"\n" + data)
    answers.flush()


def _make(asked: dict[str, Any], answers: BinaryIO) -> None:
    from app.executors.scene.words import read

    scene = read(asked["prompt"], asked["negative_prompt"])
    size = asked["height"], asked["width"]
    if asked["duration_ms"]:
        from app.executors.scene.film import FRAMES_A_SECOND, filmed

        def frame(number: int, count: int, picture: Any) -> None:
            preview = _preview(picture) if number % (FRAMES_A_SECOND // 2) == 1 else b""
            tell(answers, {"step": number, "of": count}, preview)

        film = filmed(
            scene, *size, asked["seed"], asked["duration_ms"], asked["steps"], frame
        )  # fmt: skip
        tell(answers, {"made": "video/mp4"}, film)
        return
    from app.executors.scene.brush import DEFAULT_STEPS, painted
    from app.executors.scene.picture import Stage, composed

    steps = asked["steps"] or DEFAULT_STEPS

    def seen(number: int, picture: Any) -> None:
        tell(answers, {"step": number, "of": steps}, _preview(picture))

    motif = Stage(composed(scene, *size, asked["seed"])).at(0.0)
    picture = painted(motif, scene, steps, asked["seed"], seen)
    tell(answers, {"made": "image/png"}, _png(picture, 4))


def _preview(picture: Any) -> bytes:
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((PREVIEW, PREVIEW))
    return _encoded(image, 1)


def _png(picture: Any, effort: int) -> bytes:
    from PIL import Image

    return _encoded(Image.fromarray(picture), effort)


def _encoded(image: Any, effort: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=effort)
    return out.getvalue()


if __name__ == "__main__":
    main()
