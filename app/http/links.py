"""The addresses of this server that others call: what the operator set, or what was just called."""

import re

from starlette.requests import Request

from payments import lnurl

_HOST = re.compile(r"([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?", re.IGNORECASE)
_PLAIN = re.compile(r"(localhost|127\.[0-9.]+|\[::1\]|[a-z0-9.-]+\.onion)(:[0-9]+)?", re.IGNORECASE)


def base_url(request: Request, public_url: str | None) -> str | None:
    """Return the operator's base URL or this request's, without a slash at its end; None for none.

    A Host header in a request is the caller's word, so it only ever comes back to that caller.
    """
    if public_url is not None:
        return public_url
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        return None
    # LNURL allows http on loopback and to onion services only; elsewhere a proxy took TLS off.
    scheme = request.url.scheme if _PLAIN.fullmatch(host) else "https"
    return f"{scheme}://{host}"


def is_loopback(base: str) -> bool:
    """Say whether only this machine, or an onion service, is reached by a base URL."""
    return _PLAIN.fullmatch(base.partition("://")[2]) is not None


def withdraw_path(secret: str) -> str:
    """Return where a payout is withdrawn: its own secret finds it, and no other name does."""
    return f"/api/lnurl/withdraw/{secret}"


def withdraw_code(base: str, secret: str) -> str:
    """Return the LNURL of a withdrawal, in capitals, as a QR code wants it."""
    return lnurl.encode(base + withdraw_path(secret))
