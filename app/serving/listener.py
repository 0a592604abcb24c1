"""Where a server listens: an address of IPv4 or of IPv6, all of both, or a name."""

import errno
import socket

BACKLOG = 1024  # connections that wait to be accepted; beyond that a client has to try again
GONE_MS = 60_000


class CannotListen(Exception):
    """The address is taken, or not ours. The message says which, and what to set."""

    def __init__(
        self, where: str, reason: str, *, is_taken: bool = False, variable: str = "PORT"
    ) -> None:
        super().__init__(f"can't listen on {where} ({reason}). Set HOST or {variable} to another.")
        self.reason, self.is_taken = reason, is_taken


def open_listener(host: str, port: int, variable: str = "PORT") -> socket.socket:
    """Return a socket that listens: for `::` on all of IPv6 and IPv4, else on that address.

    A name is the first address that it has, of IPv4 if there is one. Raises CannotListen, which
    names the variable that the port came from.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        both = host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server(
            address, family=family, backlog=BACKLOG, dualstack_ipv6=both
        )
    except (OSError, UnicodeError) as error:
        # Python adds the address, which is said already.
        reason = (getattr(error, "strerror", None) or "it is no name of a host").split(" (while")[0]
        is_taken = getattr(error, "errno", None) == errno.EADDRINUSE
        raise CannotListen(
            written(host, port), reason, is_taken=is_taken, variable=variable
        ) from error
    # An answer is written in two pieces, and would lie for 40 ms between them until the first is
    # acknowledged. asyncio sees to this only where a socket says that it is TCP: this one does not.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A client that acknowledges nothing for so long, not even keep-alives, is gone.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
    return listener


def written(host: str, port: int) -> str:
    """Return an address as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
