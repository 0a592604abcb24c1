"""Whose certificates are believed: those of the authorities that this machine names.

They are read once by a process, and not by each of its HTTP clients: there are a hundred or more,
and reading them takes longer than all else that a client needs.
"""

import os
import ssl
from functools import cache

import httpx2


def authorities(*, trust_env: bool) -> ssl.SSLContext:
    """Return what checks the certificate of a server, the same for all who ask.

    With `trust_env`, SSL_CERT_FILE and SSL_CERT_DIR count, as they are now.
    """
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR") if trust_env else ()
    return _read(trust_env, tuple(os.environ.get(name) for name in names))


@cache
def _read(trust_env: bool, _named: tuple[str | None, ...]) -> ssl.SSLContext:
    return httpx2.create_ssl_context(trust_env=trust_env)
