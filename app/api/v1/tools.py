"""Which tools there are, what each takes, what it costs, and how long it takes."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.body import json_response
from app.http.tool_shapes import tool_shape, unknown_tool
from app.trade.catalogue import Listed


async def tools(request: Request) -> Response:
    """GET /api/v1/tools: all that can be run here now."""
    house = house_of(request)
    listed = [each for each in house.catalogue.tools() if each.is_open]
    return json_response(await _each(house, listed, whole=False))


async def tool(request: Request) -> Response:
    """GET /api/v1/tools/{toolId}: one of them, with its inputs."""
    return await _one(request)


async def registry(request: Request) -> Response:
    """GET /api/v1/tools/registry: all that are known, open or not, whole: for builders of forms."""
    house = house_of(request)
    return json_response(await _each(house, list(house.catalogue.tools()), whole=True))


async def registered(request: Request) -> Response:
    """GET /api/v1/tools/registry/{toolId}: one of them, whole."""
    return await _one(request)


async def _one(request: Request) -> Response:
    house, tool_id = house_of(request), request.path_params["tool_id"]
    listed = house.catalogue.tool(tool_id)
    if listed is None:
        raise unknown_tool(tool_id)
    [shape] = await _each(house, [listed], whole=True)
    return json_response(shape)


async def _each(house: House, listed: list[Listed], *, whole: bool) -> list[dict[str, Any]]:
    typical = await house.runtimes.of([each.offering.id for each in listed])
    price = await house.till.price_if_any()
    return [tool_shape(each, typical[each.offering.id], price, whole=whole) for each in listed]
