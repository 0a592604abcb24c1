"""Which worker asks: by the key in the header `apikey`, which opens nothing else."""

from typing import Final

from starlette.requests import Request

from app.house import House
from app.refusal import Refusal, Why
from db.workers import WorkerRow

HEADER: Final = "apikey"


async def known_worker(request: Request, house: House) -> WorkerRow | None:
    """Return the worker that asks; None for who shows no key of one. Refuses with 429 too many."""
    pace, address = house.throttle.workers, house.throttle.address(request)
    pace.count_address(address)
    key = request.headers.get(HEADER)
    worker = await house.stock_workers.worker(key) if key is not None else None
    if worker is not None:
        pace.count(worker.id)
    elif key is not None:
        pace.count_unknown(address)
    return worker


async def worker_of(request: Request, house: House) -> WorkerRow:
    """Return the worker that asks. Refuses with 401 a key that is none."""
    worker = await known_worker(request, house)
    if worker is None:
        raise Refusal(
            Why.WORKER_UNKNOWN,
            "No worker has this API key.",
            "Register one with POST /api/v1/workers, and get its key with POST"
            " /api/v1/workers/me/horde-key.",
        )
    return worker
