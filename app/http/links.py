"""The addresses of this server that others call: what the operator set, or what was just called."""

import re

from starlette.requests import Request

from app.refusal import Refusal, Why
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


def own_base(request: Request, public_url: str | None) -> str:
    """Return by which address wallets know us, to sign in here. Refuses (409) where none does.

    A Host header is the caller's word: one who had a message signed for a server of his own would
    name that. So without PUBLIC_URL only those on this machine sign in.
    """
    base = base_url(request, public_url)
    if base is None or (public_url is None and not is_loopback(base)):
        raise Refusal(
            Why.NOT_POSSIBLE_NOW,
            "Wallets can't sign in here: the server does not know its own address.",
            "The operator sets PUBLIC_URL.",
        )
    return base


def withdraw_path(secret: str) -> str:
    """Return where a payout is withdrawn: its own secret finds it, and no other name does."""
    return f"/api/lnurl/withdraw/{secret}"


def withdraw_code(base: str, secret: str) -> str:
    """Return the LNURL of a withdrawal, in capitals, as a QR code wants it."""
    return lnurl.encode(base + withdraw_path(secret))


def sign_in_code(base: str, k1: str, action: str) -> str:
    """Return the LNURL by which a wallet signs in (LUD-04).

    The nonce is in the path, too: some wallets replace the query that they are given.
    """
    return lnurl.encode(f"{base}/api/lnurl/auth/{k1}?tag=login&k1={k1}&action={action}")
