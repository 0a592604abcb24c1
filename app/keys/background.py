"""A thread that stands back: it works when no other wants to, and makes way for who comes.

By its niceness it gets little of a processor that others want too. But what it is given it keeps
for a slice, and whoever wakes meanwhile waits for that: so its slice is the shortest Linux knows.
"""

import contextlib
import ctypes
import os
import platform
import threading

NICE = 10  # how far behind all else of this process
SLICE_NS = 100_000  # the least that Linux takes; it has slices of a thread's own since 6.12
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # syscalls(2): the C library has no name for it


class _Attributes(ctypes.Structure):
    """`struct sched_attr` of sched_setattr(2), of an ordinary thread (SCHED_OTHER, 0)."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


def stand_back() -> None:
    """Have this thread stand back. Where its system does not know that, it goes on as it is."""
    own = threading.get_native_id()
    with contextlib.suppress(OSError):
        nice = min(19, os.getpriority(os.PRIO_PROCESS, own) + NICE)
        os.setpriority(os.PRIO_PROCESS, own, nice)  # Linux knows that of each thread by itself
        _shorten(own, nice)


def _shorten(thread: int, nice: int) -> None:
    number = _SCHED_SETATTR.get(platform.machine())
    if number is not None:
        wanted = _Attributes(ctypes.sizeof(_Attributes), nice=nice, runtime_ns=SLICE_NS)
        ctypes.CDLL(None).syscall(number, thread, ctypes.byref(wanted), 0)
