"""A receipt as it is served, for the tests."""

from typing import Any

from app.keys.receipt_check import check, keys_in
from tests.world.house_fixtures import Instance


async def receipt_of(instance: Instance, job_id: str) -> tuple[bytes, dict[str, Any]]:
    """Return a receipt as it is served, and what it says after the check with the shown keys."""
    served = await instance.http.get(f"/api/jobs/{job_id}/receipt")
    assert served.status_code == 200, served.text
    jwks = await instance.http.get("/.well-known/jwks.json")
    return served.content, check(served.content, keys_in(jwks.json()))
