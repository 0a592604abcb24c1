"""Pictures that others make, bought at the doors: delivered, refused, refunded, told honestly."""

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from app.executors.openai_images import MASK
from app.executors.provider import DECLINES, UNAVAILABLE
from db import ledger
from db.audit import audit
from pricing.money import MicroUsdc
from statemachine.entries import Asset
from tests.world.batch_doors import bought, ended
from tests.world.house_fixtures import Instance, instance_of
from tests.world.images_server import GENERATIONS
from tests.world.provider_server import KEY, ProviderServer, Reply
from tests.world.tool_fixtures import drawn, person, run_ended
from tests.world.usdc_doors import asked_in, signed
from tests.world.usdc_fixtures import Payer, header


async def test_a_picture_of_a_providers_is_bought_and_read(
    database_url: str, tmp_path: Path, images_server: ProviderServer
) -> None:
    """Charged for what came; a refusal says why, and an operator's fault is nobody else's."""
    sold: dict[str, Any] = {
        "IMAGES_URL": f"{images_server.url}/v1",
        "IMAGES_KEY": KEY,
        "IMAGES_MODELS": "flux=0.02@flux-1-dev,gone=0.01",
        "IMAGES_AT_ONCE": 1,
    }
    async with instance_of(database_url, tmp_path, **sold) as market:
        listed = (await market.http.get("/api/models")).json()["image"]
        [flux] = [each for each in listed if each["id"] == "flux"]
        assert flux["madeBy"] == "images-api" and flux["description"].endswith("by images-api.")
        size = {"width": 256, "height": 256}
        images = [{"prompt": "forbidden"}, {"prompt": "a cat"}, {"prompt": "x", "model": "gone"}]
        body = {"defaults": {"model": "flux", **size}, "images": images}
        batch_id = await bought(market, body)
        said = await ended(market, batch_id)
        ends = {each["prompt"]: each for each in said["images"]}
        assert [each["status"] for each in ends.values()] == ["failed", "completed", "dead_letter"]
        assert ends["forbidden"]["error"] == DECLINES and ends["x"]["error"] == UNAVAILABLE
        assert KEY not in str(said)
        cat = await market.http.get(f"/api/jobs/{batch_id}/images/{ends['a cat']['id']}")
        assert cat.status_code == 200 and cat.headers["content-type"] == "image/png"


async def test_a_tool_of_a_providers_is_run(
    database_url: str, tmp_path: Path, images_server: ProviderServer
) -> None:
    """By configuration alone: it is listed with its price, its form and who makes it; a known name
    is no stand-in any more; a run is charged, and what is refused is not."""
    sold: dict[str, Any] = {
        "IMAGES_URL": f"{images_server.url}/v1",
        "IMAGES_KEY": KEY,
        "IMAGES_MODELS": "flux=0.02@flux-1-dev",
        "IMAGES_EDITS": "kontext=0.05@gpt-image-1,mirror=0.03@gpt-image-1",
        "MAKER_COSTS": "mirror=0.01",
    }
    async with instance_of(database_url, tmp_path, **sold) as shop:
        tools = {each["toolId"]: each for each in (await shop.http.get("/api/v1/tools")).json()}
        for name, usd in (("kontext", 0.05), ("mirror", 0.03), ("flux", 0.02)):
            assert tools[name]["costingModel"]["usd"] == usd
            told = tools[name]["metadata"]
            assert (told["madeBy"], told["standsIn"]) == ("images-api", False)
        form = (await shop.http.get("/api/v1/tools/mirror")).json()["inputSchema"]
        assert list(form["properties"]) == ["input_image", "input_prompt", "mask"]
        assert form["required"] == ["input_image", "input_prompt"]
        key, said = await person(shop, 1_000), []
        picture = f"data:image/png;base64,{base64.b64encode(drawn()).decode()}"
        for tool, inputs in (
            ("mirror", {"input_image": picture, "input_prompt": "mirror it"}),
            ("mirror", {"input_image": picture, "input_prompt": "forbidden"}),
            ("flux", {"prompt": "a cat", "width": 256, "height": 320}),
            ("mirror", {"input_image": picture, "input_prompt": "mirror", "mask": left_open()}),
            ("mirror", {"input_image": picture, "input_prompt": "mirror", "mask": picture}),
        ):
            run = {"toolId": tool, "inputs": inputs}
            made = await shop.post("/api/v1/generations/execute", run, headers=key)
            assert made.status_code == 202, made.text
            said.append(await run_ended(shop, made.json()["generationId"], **key))
        ends = ["completed", "failed", "completed", "completed", "failed"]
        assert [each["status"] for each in said] == ends
        assert [each["costUsd"] for each in said] == [0.03, None, 0.02, 0.03, None]
        assert said[4]["error"]["message"] == MASK
        whole, masked = [await seen(shop, said[at]) for at in (0, 3)]
        given = Image.open(io.BytesIO(drawn())).convert("RGB")
        assert masked.crop((0, 0, 48, 64)).tobytes() == whole.crop((0, 0, 48, 64)).tobytes()
        assert masked.crop((48, 0, 96, 64)).tobytes() == given.crop((48, 0, 96, 64)).tobytes()
        assert said[1]["error"]["message"] == DECLINES
        sizes = [
            (image["width"], image["height"])
            for each in (said[0], said[2])
            for image in each["outputs"][0]["data"]["images"]
        ]
        assert sizes == [(96, 64), (256, 320)]
        me = (await shop.http.get("/api/v1/user/me", headers=key)).json()
        assert me["balanceSats"] == 1_000 - 30 - 20 - 30
        assert await spent(shop, Asset.MSAT) == {"makers": 20_000, "failed": 0}
        assert await audit(shop.built.db) == []


