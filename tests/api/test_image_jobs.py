"""Images by the tier, for credits: what an account has, what is sold, and one picture as a job.

Every answer is held to the contract, and to the document that others have written clients for.
"""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from PIL import Image

from app.executors.toolbox import Toolbox
from app.ports import Undoable
from db.audit import audit
from tests.world.batch_doors import batch, bought, proof_of, sold_by
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance, instance_of
from tests.world.image_jobs import hold
from tests.world.patience import patiently
from tests.world.scripted_maker import ScriptedMaker
from tests.world.tool_fixtures import person

JOBS, MODELS = "/api/v1/jobs", "/api/v1/models"
ME, CREDITS = "/api/v1/users/me", "/api/v1/users/me/credits"
CREDIT_SATS = 25
NOBODY = "00000000-0000-4000-8000-000000000000"


class AwayMaker(ScriptedMaker):
    """The house's own maker, which can't be reached."""

    async def healthy(self) -> Undoable | None:
        """It is away."""
        return Undoable("It can't be reached.")


@pytest.fixture
def maker() -> ScriptedMaker:
    """Who makes the pictures."""
    return ScriptedMaker()


@pytest.fixture
async def studio(
    database_url: str, tmp_path: Path, maker: ScriptedMaker
) -> AsyncIterator[Instance]:
    """An instance that sells pictures by the tier."""
    async with sold_by(database_url, tmp_path, maker) as running:
        running.http.event_hooks["response"].append(hold)
        yield running


def refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Hold a refusal to this surface's envelope; return it."""
    assert answer.status_code == status, answer.text
    said = dict(answer.json())
    assert said["code"] == code and said["error"]
    return said


async def buyer(at: Instance, credits: int, rest_sats: int = 0) -> dict[str, str]:
    """Open an account with so many credits, and some sats that are no whole one."""
    key = (await person(at, credits * CREDIT_SATS + rest_sats or 1))["x-api-key"]
    return {"Authorization": f"Bearer {key}"}


async def credits_of(at: Instance, key: dict[str, str]) -> dict[str, Any]:
    """Return what an account can spend."""
    answer = await at.http.get(CREDITS, headers=key)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def done(at: Instance, job_id: str) -> dict[str, Any]:
    """Wait, without a key, until a job has ended."""
    said: dict[str, Any] = {}
    async for look in patiently("the job does not end"):
        answer = await at.http.get(f"{JOBS}/{job_id}", params={"wait": "5"})
        assert answer.status_code == 200, answer.text
        look.saw = said = answer.json()
        if said["status"] in ("completed", "failed"):
            break
    return said


async def counted(at: Instance, workers: int) -> dict[str, Any]:
    """Wait until so many can make the default model; return it."""
    model: dict[str, Any] = {}
    async for look in patiently("another number is counted"):
        model = (await at.http.get(MODELS)).json()["models"]["z-image-turbo"]
        look.saw = model["worker_count"]
        if look.saw == workers:
            break
    return model


async def test_credits_are_the_balance_in_whole_pieces(studio: Instance) -> None:
    """What is less than a credit is shown beside them; more are bought by an invoice."""
    key = await buyer(studio, 2, rest_sats=7)
    me = (await studio.http.get(ME, headers=key)).json()
    assert (me["credits"], me["balance_sats"], me["role"]) == (2, 57, "user")
    assert me["display_name"].startswith("p-") and UUID(me["id"]) and "email" not in me
    offer = await studio.post("/api/v1/credits", {"credits": 3}, headers=key)
    assert offer.status_code == 201 and offer.json()["invoice"]["amountSats"] == 75
    await studio.pay(offer.json()["invoice"])
    async for look in patiently("the credits never come"):
        look.saw = left = await credits_of(studio, key)
        if left["credits"] == 5:
            break
    assert left == {"credits": 5, "user_id": me["id"], "balance_sats": 132, "credit_sats": 25}
    refused(await studio.post("/api/v1/credits", {"credits": 400_001}, headers=key), 400,
            "INVALID_REQUEST")  # fmt: skip
    for path in (ME, CREDITS):
        refused(await studio.http.get(path), 401, "UNAUTHORIZED")
    bad = {"Authorization": f"{key['Authorization']}x"}
    refused(await studio.http.get(ME, headers=bad), 401, "UNAUTHORIZED")


async def test_each_model_has_its_own_tiers(studio: Instance) -> None:
    """1, 3 and 5 credits for both, and sides that are the model's own."""
    listed = (await studio.http.get(MODELS)).json()
    assert listed["default_model"] == "z-image-turbo"
    sides = {
        name: [model["tier_configs"][tier]["max_width"] for tier in ("basic", "pro", "premium")]
        for name, model in listed["models"].items()
    }
    assert sides == {"z-image-turbo": [1024, 1440, 1536], "flux-schnell": [1024, 1280, 1536]}
    assert [model["optimal_steps"] for model in listed["models"].values()] == [8, 4]
    for model in listed["models"].values():
        assert [config["credits"] for config in model["tier_configs"].values()] == [1, 3, 5]
        assert model["available"] and model["worker_count"] == 1
        assert model["tiers"]["premium"] == {"available": True, "worker_count": 1}
    tiers = (await studio.http.get("/api/v1/tiers")).json()["tiers"]
    assert tiers == listed["models"]["z-image-turbo"]["tier_configs"]


