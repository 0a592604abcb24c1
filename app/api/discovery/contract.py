"""The contract as machines fetch it: `openapi.yaml` as it is, and as JSON with the prices of now.

Two dialects say a price there, `x-payment-info` in both of its own, and the manifest's `x-l402-*`.
Where USDC is not taken, no operation says that it is.
"""

import asyncio
from functools import lru_cache
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.api.discovery.price_list import price_list
from app.api.discovery.unchanging import Document, answered, document_of, json_document
from app.house import House, house_of
from app.http.contract import CONTRACT, SELLS, document, sales

Node = dict[str, Any]
PRICES = "x-offerings"


async def openapi_yaml(request: Request) -> Response:
    """GET /openapi.yaml: the contract, without what differs from one server to the next."""
    return answered(request, _as_yaml())


async def openapi_json(request: Request) -> Response:
    """GET /openapi.json, and what else it is asked by: the contract, with the prices of now."""
    told = await asyncio.to_thread(_told, house_of(request))
    return answered(request, await asyncio.to_thread(_as_json, told))


@lru_cache(maxsize=1)
def _as_yaml() -> Document:
    return document_of(CONTRACT.read_bytes(), "application/yaml")


def _told(house: House) -> bytes:
    """Return what is said of each operation that has a price, as bytes by which it is kept."""
    prices = price_list(house)
    each = [
        [sale.path, sale.method.lower(), prices.price(sale.sells), prices.of(sale.sells)]
        for sale in sales()
    ]
    return orjson.dumps([house.usdc is not None, each])


@lru_cache(maxsize=2)
def _as_json(told: bytes) -> Document:
    return json_document(priced(document(), told))


def priced(contract: Node, told: bytes) -> Node:
    """Return the contract with what is told of its prices. The one that is given stays."""
    takes_usdc, each = orjson.loads(told)
    paths = dict(contract["paths"])
    for path, method, price, lines in each:
        operation = paths[path][method]
        assert SELLS in operation
        info = operation["x-payment-info"]
        taken = [way for way in info["protocols"] if takes_usdc or "x402" not in way]
        new = {"x-payment-info": {**info, "price": price, "protocols": taken}, PRICES: lines}
        paths[path] = {**paths[path], method: {**operation, **new}}
    return {**contract, "paths": paths}
