"""The tools API: what there is, what a run costs, how it is paid for, and what comes of it."""

import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from PIL import Image

from app.executors.toolbox import Toolbox
from db import items
from db.audit import audit
from tests.world.batch_doors import proof_of
from tests.world.house_fixtures import Instance, instance_of
from tests.world.notice_server import NoticeServer
from tests.world.receivers import Sent, in_javascript, in_python
from tests.world.session_fixtures import opened
from tests.world.tool_fixtures import Pictures, person, run_ended

NOBODY = "0" * 32


def inline(size: tuple[int, int] = (60, 40), colour: str = "teal") -> str:
    """Return a picture as a `data:` URI."""
    kept = io.BytesIO()
    Image.new("RGB", size, colour).save(kept, "PNG")
    return f"data:image/png;base64,{base64.b64encode(kept.getvalue()).decode()}"


def resize(image: str = "", **more: Any) -> dict[str, Any]:
    """Return the body of a run."""
    return {"toolId": "resize", "inputs": {"image": image or inline(), "width": 32, **more}}


@pytest.fixture(scope="module")
async def shop(
    database_url_of_file: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Instance]:
    """An instance that sells tools, and fetches pictures on this machine: of all tests here."""
    folder = tmp_path_factory.mktemp("shop")
    async with instance_of(
        database_url_of_file, folder, executors=[Toolbox()], ALLOW_PRIVATE_DESTINATIONS="true"
    ) as running:
        yield running


def refused(answer: httpx2.Response, status: int, code: str) -> str:
    """Hold a refusal to this surface's envelope; return its sentence."""
    assert answer.status_code == status, answer.text
    said = answer.json()["error"]
    assert said["code"] == code
    return str(said["message"])


async def test_the_tools_are_listed_with_what_they_cost(shop: Instance) -> None:
    """All that are open, each with its price; whole with the inputs that a form is drawn from."""
    listed = (await shop.http.get("/api/v1/tools")).json()
    by_id = {tool["toolId"]: tool for tool in listed}
    assert {"resize", "palette", "kontext"} <= set(by_id) and "text-to-image" not in by_id
    kontext = by_id["kontext"]
    assert kontext["commandName"] == "/kontext" and kontext["displayName"] == "Kontext"
    assert kontext["costingModel"] == {
        "type": "per_run", "usd": 0.04, "mostUsd": 0.04, "mostSats": 40,
    }  # fmt: skip
    assert kontext["metadata"]["standsIn"] and kontext["metadata"]["madeBy"] == "toolbox"
    one = (await shop.http.get("/api/v1/tools/resize")).json()
    assert one["inputSchema"]["properties"]["fit"]["x-ui"] == {"widget": "select"}
    whole = (await shop.http.get("/api/v1/tools/registry")).json()
    closed = [tool["toolId"] for tool in whole if not tool["metadata"]["open"]]
    assert {"text-to-image", "upscale"} <= set(closed)  # nobody paints here, or has the extra
    wants = {"toolId": "upscale", "inputs": {"image": inline()}}
    closed_to = await shop.post("/api/v1/generations/execute", wants)
    assert closed_to.status_code == 503 and "boltwork[tools]" in closed_to.text
    same = await shop.http.get("/api/v1/tools/registry/resize")
    assert same.json() == one
    for path in ("tools/no-such", "tools/registry/no-such"):
        sentence = refused(await shop.http.get(f"/api/v1/{path}"), 404, "NOT_FOUND")
        assert sentence == "Tool with ID 'no-such' not found."


async def test_a_run_is_bought_by_the_call(shop: Instance) -> None:
    """402 with its price in this surface's words, 202 for the proof, then its file."""
    body = resize()
    offer = await shop.post("/api/v1/generations/execute", body)
    assert offer.status_code == 402 and offer.json()["error"]["code"] == "PAYMENT_REQUIRED"
    assert offer.json()["amountSats"] == 1 and "accepts" in offer.json()
    where = offer.json()["instance"]
    waits = (await shop.http.get(where)).json()
    assert waits["status"] == "pending" and waits["awaitingPayment"]
    proof = await proof_of(shop, offer)
    made = await shop.post("/api/v1/generations/execute", body, headers=proof)
    assert made.status_code == 202 and where.endswith(made.json()["generationId"])
    assert made.json()["status"] == "processing" and made.json()["checkAfterMs"] >= 500
    said = await run_ended(shop, made.json()["generationId"])
    assert (said["status"], said["toolId"], said["madeBy"]) == ("completed", "resize", "toolbox")
    assert said["costUsd"] == 0.0005
    [output] = said["outputs"]
    [image] = output["data"]["images"]
    assert output["type"] == "image" and (image["width"], image["height"]) == (32, 21)
    file = await shop.http.get(image["url"])
    assert file.status_code == 200 and file.headers["content-type"] == "image/png"
    assert "sandbox" in file.headers["content-security-policy"]
    again = await shop.post("/api/v1/generations/execute", body, headers=proof)
    assert again.json()["generationId"] == made.json()["generationId"]
    assert await audit(shop.built.db) == []
    refused(await shop.http.get(f"/api/v1/artifacts/{NOBODY}"), 404, "NOT_FOUND")


