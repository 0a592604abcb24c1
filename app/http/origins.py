"""Pages of other origins: they may call what needs no cookie, and read what it answers.

So a page can buy for its visitor. What a cookie opens stays with our own pages.
"""

import re

from starlette.requests import Request
from starlette.types import Scope, Send

from app.refusal import Refusal, Why

Headers = list[tuple[bytes, bytes]]

# Conversations belong to a cookie, and a login is one.
_OPEN = re.compile(
    r"/api/(?!(?:gemini|auth)(?:/|$)).*|/v1/.*|/\.well-known/.*|/l402/quote|/mcp"
    r"|/openapi\.(?:yaml|json)|/swagger\.json|/llms(?:-full)?\.txt",
    re.DOTALL,
)

_ANYONE = (b"access-control-allow-origin", b"*")
_READ = (
    "WWW-Authenticate, Payment-Receipt, PAYMENT-REQUIRED, PAYMENT-RESPONSE, Location, Retry-After,"
    " ETag, Allow, Preference-Applied, X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining,"
    " X-RateLimit-Reset"
)
_SENT = (
    "Accept-Payment, Authorization, Payment-Authorization, Content-Type, Idempotency-Key,"
    " If-None-Match, Last-Event-ID, MCP-Protocol-Version, Mcp-Method, Mcp-Name, PAYMENT-SIGNATURE,"
    " Prefer, X-API-Key, X-Payment-Preimage, X-Request-Id"
)
_OURS = ("same-origin", "none")  # none: typed, or from a bookmark
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


def check_origin(request: Request, public_url: str | None) -> None:
    """Refuse (403) what a browser says another site has sent.

    Our own pages tell no referrer, so a browser calls their Origin `null`. Browsers say whose
    page it was with Sec-Fetch-Site; those that don't are believed when they say nothing else. The
    id in the path, or the token in the form, is what such a request must know.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        ours = site in _OURS
    else:
        host, origin = request.headers.get("host", ""), request.headers.get("origin", "null")
        ours = origin in ("null", f"http://{host}", f"https://{host}", public_url)
    if not ours:
        raise Refusal(
            Why.FORM_NOT_OURS, "This was sent from a page of another site, so it was not done."
        )


def check_json(request: Request, public_url: str | None) -> None:
    """Refuse what a page of another site can have a browser send along with a cookie of ours.

    A form can't send JSON, and a script of another site must ask for leave to.
    """
    check_origin(request, public_url)
    given = request.headers.get("content-type")
    if given is not None and given.partition(";")[0].strip().lower() != "application/json":
        raise Refusal(
            Why.FORM_NOT_OURS,
            "With a cookie only JSON is taken here.",
            "Send it with `Content-Type: application/json`.",
        )