async def test_a_job_takes_its_credits_and_is_followed_without_a_key(
    studio: Instance, maker: ScriptedMaker
) -> None:
    """From being claimed to its file: the states are the item's own."""
    key = await buyer(studio, 4)
    maker.go.clear()
    wants = {"prompt": "a boat", "negative_prompt": "rain", "model": "flux-schnell", "tier": "pro"}
    made = await studio.post(JOBS, {**wants, "width": 640, "seed": 7}, headers=key)
    assert made.status_code == 201, made.text
    job = made.json()
    assert made.headers["location"] == f"{JOBS}/{job['id']}"
    assert {**job, **wants} == job and (job["width"], job["height"]) == (640, 1280)
    assert (job["steps"], job["seed"], job["credits"]) == (4, 7, 3)
    assert (await credits_of(studio, key))["credits"] == 1
    seen = ["pending", "claimed", "processing"]
    async for look in patiently("nobody makes it"):
        look.saw = said = (await studio.http.get(f"{JOBS}/{job['id']}")).json()
        assert said["status"] in seen
        if said["status"] == "processing":
            break
    waits = await studio.http.get(f"{JOBS}/{job['id']}/result")
    assert waits.status_code == 202 and waits.json()["status"] == "processing"
    maker.go.set()
    ended = await done(studio, job["id"])
    assert ended["status"] == "completed" and ended["started_at"] <= ended["completed_at"]
    [asked] = maker.asked
    assert (asked.width, asked.height, asked.steps, asked.seed) == (640, 1280, 4, 7)
    result = await studio.http.get(f"{JOBS}/{job['id']}/result")
    assert result.json() == {"result_url": ended["result_url"]}
    file = await studio.http.get(ended["result_url"])
    assert file.status_code == 200 and file.headers["content-type"] == "image/png"
    assert (await credits_of(studio, key))["balance_sats"] == CREDIT_SATS
    assert UUID(job["id"]).version == 4  # which strict readers of UUIDs want
    short = UUID(job["id"]).hex  # as other surfaces write it
    assert (await studio.http.get(f"{JOBS}/{short}")).json()["id"] == job["id"]
    assert await audit(studio.built.db) == []


async def test_a_job_that_fails_gives_its_credits_back_whole(studio: Instance) -> None:
    """With the reason; there is no picture of it, and there will be none."""
    key = await buyer(studio, 5)
    made = await studio.post(JOBS, {"prompt": "REFUSE", "tier": "premium"}, headers=key)
    ended = await done(studio, made.json()["id"])
    assert ended["status"] == "failed" and "Nobody paints" in ended["error_msg"]
    none = refused(await studio.http.get(f"{JOBS}/{ended['id']}/result"), 404, "NOT_FOUND")
    assert none["status"] == "failed"
    assert (await credits_of(studio, key))["balance_sats"] == 5 * CREDIT_SATS
    assert await audit(studio.built.db) == []


async def test_what_can_not_be_made_as_asked_is_refused_before_anything_is_taken(
    studio: Instance,
) -> None:
    """Each with its own code."""
    key = await buyer(studio, 1)
    flux = {"model": "flux-schnell", "tier": "pro"}
    for wants, code in (
        ({"tier": "golden"}, "INVALID_TIER"),
        ({"width": 1025}, "TIER_LIMIT_EXCEEDED"),
        ({**flux, "height": 1281}, "TIER_LIMIT_EXCEEDED"),
        ({"width": 255}, "INVALID_REQUEST"),
        ({"model": "chroma"}, "INVALID_REQUEST"),
        ({"prompt": " "}, "INVALID_REQUEST"),
        ({"seed": None}, "INVALID_REQUEST"),
        ({"steps": 8}, "INVALID_REQUEST"),
    ):
        refused(await studio.post(JOBS, {"prompt": "a", **wants}, headers=key), 400, code)
    refused(await studio.post(JOBS, {"prompt": "a"}), 401, "UNAUTHORIZED")
    assert (await credits_of(studio, key))["credits"] == 1
    for job_id in (NOBODY, "1", "0" * 32, await bought(studio, batch("a picture"))):
        refused(await studio.http.get(f"{JOBS}/{job_id}"), 404, "NOT_FOUND")
        refused(await studio.http.get(f"{JOBS}/{job_id}/result"), 404, "NOT_FOUND")