async def test_an_accounts_key_pays_and_reads_what_it_bought(shop: Instance) -> None:
    """Its balance goes down by the price; nobody else reads the run, and the key reads several."""
    key = await person(shop, 1_000)
    made = await shop.post("/api/v1/generations/execute", resize(), headers=key)
    assert made.status_code == 202, made.text
    run = made.json()["generationId"]
    said = await run_ended(shop, run, **key)
    assert said["status"] == "completed"
    refused(await shop.http.get(f"/api/v1/generations/status/{run}"), 404, "NOT_FOUND")
    [item] = await items.page(shop.built.db, run, 0, 1)
    of_item = await run_ended(shop, item.id, **key)  # as a step of a cast is read
    assert of_item == said | {"generationId": item.id}
    asked = {"generationIds": [run, NOBODY]}
    several = await shop.post("/api/v1/generations/status", asked, headers=key)
    first, second = several.json()["generations"]
    assert first["outputs"] == said["outputs"]
    assert second["status"] == "failed" and second["error"]["code"] == "NOT_FOUND"
    nobody = (await shop.post("/api/v1/generations/status", asked)).json()["generations"]
    assert [each["error"]["code"] for each in nobody] == ["NOT_FOUND"] * 2
    odd = {"generationIds": ["a\0b", "ÿ" * 32, "x"]}  # no ids of ours
    nobody = (await shop.post("/api/v1/generations/status", odd)).json()["generations"]
    assert [each["error"]["code"] for each in nobody] == ["NOT_FOUND"] * 3
    me = (await shop.http.get("/api/v1/user/me", headers=key)).json()
    assert me["balanceSats"] == 999
    assert await audit(shop.built.db) == []


async def test_a_result_is_made_into_another(shop: Instance) -> None:
    """By its name: of one's own, and of nobody's; another account's is not known here."""
    key, other = await person(shop, 100), await person(shop, 100)
    first = await shop.post("/api/v1/generations/execute", resize(), headers=key)
    said = await run_ended(shop, first.json()["generationId"], **key)
    name = said["outputs"][0]["data"]["images"][0]["artifact"]
    body = {"toolId": "palette", "inputs": {"image": name, "colors": 2}}
    second = await shop.post("/api/v1/generations/execute", body, headers=key)
    said = await run_ended(shop, second.json()["generationId"], **key)
    assert said["outputs"][0]["type"] == "values"
    assert said["outputs"][0]["data"]["values"]["colors"][0]["color"] == "#008080"
    stranger = await shop.post("/api/v1/generations/execute", body, headers=other)
    assert "not known here" in refused(stranger, 400, "BAD_REQUEST")
    assert "not known here" in refused(
        await shop.post("/api/v1/generations/execute", body), 400, "BAD_REQUEST"
    )


async def test_a_session_pays_where_its_macaroon_allows_the_tool(shop: Instance) -> None:
    """What it does not allow is a 403; what is not made comes back to the session."""
    _, holder = await opened(shop)
    made = await shop.post("/api/v1/generations/execute", resize(), headers=holder)
    assert made.status_code == 202, made.text
    assert (await run_ended(shop, made.json()["generationId"]))["status"] == "completed"
    lost = {"toolId": "retouch", "inputs": {"input_image": inline(), "input_prompt": "xyzzy"}}
    dear = lost | {"toolId": "kontext", "maxSats": 39}
    told = await shop.post("/api/v1/generations/execute", dear, headers=holder)
    assert "costs 40 sats" in refused(told, 409, "OVER_MAX_SATS")
    told = await shop.post("/api/v1/generations/execute", lost, headers=holder)
    said = await run_ended(shop, told.json()["generationId"])
    assert said["status"] == "failed" and said["costUsd"] is None
    assert said["error"]["code"] == "GENERATION_FAILED" and "sepia" in said["error"]["message"]
    assert await audit(shop.built.db) == []


