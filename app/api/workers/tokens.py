"""Which worker asks: by its token, which opens nothing else."""

from starlette.requests import Request

from app.house import House
from app.http.caller import bearer, unknown
from app.refusal import Why
from db.workers import WorkerRow


async def worker_of(request: Request, house: House) -> WorkerRow:
    """Return the worker that asks. Refuses with 401 a token that is none, with 429 too many."""
    pace, address = house.throttle.workers, house.throttle.address(request)
    pace.count_address(address)
    token = bearer(request)
    worker = await house.lenders.worker(token) if token is not None else None
    if worker is not None:
        pace.count(worker.id)
        return worker
    pace.count_unknown(address)
    raise unknown(
        Why.WORKER_UNKNOWN,
        "No worker has this token.",
        "Send `Authorization: Bearer wk_…`, as POST /api/v1/workers has given it.",
    )
