"""A process of its own in which what strangers made is decoded and encoded anew.

It loads its decoders once, and forks for each piece: whatever hostile bytes do, they do in a child
that has hard limits of memory, time and files, and that ends with its answer. It takes sockets,
one for each piece, over the socket on its standard input, and ends when that closes.
"""

import ctypes
import gc
import json
import os
import resource
import signal
import socket
from collections.abc import Callable
from importlib import import_module
from typing import Final

from app.artifacts.bounds import FILM, PICTURE, Means, Pressed, Refused

KINDS: Final = {b"p": ("app.artifacts.pictures", PICTURE), b"f": ("app.artifacts.films", FILM)}
NICE: Final = 5  # money first
FILES: Final = 16  # how many the child may have open
TOO_MUCH: Final = "To decode this takes more memory than is given to one file: send a smaller one."
NOT_ONE: Final = "This file can't be decoded: send it whole, and of the kind that it says it is."
PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


def main() -> None:
    """Take pieces until standard input ends."""
    with socket.socket(fileno=os.dup(0)) as control:
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)  # or a child would hold the line when we are dead
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever waits sees its socket close
        os.nice(NICE)
        here = os.getpid()
        while True:
            kind, passed, _, _ = socket.recv_fds(control, 1, 1)
            if not kind:
                return
            module, means = KINDS[kind]
            press = import_module(module).press  # once: films' decoders come with the first film
            gc.freeze()  # or else the first collection of each child copies all that is shared
            if os.fork() == 0:
                _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() == here:
                    control.close()
                    _answer(passed[0], press, means)
                os._exit(0)
            os.close(passed[0])


def _answer(piece: int, press: Callable[[bytes], Pressed], means: Means) -> None:
    """Read one piece, and answer it: the size of what is told, that, and the bytes."""
    confine(means)
    with socket.socket(fileno=piece) as line, line.makefile("rwb") as stream:
        size = int.from_bytes(stream.read(8), "big")
        data = stream.read(min(size, means.input_bytes))
        made = b""
        try:
            pressed = press(data)
            told, made = pressed.facts(), pressed.data
        except Refused as refused:
            told = {"refused": str(refused)}
        except MemoryError:
            told = {"refused": TOO_MUCH}
        except BaseException as broke:  # of the type alone: an error may quote what it read
            told = {"refused": NOT_ONE, "error": type(broke).__name__}
        head = json.dumps({**told, "size": len(made)}).encode()
        stream.write(len(head).to_bytes(4, "big") + head)
        stream.write(made)


def confine(means: Means) -> None:
    """Set limits that can't be lifted again; the kernel ends whoever goes beyond."""
    with open("/proc/self/statm") as told:
        used = int(told.read().split()[0]) * resource.getpagesize()
    for what, most in (
        (resource.RLIMIT_AS, used + means.memory_bytes),
        (resource.RLIMIT_CPU, means.cpu_s),
        (resource.RLIMIT_FSIZE, means.file_bytes),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    signal.alarm(means.wall_s)


if __name__ == "__main__":
    main()
