"""What a browser gets where there is no page: one that says so, and a way on.

Programs get the API's JSON at the same addresses: what a caller accepts tells which it is.
"""

import re
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.http.envelopes import on_error, refusal_of
from app.refusal import Refusal, Why
from app.web.page import refused, see

_NOTHING = re.compile(r"q\s*=\s*0(\.0*)?")  # a weight by which it is not accepted
HTML = ("text/html", "application/xhtml+xml")
SENTENCES = {
    Why.NO_SUCH_ADDRESS: ("There is no page at this address.", "Check the address for mistakes."),
    Why.NO_SUCH_METHOD: (
        "This address is for programs.",
        "The API documentation says how to call it.",
    ),
}


def with_pages(handlers: dict[Any, Any]) -> dict[Any, Any]:
    """Return the handlers of an application that answers browsers with pages."""
    return {**handlers, HTTPException: on_unknown}


async def on_unknown(request: Request, error: Exception) -> Response:
    """Answer what the router refuses, to a browser as to a program."""
    assert isinstance(error, HTTPException)
    answer = await on_error(request, error)
    if accepts_html(request.headers.get("accept", "")):
        answer = _page(request, error)
    answer.headers["Vary"] = "Accept"
    return answer


def accepts_html(accept: str) -> bool:
    """Say whether an Accept header names HTML: only browsers do."""
    for item in accept.lower().split(","):
        media, *parameters = (part.strip() for part in item.split(";"))
        if media in HTML and not any(_NOTHING.fullmatch(part) for part in parameters):
            return True
    return False


def _page(request: Request, error: HTTPException) -> Response:
    path = request.url.path
    if error.status_code == 405 and request.method == "GET" and not path.startswith("/api/"):
        # It takes a form, and was asked for by its address: on to the page that the form is on.
        return see(path.rpartition("/")[0] or "/")
    why = refusal_of(error).why
    sentence, advice = SENTENCES.get(why, ("This request can’t be served.", ""))
    return refused(request, Refusal(why, sentence, advice, error.headers))
