"""A process of its own in which what strangers made is decoded and encoded anew."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Final

from app.artifacts.bounds import FILM, PICTURE, VECTOR, Pressed, Refused
from app.confined import Answer, Work, serve

KINDS: Final = {
    "picture": ("app.artifacts.pictures", PICTURE),
    "film": ("app.artifacts.films", FILM),
    "vector": ("app.artifacts.vectors", VECTOR),
}
TOO_MUCH: Final = "To decode this takes more memory than is given to one file: send a smaller one."
NOT_ONE: Final = "This file can't be decoded: send it whole, and of the kind that it says it is."


def begin(kind: str) -> Work:
    """Return what is done with a kind: films' decoders come with the first film.

    A picture's may name the size that it is cut to: `picture 1440 1440`.
    """
    name, *size = kind.split()
    module, means = KINDS[name]
    press = import_module(module).press
    if size:
        press = partial(press, cut=(int(size[0]), int(size[1])))
    return Work(partial(_answer, press), means)


def _answer(press: Callable[[bytes], Pressed], data: bytes) -> Answer:
    try:
        pressed = press(data)
        return pressed.facts(), pressed.data
    except Refused as refused:
        return {"refused": str(refused)}, b""
    except MemoryError:
        return {"refused": TOO_MUCH}, b""
    except BaseException as broke:  # of the type alone: an error may quote what it read
        return {"refused": NOT_ONE, "error": type(broke).__name__}, b""


if __name__ == "__main__":
    serve(begin)
