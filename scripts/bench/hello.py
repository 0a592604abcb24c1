"""The least that Hypercorn can serve: Starlette with one route."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def hello(request: Request) -> Response:
    """Say hello."""
    return Response(b'{"status":"ok"}', media_type="application/json")


app = Starlette(routes=[Route("/", hello)])
