"""One image or one film by the call, in the words of the generations API."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from db.audit import audit
from tests.world.batch_doors import proof_of, sold_by
from tests.world.house_fixtures import Instance
from tests.world.patience import patiently
from tests.world.scripted_maker import ScriptedMaker
from tests.world.session_fixtures import opened

IMAGE: dict[str, Any] = {
    "model": "nano-banana-pro",
    "prompt": "A serene Japanese garden with cherry blossoms",
    "aspect_ratio": "16:9",
    "resolution": "2k",
}
VIDEO: dict[str, Any] = {
    "model": "veo-3.1-fast",
    "prompt": "A cat walking through a mystical forest",
    "mode": "t2v",
    "aspect_ratio": "landscape",
}
NOBODY = "0" * 32


@pytest.fixture
def maker() -> ScriptedMaker:
    """Who makes what `shop` sells."""
    return ScriptedMaker()


@pytest.fixture
async def shop(database_url: str, tmp_path: Path, maker: ScriptedMaker) -> AsyncIterator[Instance]:
    """An instance that sells images and films."""
    async with sold_by(database_url, tmp_path, maker) as running:
        yield running


def refused(answer: httpx2.Response, status: int, code: str) -> str:
    """Hold a refusal to this surface's envelope; return its sentence."""
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert said["error"] == code and said["requestId"] == answer.headers["x-request-id"]
    return str(said["message"])


async def done(shop: Instance, generation_id: str) -> dict[str, Any]:
    """Poll a generation until it has ended."""
    said: dict[str, Any] = {}
    async for look in patiently("it did not end", pause_s=0.01):
        answer = await shop.http.get(f"/v1/generations/{generation_id}", params={"wait": "5"})
        look.saw = said = answer.json()
        if said["status"] in ("completed", "failed"):
            break
    return said


async def test_an_image_is_bought_by_the_call(shop: Instance, maker: ScriptedMaker) -> None:
    """402 in this surface's words, 202 for the proof, then its file at an absolute address."""
    offer = await shop.post("/v1/images/generate", IMAGE)
    assert offer.status_code == 402 and offer.json()["error"] == "payment_required"
    assert offer.json()["message"] == offer.json()["detail"] and "code" not in offer.json()
    assert offer.json()["amountSats"] == 50  # 0.05 US dollars
    where = offer.json()["instance"]
    assert where.startswith(f"{shop.url}/v1/generations/")
    assert (await shop.http.get(where)).json()["status"] == "awaiting_payment"
    proof = await proof_of(shop, offer)
    made = await shop.post("/v1/images/generate", IMAGE, headers=proof)
    assert made.status_code == 202 and where.endswith(made.json()["id"])
    assert made.json()["status"] in ("pending", "processing", "completed")
    said = await done(shop, made.json()["id"])
    assert (said["status"], said["progress"], said["paidWith"]) == ("completed", 100, "lightning")
    [output] = said["output"]
    assert output["type"] == "image/png" and output["url"].startswith(shop.url)
    file = await shop.http.get(output["url"])
    assert file.status_code == 200 and file.headers["content-type"] == "image/png"
    [wanted] = maker.asked
    assert (wanted.width, wanted.height) == (2048, 1152)
    again = await shop.post("/v1/images/generate", IMAGE, headers=proof)
    assert again.json() == made.json() | {"status": "completed"}
    assert len(maker.asked) == 1 and await audit(shop.built.db) == []


async def test_a_film_costs_what_the_document_says(shop: Instance) -> None:
    """0.25 US dollars, whichever shape."""
    offer = await shop.post("/v1/videos/generate", VIDEO)
    assert offer.status_code == 402 and offer.json()["amountSats"] == 250
    _, holder = await opened(shop)
    made = await shop.post("/v1/videos/generate", VIDEO, headers=holder)
    assert made.status_code == 202, made.text
    assert made.headers["location"] == f"/v1/generations/{made.json()['id']}"
    said = await done(shop, made.json()["id"])
    assert said["paidWith"] == "session"


