"""Another network's worker itself: whose its key is, and whether it is given anything."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.api.horde.keys import known_worker, worker_of
from app.api.horde.shapes import user_shape, worker_shape
from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.fields import Foreign
from app.http.image_job_shapes import id_of
from app.refusal import Refusal, Why
from db.workers import WorkerRow


class ModifyWorker(Foreign):
    """PUT /api/v2/workers/{id}."""

    maintenance: bool


async def find_user(request: Request) -> Response:
    """GET /api/v2/find_user: whose a key is, and what it has earned."""
    house = house_of(request)
    worker = await worker_of(request, house)
    return json_response(user_shape(await house.stock_workers.standing(worker), house.clock()))


async def workers(request: Request) -> Response:
    """GET /api/v2/workers: the worker that asks, where it is of the name that is asked for."""
    house = house_of(request)
    worker, name = await known_worker(request, house), request.query_params.get("name")
    if worker is None or (name not in (None, "") and not _is_called(worker, name or "")):
        return json_response([])
    return json_response([await _shape(house, worker)])


async def named(request: Request) -> Response:
    """GET /api/v2/workers/name/{name}: the worker that asks, if that is its name."""
    house = house_of(request)
    worker = await known_worker(request, house)
    if worker is None or not _is_called(worker, request.path_params["name"]):
        raise _no_worker()
    return json_response(await _shape(house, worker))


async def worker(request: Request) -> Response:
    """GET /api/v2/workers/{id}: the worker that asks. PUT: whether it is in maintenance, from now
    on.
    """
    house = house_of(request)
    asks = await known_worker(request, house)
    if asks is None or id_of(request.path_params["id"]) != asks.id:
        raise _no_worker()
    if request.method != "PUT":
        return json_response(await _shape(house, asks))
    asked = parse(await read_body(request), ModifyWorker)
    await house.stock_workers.rest(asks, rests=asked.maintenance)
    return json_response({"maintenance": asked.maintenance, "name": asks.name})


async def heartbeat(_request: Request) -> Response:
    """GET /api/v2/status/heartbeat: 200 from whoever answers at all."""
    return json_response({"message": "OK", "version": "boltwork"})


def _is_called(row: WorkerRow, name: str) -> bool:
    return row.name.casefold() == name.casefold()


def _no_worker() -> Refusal:
    return Refusal(Why.UNKNOWN, "No worker of yours is called so here.")


async def _shape(house: House, row: WorkerRow) -> dict[str, Any]:
    return worker_shape(await house.stock_workers.standing(row), house.clock())
