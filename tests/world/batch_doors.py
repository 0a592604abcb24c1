"""What a stranger does at the doors of images and films: asks, pays, polls, downloads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.world.asking import OFFER
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import patiently
from tests.world.scripted_maker import ScriptedMaker

ENDED = ("completed", "failed", "cancelled")


def batch(*prompts: str, **more: Any) -> dict[str, Any]:
    """Return a body of images with these prompts, each of the painter's own model."""
    return {"defaults": {"model": "scene-1"}, "images": [{"prompt": p} for p in prompts], **more}


async def proof_of(instance: Instance, offer: httpx2.Response) -> dict[str, str]:
    """Pay for an offer; return the headers that prove it."""
    assert offer.status_code == 402, offer.text
    found = OFFER.match(offer.headers["www-authenticate"])
    assert found and found[2] == offer.json()["paymentRequest"]
    paid = await instance.post(f"/api/dev/stub/pay/{offer.json()['paymentHash']}")
    return {"Authorization": f"L402 {found[1]}:{paid.json()['preimage']}"}


async def bought(instance: Instance, body: dict[str, Any], path: str = "/api/jobs") -> str:
    """Buy what is sold at an address by the call; return its id."""
    proof = await proof_of(instance, await instance.post(path, body))
    answer = await instance.post(path, body, headers=proof)
    assert answer.status_code in (201, 202), answer.text
    made = answer.json()
    return str(made.get("jobId") or made.get("castId") or made.get("id"))


async def ended(
    instance: Instance, batch_id: str, *, limit: int = 100, token: str | None = None
) -> dict[str, Any]:
    """Wait, by the server's own long poll, until a batch has ended, and return it.

    One that is an account's is shown to who has the `token` of a login.
    """
    said: dict[str, Any] = {}
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async for look in patiently("it did not end", pause_s=0.01):
        query = {"wait": "5", "limit": str(limit)}
        path = f"/api/jobs/{batch_id}"
        answer = await instance.http.get(path, params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        look.saw = said = answer.json()
        if said["job"]["status"] in ENDED:
            break
    return said


@asynccontextmanager
async def sold_by(
    database_url: str, folder: Path, maker: ScriptedMaker, **settings: Any
) -> AsyncIterator[Instance]:
    """Run an instance whose items this maker makes."""
    async with instance_of(database_url, folder, executors=[maker], **settings) as running:
        yield running
        maker.go.set()
