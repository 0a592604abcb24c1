"""How long an idle connection to a server of money is kept: shorter than the server keeps it.

A request that is sent just as the other side closes an idle connection is lost, and whether it was
read is not known: a payment would have no outcome for a while. Uvicorn, under LNbits, and Node,
under many facilitators, close theirs after five seconds, which is the client library's own limit.
"""

from typing import Final

import httpx2

IDLE_S: Final = 3.0


def limits(idle_s: float = IDLE_S) -> httpx2.Limits:
    """Return the limits of such a client: the library's own, but for that."""
    return httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=idle_s)
