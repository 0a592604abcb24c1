"""What this server says of itself at the addresses where programs look for it.

All of it is made of the contract and the price list: no address and no price is written here.
"""

import asyncio
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from app.api.discovery.contract import PRICES
from app.api.discovery.price_list import price_list
from app.api.discovery.unchanging import answered, json_document
from app.house import House, house_of
from app.http.contract import Sale, document, sales
from app.http.links import base_url
from payments.l402 import VERSION as MACAROON_VERSION
from payments.usdc.network import BASE, BASE_SEPOLIA
from payments.usdc.payment import SCHEME

Node = dict[str, Any]
# As x402 called them before it took the names of CAIP-2.
SHORT: Final = {BASE: "base", BASE_SEPOLIA: "base-sepolia"}
LINKSET: Final = (
    'application/linkset+json; profile="https://www.rfc-editor.org/info/rfc9727"'  # RFC 9727, 4.2
)
MCP_VERSION: Final = "2026-07-28"  # the newest that is spoken here
CATALOG: Final = "/.well-known/api-catalog"


async def x402(request: Request) -> Response:
    """GET /.well-known/x402: what can be paid for in USDC; nothing where that is not accepted."""
    resources = await asyncio.to_thread(_in_usdc, house_of(request))
    return answered(request, json_document({"resources": resources}))


def _in_usdc(house: House) -> list[Node]:
    if house.usdc is None:
        return []
    network, prices = house.usdc.usdc.network, price_list(house)
    paid: Node = {
        "method": "POST",
        "scheme": SCHEME,
        "network": SHORT[network],
        "caip2": network.caip2,
        "token": "USDC",
        "asset": network.token,
        "docs": "/docs",
    }
    return [
        {
            "path": sale.path,
            **paid,
            **_beside(sale),
            "price": prices.price(sale.sells),
            "offerings": prices.of(sale.sells),
        }
        for sale in sales()
        if sale.method == "POST"
    ]


def _beside(sale: Sale) -> dict[str, str]:
    """Return where what is sold is priced, and listed."""
    operation = document()["paths"][sale.path][sale.method.lower()]
    named = {"quote": "x-quoted-at", "models": "x-listed-at"}
    return {name: operation[mark] for name, mark in named.items() if mark in operation}


async def l402(request: Request) -> Response:
    """GET /.well-known/l402.json: the manifest of L402's discovery."""
    base = base_url(request, house_of(request).settings.public_url)
    manifest = await asyncio.to_thread(_manifest, house_of(request), base)
    return answered(request, json_document(manifest))


def _manifest(house: House, base: str | None) -> Node:
    contract, prices = document(), price_list(house)
    [service] = {
        operation["x-l402-service"]
        for item in contract["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict) and "x-l402-service" in operation
    }
    resources = [
        {
            "path": sale.path,
            "method": sale.method,
            "capability": sale.capability,
            "description": sale.summary,
            # What it costs in bitcoin is known when it is asked for: the price of bitcoin moves.
            "pricing": {"model": "dynamic", "usd": prices.price(sale.sells)},
            PRICES: prices.of(sale.sells),
        }
        for sale in sales()
    ]
    return {
        "version": contract["info"]["x-l402-version"],
        "provider": {"name": contract["info"]["title"]} | ({"uri": base} if base else {}),
        "currencies": ["msat", "usd"],
        "macaroon_versions": [MACAROON_VERSION],
        "payment_methods": ["bolt11"],
        "quote_endpoint": contract["x-l402-quote-endpoint"],
        "openapi": "/openapi.json",
        "services": [
            {
                "name": service,
                "description": contract["info"]["summary"],
                "tiers": [{"tier": 0, "name": "base"}],
                "capabilities": sorted({sale.capability for sale in sales()}),
                "resources": resources,
            }
        ],
        "caveats": contract["x-l402-caveats"],
    }


async def api_catalog(request: Request) -> Response:
    """GET /.well-known/api-catalog: where this server describes itself (RFC 9727)."""
    base = base_url(request, house_of(request).settings.public_url) or ""

    def links(*targets: tuple[str, str]) -> list[dict[str, str]]:
        return [{"href": base + path, "type": media_type} for path, media_type in targets]

    api = {
        "anchor": f"{base}/",
        "service-desc": links(
            ("/openapi.json", "application/json"), ("/openapi.yaml", "application/yaml")
        ),
        "service-doc": links(("/docs", "text/html"), ("/llms.txt", "text/plain")),
        "service-meta": links(
            ("/.well-known/l402.json", "application/json"),
            ("/.well-known/x402", "application/json"),
            ("/.well-known/agent-card.json", "application/json"),
            ("/.well-known/jwks.json", "application/json"),
        ),
        "status": links(("/api/readyz", "application/json")),
    }
    linkset = {"linkset": [{"anchor": base + CATALOG, "item": [{"href": f"{base}/"}]}, api]}
    answer = answered(request, json_document(linkset, LINKSET))
    answer.headers["Link"] = f'<{CATALOG}>; rel="api-catalog"'
    return answer


async def agent_card(request: Request) -> Response:
    """GET /.well-known/agent-card.json: what agents of A2A look for. None of A2A's own methods is
    served here, and the card names no address for them.
    """
    base = base_url(request, house_of(request).settings.public_url) or ""
    card = await asyncio.to_thread(_card, house_of(request), base)
    return answered(request, json_document(card))


def _card(house: House, base: str) -> Node:
    contract, prices = document(), price_list(house)
    info = contract["info"]
    skills = [
        {
            "id": f"{sale.method} {sale.path}",
            "name": sale.summary,
            "description": f"{sale.method} {sale.path}, paid for by the call.",
            "tags": [sale.sells, "paid"],
            "price": prices.price(sale.sells),
            "offerings": prices.of(sale.sells),
        }
        for sale in sales()
        if sale.method == "POST"
    ]
    return {
        "name": info["title"],
        "description": f"{info['summary']} It speaks HTTP as its OpenAPI document says, and MCP; it"
        " has none of A2A's own methods.",
        "version": info["version"],
        "documentationUrl": f"{base}/docs",
        "supportedInterfaces": [
            {
                "url": f"{base}/openapi.json",
                "protocolBinding": "OPENAPI",
                "protocolVersion": contract["openapi"],
            },
            {"url": f"{base}/mcp", "protocolBinding": "MCP", "protocolVersion": MCP_VERSION},
        ],
        "capabilities": {"streaming": False, "pushNotifications": False},
        "defaultInputModes": ["application/json"],
        "defaultOutputModes": ["application/json"],
        "skills": skills,
    }