async def test_too_few_credits_are_told_and_one_job_can_be_paid_for(studio: Instance) -> None:
    """Or the session, or the one invoice, of who has no account at all."""
    key = await buyer(studio, 2)
    short = await studio.post(JOBS, {"prompt": "a", "tier": "pro"}, headers=key)
    said = refused(short, 402, "INSUFFICIENT_CREDITS")
    assert (said["credits"], said["credits_needed"], said["amountSats"]) == (2, 3, 75)
    body = {"prompt": "a lake"}
    offer = await studio.post(JOBS, body, headers={"Accept-Payment": "x402/exact"})
    assert refused(offer, 402, "INSUFFICIENT_CREDITS")["credits_needed"] == 1
    unpaid = (await studio.http.get(offer.json()["instance"])).json()
    assert unpaid["status"] == "pending" and unpaid["awaiting_payment"]
    made = await studio.post(JOBS, body, headers=await proof_of(studio, offer))
    assert made.status_code == 201 and made.json()["id"] == unpaid["id"]
    assert (await done(studio, unpaid["id"]))["status"] == "completed"


async def test_what_nobody_can_make_now_is_not_sold(database_url: str, tmp_path: Path) -> None:
    """503 with when to come back, and nothing is taken."""
    async with instance_of(database_url, tmp_path, executors=[Toolbox()]) as at:
        key = await buyer(at, 1)
        for model in (await at.http.get(MODELS)).json()["models"].values():
            assert not model["available"] and model["worker_count"] == 0
            assert model["tiers"]["basic"] == {"available": False, "worker_count": 0}
        answer = await at.post(JOBS, {"prompt": "a"}, headers=key)
        said = refused(answer, 503, "MODEL_UNAVAILABLE")
        assert said["retry_after"] == int(answer.headers["retry-after"])
        assert (await credits_of(at, key))["credits"] == 1


async def test_a_worker_counts_for_the_tiers_that_its_machine_can_make(
    database_url: str, tmp_path: Path
) -> None:
    """It claims their jobs and no larger ones; while the house's own maker is away, these alone are
    sold. One that isn't heard of for a minute counts no more.
    """
    clock = Clock()
    async with sold_by(database_url, tmp_path, AwayMaker(), clock=clock, WORKERS="true") as at:
        lends = {"name": "a laptop", "payTo": "you@example.org"}
        token = (await at.post("/api/v1/workers", lends)).json()["token"]
        worker = {"Authorization": f"Bearer {token}"}
        asks = {"models": ["z-image-turbo"], "maxPixels": 1024 * 1024, "vramGb": 8}
        none = await at.post("/api/v1/workers/claims", asks, headers=worker)
        assert none.json()["leases"] == []
        model = await counted(at, 1)
        counts = {tier: there["worker_count"] for tier, there in model["tiers"].items()}
        assert counts == {"basic": 1, "pro": 0, "premium": 0}
        key = await buyer(at, 4)
        wants = {"prompt": "a lake", "width": 256, "height": 256}
        too_large = await at.post(JOBS, wants | {"tier": "pro"}, headers=key)
        refused(too_large, 503, "MODEL_UNAVAILABLE")
        job = (await at.post(JOBS, wants, headers=key)).json()
        waiting = await at.post("/api/v1/workers/claims", asks | {"wait": 20}, headers=worker)
        [lease] = waiting.json()["leases"]
        kept = io.BytesIO()
        Image.new("RGB", (256, 256), "teal").save(kept, "PNG")
        brings = worker | {"Content-Type": "image/png"}
        path = f"/api/v1/leases/{lease['leaseId']}/result"
        brought = await at.http.put(path, content=kept.getvalue(), headers=brings)
        assert brought.status_code == 200, brought.text
        ended = await done(at, job["id"])
        assert (ended["status"], ended["made_by"]) == ("completed", "network")
        assert (await credits_of(at, key))["credits"] == 3
        clock.forward(seconds=60)
        assert not (await counted(at, 0))["available"]
        refused(await at.post(JOBS, wants, headers=key), 503, "MODEL_UNAVAILABLE")
        assert await audit(at.built.db) == []


async def test_an_account_is_limited_by_the_minute_and_by_the_day(
    database_url: str, tmp_path: Path
) -> None:
    """Its requests count, wherever they come from; polls and lists do not."""
    clock = Clock()
    most = {"KEY_REQUESTS_PER_MINUTE": 2, "KEY_REQUESTS_PER_DAY": 3}
    async with sold_by(database_url, tmp_path, ScriptedMaker(), clock=clock, **most) as at:
        at.http.event_hooks["response"].append(hold)
        one, other = await asyncio.gather(buyer(at, 1), buyer(at, 1))
        for _ in range(2):
            await credits_of(at, one)
        said = refused(await at.http.get(ME, headers=one), 429, "RATE_LIMIT_EXCEEDED")
        assert 1 <= said["retry_after"] <= 60 and "from your account" in said["error"]
        await credits_of(at, other)
        assert (await at.http.get(MODELS, headers=one)).status_code == 200
        clock.forward(seconds=61)
        await credits_of(at, one)
        clock.forward(seconds=61)
        limited = await at.post(JOBS, {"prompt": "a"}, headers=one)
        assert refused(limited, 429, "RATE_LIMIT_EXCEEDED")["retry_after"] > 60