async def test_progress_is_the_makers_own(shop: Instance, maker: ScriptedMaker) -> None:
    """Between pending and completed it is processing, with how far it is."""
    maker.go.clear()
    offer = await shop.post("/v1/images/generate", IMAGE)
    await proof_of(shop, offer)
    where = offer.json()["instance"]
    async for look in patiently("nobody makes it", pause_s=0.02):
        look.saw = said = (await shop.http.get(where)).json()
        if said["status"] == "processing" and said["progress"] == 49:
            break
    maker.go.set()
    assert (await done(shop, said["id"]))["progress"] == 100


async def test_what_fails_is_owed_back(shop: Instance) -> None:
    """With the reason; the payment is a refund like any other."""
    body = {**IMAGE, "prompt": "REFUSE"}
    offer = await shop.post("/v1/images/generate", body)
    await proof_of(shop, offer)
    said = await done(shop, offer.json()["instance"].rpartition("/")[2])
    assert said["status"] == "failed" and said["output"] == []
    assert said["error"] == "Nobody paints <b>that</b>."
    assert said["refunds"][0]["amountSats"] == 50 and said["refundState"] == "pending"


async def test_errors_have_a_code_and_a_message(shop: Instance) -> None:
    """400 before anything is paid, 404 as the document has it, 401, 409 and what is not there."""
    for wrong, says in (
        ({"prompt": "a"}, "'model'"),
        ({**IMAGE, "model": "no-such"}, "Available: nano-banana-2"),
        ({**IMAGE, "model": "veo-3.1-fast"}, "isn't available"),
        ({**IMAGE, "prompt": ""}, "is empty"),
        ({**IMAGE, "prompt": "a\x07"}, "U+0007"),
        ({**IMAGE, "aspect_ratio": "7:1"}, "one of"),
        ({**IMAGE, "mode": "t2v"}, "isn't known"),
        ({**IMAGE, "prompt": "a" * 4001}, "4000"),
    ):
        said = refused(await shop.post("/v1/images/generate", wrong), 400, "bad_request")
        assert says in said
    unmoded = {key: VIDEO[key] for key in ("model", "prompt")}
    assert "'mode'" in refused(await shop.post("/v1/videos/generate", unmoded), 400, "bad_request")
    for unknown in (NOBODY, "gen_abc123"):
        gone = await shop.http.get(f"/v1/generations/{unknown}")
        assert refused(gone, 404, "not_found") == "Generation not found"
    refused(await shop.http.get("/v1/nothing"), 404, "no_such_address")
    refused(await shop.http.get("/v1/images/generate"), 405, "method_not_allowed")
    junk = {"Authorization": "Bearer junk"}
    refused(await shop.post("/v1/images/generate", IMAGE, headers=junk), 401, "credential_invalid")
    junk = {"Authorization": f"L402 AAAA:{'0' * 64}"}
    answer = await shop.post("/v1/images/generate", IMAGE, headers=junk)
    refused(answer, 401, "payment_proof_invalid")
    key = {"Idempotency-Key": "0123456789abcdef0123"}
    await shop.post("/v1/images/generate", IMAGE, headers=key)
    other = await shop.post("/v1/images/generate", {**IMAGE, "prompt": "b"}, headers=key)
    refused(other, 409, "idempotency_key_reused")


async def test_each_surface_reads_what_the_other_sold(shop: Instance) -> None:
    """A generation is a job of one image: there it is cancelled, and its refund claimed."""
    offer = await shop.post("/v1/images/generate", IMAGE)
    batch_id = offer.json()["instance"].rpartition("/")[2]
    said = (await shop.http.get(f"/api/jobs/{batch_id}")).json()
    assert said["job"]["status"] == "awaiting_payment" and len(said["images"]) == 1
    assert (await shop.post(f"/api/jobs/{batch_id}/cancel")).json()["job"]["status"] == "cancelled"
    said = (await shop.http.get(f"/v1/generations/{batch_id}")).json()
    assert said["status"] == "failed" and said["paidWith"] is None and said["error"]
