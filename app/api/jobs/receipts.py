"""Receipts of jobs that have come to their end, and the keys to check them with."""

from starlette.requests import Request
from starlette.responses import Response

from app.house import House
from app.http.body import json_response
from app.keys import signing
from app.refusal import Refusal, Why
from app.trade.receipts import payload
from db import receipts, signing_keys
from db.signing_keys import Key
from statemachine.job import JOB, JobState

KEYS_KEPT_S = 300  # how long a reader may keep the keys; one that misses a key asks again


async def receipt(request: Request) -> Response:
    """GET /api/jobs/{id}/receipt: what was paid for what, signed."""
    house: House = request.app.state.house
    job_id: str = request.path_params["id"]
    plain = job_id.isascii() and job_id.isalnum()
    facts = await receipts.facts(house.parts.db, job_id) if plain else None
    if facts is None:
        raise Refusal(
            Why.UNKNOWN,
            "There is no job with this id. Check it, or create one with POST /api/jobs.",
        )
    if not JOB.final(JobState(facts["state"])):
        raise Refusal(
            Why.NOT_FINISHED,
            f"This job is {facts['state']}: there is a receipt once it has ended.",
            "Poll the job until it is complete, rejected or failed.",
        )
    said = payload(facts, house.parts.clock())
    key = await _signing_key(house)
    return json_response({"receipt": signing.sign(said, key), "payload": said})


async def jwks(request: Request) -> Response:
    """GET /.well-known/jwks.json: every public key, also those that sign no more."""
    house: House = request.app.state.house
    await _signing_key(house)
    keys = await signing_keys.public(house.parts.db)
    return json_response(
        signing.jwk_set(keys), 200, {"Cache-Control": f"public, max-age={KEYS_KEPT_S}"}
    )


async def _signing_key(house: House) -> Key:
    parts = house.parts
    return await signing.active_key(parts.db, parts.credentials.seal, parts.clock)
