"""A worker's key for another network's dialect: got with its token, and weaker than that."""

from starlette.requests import Request
from starlette.responses import Response

from app.api.workers.tokens import worker_of
from app.house import house_of
from app.http.body import json_response
from app.http.links import base_url

KEEP = "Keep the key: it is shown this once. The one before it opens nothing any more."


async def make(request: Request) -> Response:
    """POST /api/v1/workers/me/horde-key: 201 with the key, and the address to use it at."""
    house = house_of(request)
    worker = await worker_of(request, house)
    base = base_url(request, house.settings.public_url)
    shape = {"apiKey": await house.stock_workers.new_key(worker), "message": KEEP}
    return json_response(shape | ({"url": f"{base}/api/"} if base is not None else {}), 201)
