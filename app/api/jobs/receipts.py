"""Receipts of jobs that have come to their end, and the keys to check them with."""

from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.body import json_response
from app.keys import signing
from app.refusal import Refusal, Why
from statemachine.job import JOB

KEYS_KEPT_S = 300  # how long a reader may keep the keys; one that misses a key asks again


async def receipt(request: Request) -> Response:
    """GET /api/jobs/{id}/receipt: what was paid for what, signed."""
    house = house_of(request)
    job_id: str = request.path_params["id"]
    plain = job_id.isascii() and job_id.isalnum()
    facts = await house.receipts.facts(job_id) if plain else None
    if facts is None:
        raise Refusal(
            Why.UNKNOWN,
            "There is no job with this id. Check it, or create one with POST /api/jobs.",
        )
    if not JOB.final(facts.state):
        raise Refusal(
            Why.NOT_FINISHED,
            f"This job is {facts.state}: there is a receipt once it has ended.",
            "Poll the job until it is complete, rejected or failed.",
        )
    signed, said = await house.receipts.signed(facts)
    return json_response({"receipt": signed, "payload": said})


async def jwks(request: Request) -> Response:
    """GET /.well-known/jwks.json: every public key, also those that sign no more."""
    house = house_of(request)
    keys = await house.receipts.public_keys()
    return json_response(
        signing.jwk_set(keys), 200, {"Cache-Control": f"public, max-age={KEYS_KEPT_S}"}
    )
