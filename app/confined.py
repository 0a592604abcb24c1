"""What runs on strangers' bytes runs in a process of its own: this is that process's side.

It loads its libraries once, and forks for each piece: whatever hostile bytes do, they do in a child
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
from dataclasses import dataclass
from typing import Any, Final

KIND_BYTES: Final = 64  # of the name of a kind, at most
NICE: Final = 5  # money first
FILES: Final = 16  # how many the child may have open
PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Means:
    """What one piece may be, and what working on it may use of the machine."""

    input_bytes: int
    memory_bytes: int  # address space beyond what the process had before it read any of it
    cpu_s: int
    wall_s: int  # more than the processor's: the machine may be busy with others
    file_bytes: int  # of the largest file that it may write


# What is told of a piece, beside the bytes that were made of it.
Answer = tuple[dict[str, Any], bytes]


@dataclass(frozen=True, slots=True)
class Work:
    """What is done with one piece. It answers whatever happens, and raises nothing."""

    answer: Callable[[bytes], Answer]
    means: Means


def serve(begin: Callable[[str], Work]) -> None:
    """Take pieces until standard input ends. `begin` loads what a kind of piece needs, once."""
    with socket.socket(fileno=os.dup(0)) as control:
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)  # or a child would hold the line when we are dead
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever waits sees its socket close
        os.nice(NICE)
        here = os.getpid()
        while True:
            kind, passed, _, _ = socket.recv_fds(control, KIND_BYTES, 1)
            if not kind:
                return
            work = begin(kind.decode())
            gc.freeze()  # or else the first collection of each child copies all that is shared
            if os.fork() == 0:
                _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() == here:
                    control.close()
                    _answer(passed[0], work)
                os._exit(0)
            os.close(passed[0])


def _answer(piece: int, work: Work) -> None:
    """Read one piece, and answer it: the size of what is told, that, and the bytes."""
    confine(work.means)
    with socket.socket(fileno=piece) as line, line.makefile("rwb") as stream:
        size = int.from_bytes(stream.read(8), "big")
        told, made = work.answer(stream.read(min(size, work.means.input_bytes)))
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
