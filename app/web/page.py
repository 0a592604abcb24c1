"""How a page is answered: a template, strict headers, and a page for whatever goes wrong.

Nothing on a page comes from another host, and no script or style stands in the page itself.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.envelopes import refusal_of
from app.refusal import Refusal
from app.trade.catalogue import Kind, Surface
from app.web import words
from app.web.dialect import PAGES
from app.web.files import address
from app.web.troubles import Trouble, advice_of

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "media-src 'self'",
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
    house = house_of(request)
    shared = {"path": request.url.path, "now": house.clock(), **offered(house)}
    if wrong is None:
        return answer(drawn(template, wrong=None, **shared | values), status)
    said = answer(drawn(template, wrong=wrong, **shared | values), wrong.status)
    said.headers.update(wrong.headers)
    return said


def offered(house: House) -> dict[str, bool]:
    """Return what each page says of this server in its head."""
    has_tools = any(each.is_open for each in house.catalogue.tools())
    return {
        "is_stub": house.stub is not None,
        "has_studio": has_studio(house),
        "has_spells": has_tools,  # one is made of them
        "has_tools": has_tools,
        "has_workers": house.lending.is_open,
    }


def has_studio(house: House) -> bool:
    """Say whether pictures or films are sold here."""
    return any(next(house.catalogue.listed(Surface.BULK, kind), None) for kind in Kind)


def drawn(template: str, **values: Any) -> bytes:
    """Return a page as bytes."""
    return _TEMPLATES.get_template(template).render(asset=address, **values).encode()


def answer(body: bytes, status: int = 200) -> Response:
    """Return the answer that holds a page."""
    return Response(body, status, HEADERS, "text/html; charset=utf-8")


def refused(request: Request, refusal: Refusal) -> Response:
    """Return the page that says why a request is not served."""
    status, title = PAGES.answers[refusal.why]
    answered = render(
        request,
        "refused.html",
        status,
        title=title,
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
            return refused(request, refusal_of(error))

    return shown


def see(path: str) -> Response:
    """Return an answer that sends a browser on, with a GET."""
    return Response(status_code=303, headers={**HEADERS, "Location": path})