async def test_a_picture_is_fetched_once_before_anything_is_charged(shop: Instance) -> None:
    """By the server itself; what is asked for again by its key is not fetched again."""
    key = await person(shop, 100)
    async with Pictures().running() as pictures:
        body = resize(f"{pictures.url}/cat.png")
        named = key | {"Idempotency-Key": "k" * 20}
        for _ in range(2):
            made = await shop.post("/api/v1/generations/execute", body, headers=named)
            assert made.status_code == 202, made.text
        assert pictures.asked == ["/cat.png"]
        said = await run_ended(shop, made.json()["generationId"], **key)
        assert said["status"] == "completed"
        for path, sentence in pictures.hostile.items():
            told = await shop.post(
                "/api/v1/generations/execute", resize(f"{pictures.url}{path}"), headers=key
            )
            assert sentence in refused(told, 400, "BAD_REQUEST")
    me = (await shop.http.get("/api/v1/user/me", headers=key)).json()
    assert me["balanceSats"] == 99


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"width": 32}, "'image' is missing"),
        ({"image": "http://10.0.0.1/x.png"}, "can't be used"),
        ({"image": "https://169.254.169.254/latest"}, "not a public"),
        ({"image": "file:///etc/passwd"}, "can't be used"),
        ({"image": "data:text/html;base64,AAAA"}, "data:image/png"),
        ({"image": "data:image/png;base64,***"}, "no whole base64"),
        ({"image": "data:image/png;base64,R0lGODlh"}, "not a PNG, JPEG or WebP"),
        ({"image": "data:image/png;base64,iVBORw0KGgo="}, "can be decoded"),
        ({"image": "artifact:../../etc"}, "not known here"),
        ({"image": inline(), "width": 10**6}, "'width' must be 16 to 4096"),
        ({"image": inline(), "script": "x"}, "isn't known here"),
    ],
)
async def test_what_can_not_be_made_is_refused_before_it_is_paid_for(
    shop: Instance, inputs: dict[str, Any], sentence: str
) -> None:
    """In a sentence that names the field."""
    told = await shop.post("/api/v1/generations/execute", {"toolId": "resize", "inputs": inputs})
    assert sentence in refused(told, 400, "BAD_REQUEST")


async def test_a_tool_that_is_not_there_is_not_bought(shop: Instance) -> None:
    """404 for an unknown one, 503 for one that nobody makes here."""
    told = await shop.post("/api/v1/generations/execute", {"toolId": "invalid-tool", "inputs": {}})
    assert refused(told, 404, "NOT_FOUND") == "Tool with ID 'invalid-tool' not found."
    closed = {"toolId": "text-to-image", "inputs": {"prompt": "a cat"}}
    told = await shop.post("/api/v1/generations/execute", closed)
    assert "isn't available" in refused(told, 503, "JOB_SUBMISSION_FAILED")


async def test_a_runs_end_is_told_to_a_webhook(shop: Instance) -> None:
    """As the guide writes it: signed with the buyer's secret, with what came of the run; one that
    fails says why."""
    key = await person(shop, 100)
    async with NoticeServer().running() as server:
        told = {"mode": "webhook", "url": server.url, "secret": "your-webhook-secret-optional"}
        body = resize() | {"delivery": told}
        made = await shop.post("/api/v1/generations/execute", body, headers=key)
        assert made.status_code == 202, made.text
        accepted, run = made.json(), made.json()["generationId"]
        assert accepted["status"] == "accepted" and accepted["runId"].startswith("run_")
        assert accepted["delivery"]["mode"] == "webhook" and "secret" not in accepted["delivery"]
        [came] = await server.until(1)
        said = await run_ended(shop, run, **key)
        lost = {"toolId": "retouch", "inputs": {"input_image": inline(), "input_prompt": "xyzzy"}}
        await shop.post("/api/v1/generations/execute", lost | {"delivery": told}, headers=key)
        _, failed = await server.until(2)
    assert came.told["event"] == "generation.completed"
    assert (came.told["generationId"], came.told["toolId"]) == (run, "resize")
    assert came.told["outputs"] == said["outputs"] and came.told["costUsd"] is not None
    assert failed.told["event"] == "generation.failed" and failed.told["costUsd"] is None
    assert failed.told["error"]["code"] == "GENERATION_FAILED"
    sent = [Sent(each.body, each.headers["x-webhook-signature"], told["secret"])
            for each in (came, failed)]  # fmt: skip
    assert in_javascript(sent) == in_python(sent) == [200, 200]
    bad = resize() | {"delivery": told | {"url": "https://10.0.0.1/hook"}}
    answer = await shop.post("/api/v1/generations/execute", bad, headers=key)
    assert "can't be used" in refused(answer, 400, "BAD_REQUEST")
