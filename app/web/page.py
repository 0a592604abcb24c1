"""How a page is answered: a template, strict headers, and a page for whatever goes wrong.

Nothing on a page comes from another host, and no script or style stands in the page itself.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from app.house import House
from app.http.envelopes import on_bad_secret, on_database_away, on_fault
from app.refusal import Refusal
from app.strict_json import BadInput
from app.web import words
from app.web.files import address
from app.web.troubles import Trouble, advice_of
from db.engine import DatabaseAway
from payments.seal import BadSecret

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TITLES = {
    400: "That didn’t work",
    401: "Sign in first",
    402: "Not enough balance",
    403: "Not allowed",
    404: "Page not found",
    409: "Not possible right now",
    410: "This has ended",
    429: "Too many requests",
    405: "Page not found",
    503: "Try again later",
}

Handler = Callable[[Request], Awaitable[Response]]

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(words.FILTERS)


def render(
    request: Request,
    template: str,
    status: int = 200,
    *,
    wrong: Trouble | None = None,
    **values: Any,
) -> Response:
    """Return a page; with what is wrong said in it, and by its status."""
    house: House = request.app.state.house
    shared = {
        "path": request.url.path,
        "is_stub": house.parts.stub is not None,
        "now": house.parts.clock(),
    }
    if wrong is None:
        return answer(drawn(template, wrong=None, **shared | values), status)
    said = answer(drawn(template, wrong=wrong, **shared | values), wrong.status)
    said.headers.update(wrong.headers)
    return said


def drawn(template: str, **values: Any) -> bytes:
    """Return a page as bytes."""
    return _TEMPLATES.get_template(template).render(asset=address, **values).encode()


def answer(body: bytes, status: int = 200) -> Response:
    """Return the answer that holds a page."""
    return Response(body, status, HEADERS, "text/html; charset=utf-8")


def refused(request: Request, refusal: Refusal) -> Response:
    """Return the page that says why a request is not served."""
    answered = render(
        request,
        "refused.html",
        refusal.status,
        title=TITLES.get(refusal.status, "Something went wrong"),
        sentence=refusal.sentence,
        next_step=advice_of(refusal),
        request_id=request.scope.get("state", {}).get("request_id"),
    )
    answered.headers.update(refusal.headers)
    return answered


def page(handler: Handler) -> Handler:
    """Have a handler's refusals and faults answered as pages."""

    @wraps(handler)
    async def shown(request: Request) -> Response:
        try:
            return await handler(request)
        except Exception as error:
            return refused(request, await _refusal(request, error))

    return shown


async def _refusal(request: Request, error: Exception) -> Refusal:
    """Return what is said of an error; what is no refusal is logged, as anywhere."""
    match error:
        case Refusal():
            return error
        case BadInput():
            return Refusal(error.status, str(error))
        case DatabaseAway():
            answered = await on_database_away(request, error)
        case BadSecret():
            answered = await on_bad_secret(request, error)
        case _:
            answered = await on_fault(request, error)
    said = orjson.loads(answered.body)
    after_s = answered.headers.get("retry-after")
    after = {"Retry-After": after_s} if after_s else {}
    return Refusal(answered.status_code, said["error"], said.get("next"), after)


def see(path: str) -> Response:
    """Return an answer that sends a browser on, with a GET."""
    return Response(status_code=303, headers={**HEADERS, "Location": path})
