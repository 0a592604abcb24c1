"""A child process that ends with us: the kernel sends it SIGINT when we die, by whatever death. It
gets no environment, no terminal and no identity but what it is given here.
"""

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from db.refuge import Account

PR_SET_PDEATHSIG = 1
NOTHING_MORE: Mapping[str, str] = MappingProxyType({})

# Loaded here and not in the child: between fork and exec nothing may be imported.
_LIBC = ctypes.CDLL(None, use_errno=True)


def surroundings(
    account: Account | None, *passed: int, environment: Mapping[str, str] = NOTHING_MORE
) -> dict[str, Any]:
    """What every child of ours is given: no environment to be led astray by, but what is named
    here; a working directory it may enter; and a session of its own, for Ctrl-C is ours to hear
    and ours to act upon."""
    return {
        "cwd": "/",
        "env": {"LC_ALL": "C.UTF-8", "PATH": os.defpath, **environment},
        "umask": 0o077,
        "pass_fds": passed,
        "start_new_session": True,
        **({"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}),
    }


def kept(arguments: list[str], **surroundings: Any) -> subprocess.Popen[bytes]:
    """Start a child that gets SIGINT when we die. The kernel sends it when the *thread* that forked
    ends, so the thread is made for it and lives exactly as long as the child."""
    started = threading.Event()
    outcome: list[subprocess.Popen[bytes] | Exception] = []

    def keep() -> None:
        try:
            bound = _bound_to(os.getpid())
            process = subprocess.Popen(arguments, preexec_fn=bound, **surroundings)
        except Exception as error:
            outcome.append(error)
            started.set()
            return
        outcome.append(process)
        started.set()
        process.wait()

    threading.Thread(target=keep, name="embedded-postgres", daemon=True).start()
    started.wait()
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _bound_to(parent: int) -> Callable[[], None]:
    def bind() -> None:  # runs after setuid, which would have cleared it
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the line above
            os._exit(1)

    return bind


def birth(pid: int) -> str:
    """When the process began, in ticks since boot; empty if it is gone. A pid alone is reused."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
