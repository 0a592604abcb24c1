"""Metrics, for the operator's Prometheus: they say what is earned, so not everybody reads them."""

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.house import House, house_of
from app.http.envelopes import HANDLERS
from app.refusal import Refusal, Why
from app.settings import Environment
from app.web.operator_door import admitted


async def metrics(request: Request) -> Response:
    """GET /metrics, in Prometheus's text format: in production to the operator's token alone.

    They tell what is earned. Where METRICS_PORT is set they are answered there, and not here.
    """
    house = house_of(request)
    settings = house.settings
    if settings.metrics_port is not None:
        raise HTTPException(404)
    if settings.env is Environment.PRODUCTION and not admitted(request):
        raise Refusal(
            Why.CREDENTIAL_NEEDED,
            "This takes the operator’s token.",
            "Send it as Authorization: Bearer, or read them at METRICS_PORT.",
            headers={"WWW-Authenticate": 'Bearer realm="boltwork"'},
        )
    return _measured(house)


def _measured(house: House) -> Response:
    said = generate_latest() + generate_latest(house.gauges.registry())
    return Response(said, headers={"Content-Type": CONTENT_TYPE_LATEST})


def build_metrics(find: Callable[[], House | None]) -> Starlette:
    """Return an application that answers metrics and nothing else, at a port of its own.

    `find` returns the house once it runs.
    """

    async def told(_: Request) -> Response:
        house = find()
        return Response(status_code=503) if house is None else _measured(house)

    return Starlette(routes=[Route("/metrics", told)], exception_handlers=HANDLERS)
