"""A port for a server of ours, which is still free when that has ended and is started again.

One that the system chooses is of those that it gives to whoever connects somewhere: while its
server is away, any connection of this machine may have it.
"""

import contextlib
import secrets
import socket
from pathlib import Path

_GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST_GIVEN = 49_152  # where a system does not say it
_LOWEST = 10_000  # below are those that servers are known by
_TRIED = 50


def unused_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and nobody is given."""
    end = _FIRST_GIVEN
    with contextlib.suppress(OSError, ValueError, IndexError):
        end = int(_GIVEN.read_text().split()[0])
    for _ in range(_TRIED if end > _LOWEST else 0):
        with contextlib.suppress(OSError):
            return _bound(_LOWEST + secrets.randbelow(end - _LOWEST))
    return _bound(0)


def _bound(port: int) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])