def left_open() -> str:
    """Return a mask by which the left half is changed, as a data URI."""
    mask, kept = Image.new("RGBA", (96, 64), (0, 0, 0, 255)), io.BytesIO()
    mask.paste((0, 0, 0, 0), (0, 0, 48, 64))
    mask.save(kept, "PNG")
    return f"data:image/png;base64,{base64.b64encode(kept.getvalue()).decode()}"


async def seen(shop: Instance, run: dict[str, Any]) -> Image.Image:
    """Return the picture that a run has made."""
    [image] = run["outputs"][0]["data"]["images"]
    answer = await shop.http.get(image["url"])
    return Image.open(io.BytesIO(answer.content)).convert("RGB")


async def test_nothing_is_sold_whose_maker_is_away(
    database_url: str, tmp_path: Path, images_server: ProviderServer
) -> None:
    """A 503 that says when to come back, and no invoice; what others make is sold all the same."""
    sold: dict[str, Any] = {
        "IMAGES_URL": "http://127.0.0.1:9/v1",
        "IMAGES_MODELS": "flux=0.02",
    }
    async with instance_of(database_url, tmp_path, **sold) as market:
        body = {"defaults": {"model": "flux"}, "images": [{"prompt": "a cat"}]}
        await market.http.get("/api/healthz")
        refused = await market.post("/api/jobs", body)
        assert refused.status_code == 503 and refused.headers["retry-after"] == "30"
        assert "Who makes flux can't be reached" in refused.text
        usdc, now_s = market.built.usdc, int(market.built.clock().timestamp())
        assert usdc is not None
        payment = Payer().pays(usdc.offer(MicroUsdc(20_000)), now_s)  # as it was offered before
        paying = {"PAYMENT-SIGNATURE": header(payment)}
        refused = await market.post("/api/jobs", body, headers=paying)
        assert refused.status_code == 503 and "PAYMENT-RESPONSE" not in refused.headers
        body["defaults"] = {"model": "scene-1"}
        assert (await market.post("/api/jobs", body)).status_code == 402


async def test_what_a_maker_wants_of_us_is_in_the_books(
    database_url: str, tmp_path: Path, images_server: ProviderServer
) -> None:
    """For each call that it took, in what its buyer paid with: for what was delivered, and for what
    came to nothing. What it refuses costs nothing, nor does what has no cost here."""
    sold: dict[str, Any] = {
        "IMAGES_URL": f"{images_server.url}/v1",
        "IMAGES_KEY": KEY,
        "IMAGES_MODELS": "flux=0.02@flux-1-dev,free=0.02@flux-1-dev",
        "IMAGES_AT_ONCE": 1,
        "MAKER_COSTS": "flux=0.01",
    }
    async with instance_of(database_url, tmp_path, **sold) as market:
        images_server.script(GENERATIONS, Reply({"data": []}))  # paid for, and no picture
        size: dict[str, Any] = {"width": 256, "height": 256}
        for model in ("flux", "free"):
            images: list[dict[str, str]] = [{"prompt": "a cat"}, {"prompt": "forbidden"}]
            body: dict[str, Any] = {"defaults": {"model": model, **size}, "images": images}
            said = await ended(market, await bought(market, body))
            assert [each["status"] for each in said["images"]] == ["completed", "failed"]
        assert await spent(market, Asset.MSAT) == {"makers": 10_000, "failed": 10_000}
        body = {"defaults": {"model": "flux", **size}, "images": [{"prompt": "a dog"}]}
        asked = asked_in(await market.post("/api/jobs", body))
        paid = await market.post("/api/jobs", body, headers=signed(market, Payer(), asked))
        token = paid.json()["sessionToken"]
        await ended(market, paid.json()["jobId"], token=token)
        assert await spent(market, Asset.MICROUSDC) == {"makers": 10_000, "failed": 0}
        assert await audit(market.built.db) == []


async def spent(market: Instance, asset: Asset) -> dict[str, int]:
    """Return what the books say that makers have cost; what they say on the other side is it."""
    db, names = market.built.db, ("makers", "failed")
    cost = {name: await ledger.balance(db, f"expense:{name}", asset) for name in names}
    assert await ledger.balance(db, "revenue:free", asset) == sum(cost.values())
    return cost
