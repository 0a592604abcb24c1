"""Images and films by the job: quoted, bought over Lightning or by a session, polled, downloaded,
and charged only for what was delivered (the bulk API)."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from db.audit import audit
from db.engine import Tx
from tests.world.batch_doors import batch, bought, ended, proof_of, sold_by
from tests.world.contract import refused
from tests.world.house_fixtures import Instance
from tests.world.patience import PATIENCE_S
from tests.world.scripted_maker import ScriptedMaker
from tests.world.session_fixtures import opened

NOBODY = "0" * 32


@pytest.fixture
def maker() -> ScriptedMaker:
    """Who makes the items of `shop`."""
    return ScriptedMaker()


@pytest.fixture
async def shop(database_url: str, tmp_path: Path, maker: ScriptedMaker) -> AsyncIterator[Instance]:
    """An instance that sells images and films."""
    async with sold_by(database_url, tmp_path, maker) as running:
        yield running


async def test_a_quote_is_the_price(shop: Instance) -> None:
    """In dollars, and in sats where there is a bitcoin price; what is then asked for is no more."""
    body = {"images": [{"prompt": "test"}], "defaults": {"model": "seedream-v4"}}
    said = (await shop.post("/api/jobs/quote", body)).json()
    assert said == {
        "estimatedCost": 0.025, "itemCount": 1, "costPerItem": 0.025, "jobType": "image",
        "currency": "USDC", "priceSats": 25, "btcPriceUsd": 100_000.0,
        "makers": [{"model": "seedream-v4", "madeBy": "scene-1", "standsIn": True,
                    "available": True}],
    }  # fmt: skip
    offer = await shop.post("/api/jobs", body)
    assert offer.status_code == 402 and offer.json()["amountSats"] == 25
    made_by = {"model": "seedream-v4", "madeBy": "scene-1", "standsIn": True}
    assert offer.json()["makers"] == [made_by]
    film = {"job_type": "video", "defaults": {"duration": 10}, "images": [{"prompt": "rain"}]}
    said = (await shop.post("/api/jobs/quote", film | {"maxSats": None})).json()
    assert said["estimatedCost"] == 0.5 and said["jobType"] == "video"


async def test_the_models_are_those_that_can_be_bought(shop: Instance) -> None:
    """As the document lists them, and who makes each of them here."""
    said = (await shop.http.get("/api/models")).json()
    images = {each["id"]: each for each in said["image"]}
    assert images["seedream-v4"]["name"] == "SeedreamV4.5"
    assert images["seedream-v4"]["price_diem"] is None and images["seedream-v4"]["standsIn"]
    assert images["scene-1"]["price_diem"] == 0.008 and not images["scene-1"]["standsIn"]
    [film] = [each for each in said["video"] if each["id"] == "grok-imagine-text-to-video"]
    assert film["durations"] == [5, 10, 15] and film["resolutions"] == ["480p", "720p"]
    for kind, listed in said.items():
        for each in listed:
            body = {"job_type": kind, "images": [{"prompt": "a cat", "model": each["id"]}]}
            assert (await shop.post("/api/jobs/quote", body)).status_code == 200


async def test_a_proof_buys_a_job_and_shows_it_again(shop: Instance) -> None:
    """402 with where to look, 201 for the proof and ever after; items, files, counts and costs."""
    body = batch("a cat riding a rocket", "sunset over mountains")
    offer = await shop.post("/api/jobs", body)
    where = offer.json()["instance"].removeprefix(shop.url)
    unpaid = (await shop.http.get(where)).json()
    assert unpaid["job"]["status"] == "awaiting_payment" and unpaid["paidWith"] is None
    assert unpaid["invoice"]["paymentRequest"] == offer.json()["paymentRequest"]
    proof = await proof_of(shop, offer)
    answers = await asyncio.gather(
        *(shop.post("/api/jobs", body, headers=proof) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.text for answer in answers} == {answers[0].text}
    made = answers[0].json()
    assert made["estimatedCost"] == 0.008 and where == f"/api/jobs/{made['jobId']}"
    assert answers[0].headers["location"] == where
    said = await ended(shop, made["jobId"])
    job = said["job"]
    assert (job["status"], job["job_type"], said["paidWith"]) == ("completed", "image", "lightning")
    assert (job["total_images"], job["completed_images"], job["succeeded_images"]) == (2, 2, 2)
    assert job["failed_images"] == 0 and job["estimated_cost"] == job["actual_cost"] == 0.008
    first, second = said["images"]
    assert (first["index_in_job"], second["index_in_job"]) == (0, 1)
    assert first["prompt"] == "a cat riding a rocket" and first["madeBy"] == "scene-1"
    file = await shop.http.get(first["url"])
    assert file.headers["content-type"] == "image/png" == first["media_type"]
    assert len(file.content) == first["file_size"]
    part = await shop.http.get(first["url"], headers={"Range": "bytes=0-7"})
    assert part.status_code == 206 and part.content == file.content[:8]
    has = {"If-None-Match": file.headers["etag"]}
    assert (await shop.http.get(first["url"], headers=has)).status_code == 304
    again = await shop.post("/api/jobs", body, headers=proof)
    assert again.status_code == 201 and again.json() == made
    assert await audit(shop.built.db) == []


async def test_a_job_begins_when_its_invoice_is_paid(shop: Instance) -> None:
    """Whether or not the proof is ever shown."""
    offer = await shop.post("/api/jobs", batch("a cat"))
    await proof_of(shop, offer)
    said = await ended(shop, offer.json()["instance"].rpartition("/")[2])
    assert said["job"]["status"] == "completed"


async def test_a_proof_is_for_the_body_it_was_offered_for(shop: Instance) -> None:
    """Another body is another purchase; the same fields in another order are the same."""
    body = batch("a cat")
    proof = await proof_of(shop, await shop.post("/api/jobs", body))
    other = await shop.post("/api/jobs", batch("a dog"), headers=proof)
    assert other.status_code == 402 and "instance" in other.json()
    turned = dict(reversed(body.items()))
    assert (await shop.post("/api/jobs", turned, headers=proof)).status_code == 201
    ask = await shop.http.get("/api/ask", params={"request": "a cat"}, headers=proof)
    assert ask.status_code == 402


async def test_what_is_not_delivered_is_owed_back(shop: Instance) -> None:
    """Declined items fail with the reason; the rest is a refund like any other, and is paid."""
    batch_id = await bought(shop, batch("a cat", "REFUSE", "a dog"))
    said = await ended(shop, batch_id)
    assert said["job"]["status"] == "completed" and said["job"]["failed_images"] == 1
    assert said["job"]["actual_cost"] == 0.008 and said["job"]["estimated_cost"] == 0.012
    states = [(item["status"], item.get("error")) for item in said["images"]]
    assert states == [
        ("completed", None), ("failed", "Nobody paints <b>that</b>."), ("completed", None)
    ]  # fmt: skip
    [refund] = said["refunds"]
    assert (refund["reason"], refund["amountSats"]) == ("undelivered", 4)
    assert (said["priceSats"], said["chargedSats"], said["refundState"]) == (12, 8, "pending")
    invoice = (await shop.post("/api/dev/stub/invoice", {"amountSats": 4})).json()["paymentRequest"]
    claimed = await shop.post(f"/api/jobs/{batch_id}/refund", {"invoice": invoice})
    assert claimed.status_code == 200 and claimed.json()["refundAmountSats"] == 4
    after = (await shop.http.get(f"/api/jobs/{batch_id}")).json()
    assert after["refundState"] == "paid"
    assert await audit(shop.built.db) == []


async def test_a_job_whose_items_all_fail_has_failed(shop: Instance) -> None:
    """All of it is owed back, and nothing is charged."""
    said = await ended(shop, await bought(shop, batch("REFUSE")))
    assert said["job"]["status"] == "failed" and said["job"]["actual_cost"] == 0
    assert said["refunds"][0]["amountSats"] == said["priceSats"] and said["chargedSats"] == 0


async def test_a_session_pays_for_a_job(shop: Instance) -> None:
    """At once, by its macaroon; what is not delivered goes back to its balance."""
    session_id, holder = await opened(shop)
    made = await shop.post("/api/jobs", batch("a cat", "REFUSE"), headers=holder)
    assert made.status_code == 201, made.text
    said = await ended(shop, made.json()["jobId"])
    assert said["paidWith"] == "session" and said["refundState"] == "not_applicable"
    status = (await shop.http.get(f"/api/sessions/{session_id}", headers=holder)).json()
    assert status["balanceSats"] == 2_000 - 4
    named = {**holder, "Idempotency-Key": "1234567890abcdef"}
    once, again = [await shop.post("/api/jobs", batch("a"), headers=named) for _ in range(2)]
    assert once.json() == again.json()
    dear = {"images": [{"prompt": f"a cat, {n}"} for n in range(200)]}
    short = await shop.post("/api/jobs", dear, headers=holder)
    assert short.status_code == 402 and short.json()["code"] == "insufficient_balance"
    assert await audit(shop.built.db) == []


async def test_a_job_is_cancelled(shop: Instance, maker: ScriptedMaker) -> None:
    """What nobody makes is not made; what is held is delivered and charged, then all is over."""
    maker.go.clear()
    batch_id = await bought(shop, batch("a cat", "a dog", "a bird"))
    async with asyncio.timeout(PATIENCE_S):
        while not maker.asked:
            await asyncio.sleep(0.01)
    cancelled = await shop.post(f"/api/jobs/{batch_id}/cancel")
    assert cancelled.status_code == 200 and cancelled.json()["job"]["status"] == "processing"
    again = await shop.post(f"/api/jobs/{batch_id}/cancel")
    assert again.status_code == 200
    maker.go.set()
    said = await ended(shop, batch_id)
    assert said["job"]["status"] == "cancelled" and said["job"]["succeeded_images"] == 1
    assert [item["status"] for item in said["images"]] == ["completed", "failed", "failed"]
    assert said["refunds"][0]["amountSats"] == 8
    done = await bought(shop, batch("a cat"))
    await ended(shop, done)
    late = await shop.post(f"/api/jobs/{done}/cancel")
    refused(late, 409, "has ended")
    assert await audit(shop.built.db) == []


async def test_a_poll_says_what_changes(shop: Instance, maker: ScriptedMaker) -> None:
    """An ETag for each look, also of what is being made; held until the job goes on."""
    maker.go.clear()
    batch_id = await bought(shop, batch("a cat", "a dog"))
    first = await shop.http.get(f"/api/jobs/{batch_id}")
    assert int(first.headers["retry-after"]) >= 2
    while "preview" not in first.json()["images"][0]:
        tag = {"If-None-Match": first.headers["etag"]}
        later = await shop.http.get(f"/api/jobs/{batch_id}?wait=5", headers=tag)
        first = first if later.status_code == 304 else later
    assert first.json()["images"][0]["status"] == "processing"
    looks = first.json()["images"][0]["preview"]
    seen = await shop.http.get(looks)
    assert seen.headers["content-type"] == "image/png" and seen.content.startswith(b"\x89PNG")
    known = {"If-None-Match": seen.headers["etag"]}
    assert (await shop.http.get(looks, headers=known)).status_code == 304
    unmade, others = first.json()["images"][1], await bought(shop, batch("a bird"))
    assert "preview" not in unmade
    for path in (f"{batch_id}/previews/{unmade['id']}", f"{others}{looks[-42:]}"):
        refused(await shop.http.get(f"/api/jobs/{path}"), 404, "no preview")
    maker.go.set()
    said = await ended(shop, batch_id)
    assert "preview" not in said["images"][0]
    refused(await shop.http.get(looks), 404, "no preview")
    last = await shop.http.get(f"/api/jobs/{batch_id}")
    assert "retry-after" not in last.headers
    tag = {"If-None-Match": last.headers["etag"]}
    assert (await shop.http.get(f"/api/jobs/{batch_id}", headers=tag)).status_code == 304
    assert (await shop.http.get(f"/api/jobs/{batch_id}?wait=20", headers=tag)).status_code == 304
    page = (await shop.http.get(f"/api/jobs/{batch_id}?offset=1&limit=1")).json()
    assert [item["index_in_job"] for item in page["images"]] == [1] and page["nextOffset"] is None
    for bad in ("offset=501", "limit=0", "limit=x", "limit=1&limit=2", "wait=61"):
        refused(await shop.http.get(f"/api/jobs/{batch_id}?{bad}"), 400, "must be a whole number")


async def test_a_queued_job_knows_its_turn(
    database_url: str, tmp_path: Path, maker: ScriptedMaker
) -> None:
    """How many items are before its first, while nobody makes it."""
    maker.at_once = 1
    maker.go.clear()
    async with sold_by(database_url, tmp_path, maker) as shop:
        await bought(shop, batch("a", "b", "c"))
        async with asyncio.timeout(PATIENCE_S):
            while not maker.asked:
                await asyncio.sleep(0.01)
        second = await bought(shop, batch("d"))
        said = (await shop.http.get(f"/api/jobs/{second}")).json()
        assert said["job"]["status"] == "queued" and 1 <= said["queuePosition"] <= 3


async def test_what_is_wrong_is_told_before_anything_is_paid(shop: Instance) -> None:
    """A sentence that names the item and the field; also beside a proof, and of a quote."""
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"images": []}, "images"),
        ({"images": [{"prompt": "a"}] * 501}, "images"),
        ({"images": [{}]}, "images[0]: The field 'prompt' is missing."),
        ({"images": [{"prompt": " "}]}, "is empty"),
        ({"images": [{"prompt": "a\x00b"}]}, "U+0000"),
        ({"images": [{"prompt": "a"}, {"prompt": "b", "width": 255}]}, "images[1]"),
        ({"images": [{"prompt": "a", "model": "no-such"}]}, "isn't available here"),
        ({"images": [{"prompt": "a", "model": 7}]}, "must be a string"),
        ({"images": [{"prompt": "a", "duration": 5}]}, "'duration'"),
        ({"images": [{"prompt": "a"}], "job_type": "song"}, "job_type"),
        ({"images": [{"prompt": "a"}], "job_type": "video", "defaults": {"duration": 7}}, "5, 10"),
        ({"images": [{"prompt": "a"}], "defaults": {"prompt": "b"}}, "of its own"),
        ({"images": [{"prompt": "a", "width": 512}], "defaults": {"width": ""}}, "In defaults"),
        ({"images": [{"prompt": "a", "model": "scene-1"}], "defaults": {"model": "x"}}, "defaults"),
        ({"images": [{"prompt": "a"}], "request": "b"}, "request"),
        ({"images": [{"prompt": "a"}], "refundTo": "nowhere"}, ""),
    )  # fmt: skip
    for body, says in wrong:
        for path in ("/api/jobs", "/api/jobs/quote"):
            if path.endswith("quote") and "refundTo" in body:
                continue
            refused(await shop.post(path, body), 400, says)


async def test_files_are_of_their_job_and_kind(shop: Instance, maker: ScriptedMaker) -> None:
    """404 for another job's item, another kind, and what is not made yet; 410 after its time."""
    one, two = await bought(shop, batch("a")), await bought(shop, batch("b"))
    item = (await ended(shop, one))["images"][0]
    await ended(shop, two)
    for path in (
        f"/api/jobs/{two}/images/{item['id']}",
        f"/api/jobs/{one}/videos/{item['id']}",
        f"/api/jobs/{one}/images/{NOBODY}",
        f"/api/jobs/{NOBODY}/images/{item['id']}",
        f"/api/jobs/{one}/images/x",
    ):
        refused(await shop.http.get(path), 404)
    maker.go.clear()
    three = await bought(shop, batch("c"))
    item = (await shop.http.get(f"/api/jobs/{three}")).json()["images"][0]
    refused(await shop.http.get(f"/api/jobs/{three}/images/{item['id']}"), 404, "no file yet")


