"""Those who lend machines, over HTTP: what waits for them, what they bring, and what they earn."""

import asyncio
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256

from app.trade.lending import unlike
from db.artifacts import Artifact
from db.audit import audit
from tests.world.batch_doors import ended
from tests.world.house_fixtures import Instance
from tests.world.lending_fixtures import (
    ASKS,
    AT,
    SIDE,
    Lender,
    buys,
    lends,
    open_house,
    painted,
    refused,
)

__all__ = ["open_house"]


async def test_a_picture_is_claimed_made_and_paid_for(open_house: Instance) -> None:
    """A worker sees the input and its pay; it is heard of, brings the file, and is paid once."""
    lender = await lends(open_house)
    waits = asyncio.create_task(lender.one())
    bought_id = await buys(open_house, "a red boat")
    lease = await waits
    asked = lease["input"]
    assert (asked["model"], asked["prompt"], asked["width"]) == ("scene-1", "a red boat", SIDE)
    assert set(lease) == {"leaseId", "input", "pay", "until", "deadline"}
    item = (await open_house.http.get(f"/api/jobs/{bought_id}")).json()["images"][0]
    assert item["id"] not in str(lease) and bought_id not in str(lease)

    beat = await lender.says(lease, "heartbeat", progress=40, preview=b64encode(painted()).decode())
    assert beat.json()["command"] == "continue" and beat.json()["until"] >= lease["until"]
    me = await lender.me()
    assert me["leases"] == [{**lease, "until": beat.json()["until"]}]
    item = (await open_house.http.get(f"/api/jobs/{bought_id}")).json()["images"][0]
    assert item["progress"] == 40
    seen = await open_house.http.get(item["preview"])
    assert seen.headers["content-type"] == "image/png"

    data, pay = painted(), lease["pay"]["msat"]
    digest = f"sha-256=:{b64encode(sha256(data).digest()).decode()}:"
    for _ in range(2):  # the same file again is the same answer
        taken = await lender.brings(lease, data, **{"Content-Digest": digest})
        assert taken.json() == {"accepted": True, "earned": {"msat": pay}}
    other = await lender.brings(lease, painted("blue"))
    refused(other, 409, "already_submitted")

    job = await ended(open_house, bought_id)
    assert job["job"]["status"] == "completed"
    assert job["images"][0]["madeBy"] == "network"
    me = await lender.me()
    assert (me["delivered"], me["leases"]) == (1, [])
    assert me["earnings"]["msat"] == {
        "earned": pay, "held": pay // 2, "free": pay - pay // 2, "sending": 0, "paid": 0,
        "forfeited": 0,
    }  # fmt: skip
    [rate] = (await open_house.http.get(f"{AT}/market")).json()["rates"]
    assert (rate["model"], rate["items"], rate["medianPay"]) == ("scene-1", 1, {"msat": pay})
    assert [finding.line for finding in await audit(open_house.built.db)] == []


