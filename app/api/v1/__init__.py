"""Tools, spells, and the people who use them: its addresses, and the limit that they share."""

from collections.abc import Awaitable, Callable
from functools import wraps

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.api.v1 import artifacts, casts, generations, keys, spells, tools, user, wallets
from app.house import house_of
from app.http.routes import Alone
from app.http.throttle import Rule

Handler = Callable[[Request], Awaitable[Response]]


def counted(handler: Handler) -> Handler:
    """Return a handler whose requests count: 100 in 15 minutes of one address.

    Every address under /api/v1 is such a one, but those of webhooks.
    """

    @wraps(handler)
    async def counted_handler(request: Request) -> Response:
        await house_of(request).throttle.count(request, Rule.V1)
        return await handler(request)

    return counted_handler


V1_ROUTES = (
    Route("/api/v1/spells", counted(spells.publish), methods=["POST"]),
    Route("/api/v1/spells/marketplace", counted(spells.marketplace)),
    Alone("/api/v1/spells/cast", counted(casts.cast), methods=["POST"]),
    Route("/api/v1/spells/casts/{id}", counted(casts.show)),
    Route("/api/v1/spells/casts/{id}/resume", counted(casts.resume), methods=["POST"]),
    Route("/api/v1/spells/casts/{id}/cancel", counted(casts.cancel), methods=["POST"]),
    Route("/api/v1/spells/{slug}", counted(spells.show)),
    Route("/api/v1/spells/{slug}/quote", counted(spells.quote), methods=["POST"]),
    Route("/api/v1/wallets/connect/initiate", counted(wallets.initiate), methods=["POST"]),
    Route("/api/v1/wallets/connect/status/{request_id}", counted(wallets.status)),
    Route("/api/v1/user/me", counted(user.me)),
    Route("/api/v1/user/dashboard", counted(user.dashboard)),
    Route("/api/v1/user/history", counted(user.history)),
    Route("/api/v1/user/apikeys", counted(keys.api_keys), methods=["GET", "POST"]),
    Route("/api/v1/user/apikeys/{key_id}", counted(keys.revoke), methods=["DELETE"]),
    Route("/api/v1/user/apikeys/{key_id}/rotate", counted(keys.rotate), methods=["POST"]),
    Route("/api/v1/generations/status/{id}", counted(generations.status)),
    Route("/api/v1/generations/status", counted(generations.statuses), methods=["POST"]),
    Route("/api/v1/generations/execute", counted(generations.execute), methods=["POST"]),
    Route("/api/v1/artifacts/{id}", artifacts.artifact),  # as a page of pictures needs many
    Route("/api/v1/tools", counted(tools.tools)),
    Route("/api/v1/tools/registry", counted(tools.registry)),
    Route("/api/v1/tools/registry/{tool_id}", counted(tools.registered)),
    Route("/api/v1/tools/{tool_id}", counted(tools.tool)),
)
