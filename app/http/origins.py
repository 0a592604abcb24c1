"""Pages of other origins: they may call what needs no cookie, and read what it answers.

So a page can buy for its visitor. What a cookie opens stays with our own pages.
"""

import re

from starlette.types import Scope, Send

Headers = list[tuple[bytes, bytes]]

# Conversations belong to a cookie.
_OPEN = re.compile(r"/api/(?!gemini(?:/|$)).*|/openapi\.(?:yaml|json)|/\.well-known/.*", re.DOTALL)

_ANYONE = (b"access-control-allow-origin", b"*")
_READ = (
    "WWW-Authenticate, Payment-Receipt, PAYMENT-REQUIRED, PAYMENT-RESPONSE, Location, Retry-After,"
    " ETag, Allow, Preference-Applied, X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining,"
    " X-RateLimit-Reset"
)
_SENT = (
    "Accept-Payment, Authorization, Payment-Authorization, Content-Type, Idempotency-Key,"
    " If-None-Match, Last-Event-ID, PAYMENT-SIGNATURE, Prefer, X-Payment-Preimage, X-Request-Id"
)
ANSWER: Headers = [_ANYONE, (b"access-control-expose-headers", _READ.encode())]
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE"),
    (b"access-control-allow-headers", _SENT.encode()),
    (b"access-control-max-age", b"7200"),
]


def is_open(scope: Scope) -> bool:
    """Say whether any page may call this address."""
    return _OPEN.fullmatch(scope["path"]) is not None


def is_preflight(scope: Scope) -> bool:
    """Say whether a browser asks if a page may send what it wants to (Fetch standard, 3.3.2)."""
    return scope["method"] == "OPTIONS" and {b"origin", b"access-control-request-method"} <= {
        name for name, _ in scope["headers"]
    }


async def allow(send: Send) -> None:
    """Answer a preflight."""
    await send({"type": "http.response.start", "status": 204, "headers": list(_PREFLIGHT)})
    await send({"type": "http.response.body", "body": b""})