async def test_a_payer_has_only_so_much_under_way(shop: Instance, maker: ScriptedMaker) -> None:
    """Ten jobs that are paid for: the eleventh is a 429 with when to come back; offers are free."""
    maker.go.clear()
    for number in range(10):
        await bought(shop, batch(f"a cat, {number}"))
        await shop.post("/api/jobs", batch(f"an offer, {number}"))
        if number == 8:
            break
    await bought(shop, batch("the tenth"))
    full = await shop.post("/api/jobs", batch("one more"))
    refused(full, 429, "10 jobs under way")
    assert full.json()["code"] == "too_many_active" and int(full.headers["retry-after"]) > 0


async def test_five_are_submitted_in_a_minute(
    database_url: str, tmp_path: Path, maker: ScriptedMaker
) -> None:
    """A proof of what was offered is no submission: what is paid for is never refused."""
    async with sold_by(database_url, tmp_path, maker, SUBMISSIONS_PER_MINUTE="5") as shop:
        offers = [await shop.post("/api/jobs", batch(f"{n}")) for n in range(6)]
        assert [offer.status_code for offer in offers] == [402] * 5 + [429]
        assert int(offers[5].headers["retry-after"]) > 0
        proof = await proof_of(shop, offers[0])
        assert (await shop.post("/api/jobs", batch("0"), headers=proof)).status_code == 201


