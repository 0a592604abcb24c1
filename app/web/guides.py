"""The pages of the guides: how to buy here, sell, lend and operate, with code that can be pasted.

Each is there as Markdown, too, for models and for whoever reads in a terminal.
"""

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.guides import HERE, Guide, guides, sections
from app.http.links import base_url
from app.refusal import Refusal, Why
from app.web.page import HEADERS, page, render
from app.web.prose import rendered

AS_TEXT: Final = ".md"
MARKDOWN: Final = "text/markdown; charset=utf-8"
LANGUAGES: Final = {"sh": "Shell", "python": "Python", "js": "JavaScript", "yaml": "YAML"}
OUTPUT: Final = "output"  # what the code before it prints


@page
async def show(request: Request) -> Response:
    """GET /docs/{name}: one guide; as Markdown where its name ends in `.md`."""
    name: str = request.path_params["name"]
    guide = guides().get(name.removesuffix(AS_TEXT))
    if guide is None:
        raise Refusal(Why.NO_SUCH_ADDRESS, "There is no guide of this name. See /docs.")
    house = house_of(request)
    base = base_url(request, house.settings.public_url) or HERE
    text = guide.on(base, _facts(house))
    if name.endswith(AS_TEXT):
        return Response(text, 200, HEADERS, MARKDOWN)
    return await asyncio.to_thread(_page, request, guide, text)


def _facts(house: House) -> frozenset[str]:
    """Return what a guide says differently: where payments are simulated, and what is taken."""
    facts = {
        "simulated": house.stub is not None,
        "usdc": house.usdc is not None,
        "workers": house.lending.is_open,
    }
    return frozenset(name for name, holds in facts.items() if holds)


def _page(request: Request, guide: Guide, text: str) -> Response:
    parts = [
        (section, [(each.language, _shown(each.language, each.text)) for each in section.pieces])
        for section in sections(text)
    ]
    return render(
        request,
        "guide.html",
        guide=guide,
        guides=guides().values(),
        sections=parts,
        languages=LANGUAGES,
        output=OUTPUT,
    )


def _shown(language: str, text: str) -> str:
    """Return prose as HTML, and code as it is."""
    return text if language else rendered(text, 2)
