"""Hands out what pages are made with. An address that names the content is kept for ever."""

from starlette.requests import Request
from starlette.responses import Response

from app.refusal import Refusal, Why
from app.web.files import ASSETS, Asset
from app.web.page import page

FOR_EVER = "public, max-age=31536000, immutable"
A_WHILE = "public, max-age=300"


@page
async def static(request: Request) -> Response:
    """GET /static/{name}."""
    asset = ASSETS.get(request.path_params["name"])
    if asset is None:
        raise Refusal(Why.UNKNOWN, "There is no such file.")
    return _answer(request, asset)


@page
async def favicon(request: Request) -> Response:
    """GET /favicon.ico, which browsers ask for whatever a page says."""
    return _answer(request, ASSETS["favicon.svg"])


def _answer(request: Request, asset: Asset) -> Response:
    named = request.scope["query_string"] == asset.mark.encode()
    headers = {"Cache-Control": FOR_EVER if named else A_WHILE, "ETag": f'"{asset.mark}"'}
    if f'"{asset.mark}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(asset.body, 200, headers, asset.media_type)