async def test_events_tell_each_item(shop: Instance) -> None:
    """All of it first, then what changes, until the end; 404 for what is not there."""
    batch_id = await bought(shop, batch("a cat", "REFUSE"))
    seen: dict[str, str] = {}
    status = ""
    async with shop.http.stream("GET", f"/api/jobs/{batch_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                said = json.loads(line.removeprefix("data: "))
                status = said["job"]["status"]
                seen |= {item["prompt"]: item["status"] for item in said["images"]}
    assert status == "completed" and seen == {"a cat": "completed", "REFUSE": "failed"}
    refused(await shop.http.get(f"/api/jobs/{NOBODY}/events"), 404)
    path = f"/api/jobs/{batch_id}/events"
    refused(await shop.http.get(path, params={"lastEventId": "the first"}), 400, "last event id")


async def test_a_key_names_one_offer(shop: Instance) -> None:
    """The same key and body is the same offer; another body is a 409; paid, it says so."""
    key = {"Idempotency-Key": "0123456789abcdef0123"}
    one, two = [await shop.post("/api/jobs", batch("a"), headers=key) for _ in range(2)]
    assert one.json()["paymentRequest"] == two.json()["paymentRequest"]
    refused(await shop.post("/api/jobs", batch("b"), headers=key), 409, "Idempotency-Key")
    await proof_of(shop, one)
    await ended(shop, one.json()["instance"].rpartition("/")[2])
    refused(await shop.post("/api/jobs", batch("a"), headers=key), 409, "is paid for")


async def test_an_accounts_job_is_its_own(shop: Instance) -> None:
    """To anybody else it is as unknown as one that is not there, whatever is asked of it."""
    batch_id = await bought(shop, batch("a cat", "REFUSE"))
    item = (await ended(shop, batch_id))["images"][0]["id"]
    login = await shop.post("/api/auth/login", {"username": "ann", "password": "a long password"})
    account_id = login.json()["accountId"]
    shop.http.cookies.clear()

    async def give(tx: Tx) -> None:
        given = "UPDATE batch SET account_id = %(account)s WHERE id = %(id)s"
        await tx.execute(given, account=account_id, id=batch_id)

    await shop.built.db.run("give", give)
    invoice = (await shop.post("/api/dev/stub/invoice", {"amountSats": 4})).json()
    for method, path, body in (
        ("GET", f"/api/jobs/{batch_id}", None),
        ("GET", f"/api/jobs/{batch_id}/images/{item}", None),
        ("GET", f"/api/jobs/{batch_id}/events", None),
        ("POST", f"/api/jobs/{batch_id}/cancel", None),
        ("POST", f"/api/jobs/{batch_id}/refund", {"invoice": invoice["paymentRequest"]}),
    ):
        refused(await shop.http.request(method, path, json=body), 404)
    unknown = await shop.http.get(f"/v1/generations/{batch_id}")
    assert unknown.status_code == 404 and unknown.json()["error"] == "not_found"
    looks = f"/api/jobs/{batch_id}/previews/{item}"
    refused(await shop.http.get(looks), 404, "no job with this id")
    mine = {"Cookie": login.headers["set-cookie"].partition(";")[0]}
    refused(await shop.http.get(looks, headers=mine), 404, "no preview")
    for path in (f"/api/jobs/{batch_id}", f"/api/jobs/{batch_id}/images/{item}"):
        assert (await shop.http.get(path, headers=mine)).status_code == 200
    token = {"Authorization": f"Bearer {mine['Cookie'].partition('=')[2]}"}
    assert (await shop.http.get(f"/v1/generations/{batch_id}", headers=token)).status_code == 200
