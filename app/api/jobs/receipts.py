"""Receipts of jobs that have come to their end, and the keys to check them with."""

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.body import json_response
from app.keys import signing
from app.refusal import Refusal, Why
from db.batch_receipts import BatchFacts
from db.receipts import Facts
from statemachine.batch import BATCH, BatchState
from statemachine.job import JOB

KEYS_KEPT_S = 300  # how long a reader may keep the keys; one that misses a key asks again


async def receipt(request: Request) -> Response:
    """GET /api/jobs/{id}/receipt: what was paid for what, signed."""
    house = house_of(request)
    job_id: str = request.path_params["id"]
    plain = job_id.isascii() and job_id.isalnum()
    facts = await _facts(request, house, job_id) if plain else None
    if facts is None:
        raise Refusal(
            Why.UNKNOWN,
            "There is no job with this id. Check it, or create one with POST /api/jobs.",
        )
    state = facts.state
    has_ended = BATCH.final(state) if isinstance(state, BatchState) else JOB.final(state)
    if not has_ended:
        raise Refusal(
            Why.NOT_FINISHED,
            f"This job is {state}: there is a receipt once it has ended.",
            "Poll the job until it has come to its end.",
        )
    signed, said = await house.receipts.signed(facts)
    return json_response({"receipt": signed, "payload": said})


async def _facts(request: Request, house: House, job_id: str) -> Facts | BatchFacts | None:
    """Return what is known of an agent's job, or of a batch that the caller may read."""
    facts = await house.receipts.facts(job_id)
    if facts is not None:
        return facts
    batch = await house.receipts.batch_facts(job_id)
    if batch is None or not await house.callers.may_read(request, batch.account_id):
        return None
    return batch


async def jwks(request: Request) -> Response:
    """GET /.well-known/jwks.json: every public key, also those that sign no more."""
    house = house_of(request)
    keys = await house.receipts.public_keys()
    return json_response(
        signing.jwk_set(keys), 200, {"Cache-Control": f"public, max-age={KEYS_KEPT_S}"}
    )