async def test_pay_is_sent_to_its_destination(open_house: Instance) -> None:
    """What is free is taken out by the one payout engine; the same request again takes nothing."""
    lender = await lends(open_house)
    await buys(open_house, "a boat", "a tree")
    for colour in ("red", "blue"):
        assert (await lender.brings(await lender.one(), painted(colour))).status_code == 200
    free = (await lender.me())["earnings"]["msat"]["free"]
    too_much = await lender.asks("POST", f"{AT}/me/payouts", json={"amountSats": free // 1_000 + 1})
    refused(too_much, 402, "insufficient_balance")
    key = {"Idempotency-Key": "pay me, and pay me once"}
    for _ in range(2):
        asked = await lender.asks("POST", f"{AT}/me/payouts", json={"amountSats": 1}, headers=key)
        assert asked.status_code == 201, asked.text
    [payout] = (await lender.me())["payouts"]
    assert (payout["msat"], payout["to"]) == (1_000, "you@example.org")
    assert (await lender.me())["earnings"]["msat"]["free"] == free - 1_000
    assert [finding.line for finding in await audit(open_house.built.db)] == []


async def test_what_is_not_what_was_asked_for_is_refused(open_house: Instance) -> None:
    """Its size, its type, its digest, or that it can't be read; the lease is still the worker's."""
    lender = await lends(open_house)
    await buys(open_house, "a boat")
    lease = await lender.one()
    refused(await lender.brings(lease, painted(side=256)), 422, "result_refused")
    refused(await lender.brings(lease, b"no picture"), 422, "result_refused")
    refused(await lender.brings(lease, painted(), "text/html"), 415, "media_type_unknown")
    for digest in (f"sha-256=:{b64encode(sha256(b'x').digest()).decode()}:", "md5=x"):
        given = await lender.brings(lease, painted(), **{"Content-Digest": digest})
        refused(given, 400, "bad_request")
    refused(await lender.says(lease, "heartbeat", preview="no base64"), 400, "bad_request")
    assert (await lender.me())["earnings"]["msat"]["earned"] == 0
    assert (await lender.brings(lease, painted())).status_code == 200


def test_what_was_bought_as_a_run_of_a_tool_is_held_to_its_size_too() -> None:
    """Its row keeps width and height among the inputs."""
    now = datetime.now(UTC)
    made = Artifact("0" * 32, "image/png", "0" * 64, 9, 512, 256, None, now, now)
    asked = {"prompt": "a boat", "width": 512, "height": 256}
    for right in ({"model": "chroma", "inputs": asked}, {"model": "chroma", **asked}):
        assert unlike(right, made) is None
    for wrong in ({"model": "chroma", "inputs": asked | {"width": 256}}, {"model": "qr-code"}):
        assert unlike(wrong, made) is not None


async def test_what_fails_is_another_workers_turn(open_house: Instance) -> None:
    """Never the same item to the same worker twice; what was not begun is given back."""
    first, second = await lends(open_house), await lends(open_house, "another")
    bought_id = await buys(open_house, "a boat")
    lease = await first.one()
    for _ in range(2):
        assert (await first.says(lease, "fail", reason="no memory")).json() == {"ok": True}
    nothing = await first.claim()
    assert nothing["leases"] == []
    assert [each["reason"] for each in nothing["noMatch"]] == ["nothing_waits"]
    refused(await first.says(lease, "heartbeat"), 409, "lease_lost")
    refused(await first.brings(lease, painted()), 409, "lease_lost")
    lease = await second.one()
    refused(await first.says(lease, "heartbeat"), 404, "lease_unknown")
    assert (await second.brings(lease, painted())).status_code == 200
    assert (await ended(open_house, bought_id))["job"]["status"] == "completed"
    refused(await first.says({"leaseId": "x"}, "release"), 404, "lease_unknown")


async def test_what_was_not_begun_is_given_back(open_house: Instance) -> None:
    """A worker may do so, and the item has lost no try by it."""
    lender = await lends(open_house)
    await buys(open_house, "a boat")
    lease = await lender.one()
    for _ in range(2):
        assert (await lender.says(lease, "release")).json() == {"ok": True}
    assert (await lender.claim())["leases"] == []


async def test_a_worker_is_told_why_it_is_given_nothing(open_house: Instance) -> None:
    """A model that nobody knows, a machine that is too small, and more than it may hold."""
    lender = await lends(open_house)
    told = await lender.claim(models=["sd-9", "caption", "scene-1"], maxPixels=512 * 512)
    assert [(each["reason"], each.get("model")) for each in told["noMatch"]] == [
        ("model_unknown", "sd-9"),
        ("model_unknown", "caption"),
        ("too_small", "scene-1"),
    ]
    await buys(open_house, "a boat", "a tree", "a house")
    [told] = (await lender.claim(minSats=1_000_000))["noMatch"]
    assert (told["reason"], told["model"]) == ("pays_less", "scene-1")
    assert len((await lender.claim(most=8, minSats=1))["leases"]) == 2
    told = await lender.claim()
    assert [each["reason"] for each in told["noMatch"]] == ["holds_enough"]


async def test_a_worker_that_is_paused_is_given_nothing(open_house: Instance) -> None:
    """One that drains finishes what it holds; its name and its destination may change."""
    lender = await lends(open_house)
    await buys(open_house, "a boat")
    lease = await lender.one()
    changed = await lender.asks("PATCH", f"{AT}/me", json={"state": "draining", "name": "mine"})
    assert (changed.json()["state"], changed.json()["name"]) == ("draining", "mine")
    assert (await lender.says(lease, "heartbeat")).json()["command"] == "drain"
    claims = await lender.asks("POST", f"{AT}/claims", json=ASKS)
    refused(claims, 403, "worker_paused")
    assert (await lender.brings(lease, painted())).status_code == 200
    body = {"state": "online", "payTo": "me@example.org"}
    changed = await lender.asks("PATCH", f"{AT}/me", json=body)
    assert (changed.json()["state"], changed.json()["payTo"]) == ("online", "you@example.org")
    assert changed.json()["next"]["payTo"] == "me@example.org"
    wrong = await lender.asks("PATCH", f"{AT}/me", json={"payTo": "nowhere"})
    refused(wrong, 400, "bad_request")


async def test_nobody_else_has_a_workers_token(open_house: Instance) -> None:
    """Neither a token that is none, nor an account's key; and it opens no account."""
    lender = await lends(open_house)
    assert lender.token not in str(await lender.me())
    account = await lender.asks("GET", "/api/account")
    refused(account, 401, "credential_invalid")
    assert "API key" in account.json()["error"]
    for token in ("wk_1", "0" * 64, lender.token[:-1] + "!"):
        refused(await Lender(open_house, token).asks("GET", f"{AT}/me"), 401, "worker_unknown")
    refused(await open_house.http.get(f"{AT}/me"), 401, "worker_unknown")


async def test_where_no_workers_are_taken_nobody_lends(instance: Instance) -> None:
    """What is to be made is shown to nobody, unless the operator says so."""
    made = await instance.post(AT, {"name": "mine", "payTo": "you@example.org"})
    refused(made, 409, "not_possible_now")
