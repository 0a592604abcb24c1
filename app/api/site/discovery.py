"""What is sold here for USDC, for agents that look for it."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.body import json_response
from payments.usdc.network import BASE, BASE_SEPOLIA
from payments.usdc.payment import SCHEME

# As x402 called them before it took the names of CAIP-2.
SHORT: Final = {BASE: "base", BASE_SEPOLIA: "base-sepolia"}
SOLD: Final = ("/api/jobs", "/v1/images/generate", "/v1/videos/generate")
MEDIA: Final = {"quote": "/api/jobs/quote", "models": "/api/models"}
ASKED, ESTIMATED = "/api/ask", "/api/estimate"  # jobs of agents, and what they would cost


async def x402(request: Request) -> Response:
    """GET /.well-known/x402: what can be paid for in USDC; nothing where that is not accepted."""
    usdc = house_of(request).usdc
    if usdc is None:
        return json_response({"resources": []})
    network = usdc.usdc.network
    paid: dict[str, Any] = {
        "method": "POST",
        "scheme": SCHEME,
        "network": SHORT[network],
        "caip2": network.caip2,
        "token": "USDC",
        "asset": network.token,
        "docs": "/docs",
    }
    resources = [{"path": path, **paid, **MEDIA} for path in SOLD]
    return json_response({"resources": [*resources, {"path": ASKED, **paid, "quote": ESTIMATED}]})
