"""Notices of jobs, sessions and batches: asked for, sent, looked up and sent again, over HTTP."""

from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from db import webhook_log
from tests.world.house_fixtures import Instance
from tests.world.notice_server import NoticeServer, said
from tests.world.patience import PATIENCE_S, patiently
from tests.world.receivers import Sent, in_javascript, in_python

pytestmark = pytest.mark.one_instance

SECRET = "a-secret-of-the-buyers"


async def deliveries(house: Instance, notify: dict[str, Any], secret: str) -> dict[str, Any]:
    """Return what a webhook's log says to the holder of its secret."""
    answer = await house.http.get(notify["deliveries"], headers={"X-Webhook-Secret": secret})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_job_tells_of_its_price_and_of_its_end(instance: Instance) -> None:
    """Two notices, signed with the buyer's secret: both kinds of receivers accept them."""
    async with NoticeServer().running() as server:
        notify = {"url": server.url, "secret": SECRET}
        job = await instance.to_end("größe \U0001f30d", notify=notify)
        priced, ended = await server.until(2)
    assert priced.told["event"] == "job.awaiting_work_payment"
    assert priced.told["workInvoice"]["amountSats"] > 0
    told = ended.told
    assert told["event"] == "job.complete" and told["state"] == "complete"
    assert told["jobId"] == job["jobId"] and told["url"].endswith(f"/api/jobs/{job['jobId']}")
    assert told["result"].isascii()
    for came in (priced, ended):
        sent = [Sent(came.body, came.headers["x-webhook-signature"], SECRET)]
        assert in_javascript(sent) == in_python(sent) == [200]
        Webhook(SECRET.encode()).verify(came.body, came.headers)
        assert came.headers["content-type"] == "application/json"
        assert came.headers["webhook-id"] == came.told["noticeId"]


@pytest.mark.one_instance(False)
async def test_a_secret_that_is_made_is_shown_once(instance: Instance) -> None:
    """In the answer to whoever asked; the same request again is answered without it."""
    async with NoticeServer().running() as server:
        body = {"request": "hello", "notify": {"url": server.url}}
        name = {"Idempotency-Key": "0123456789abcdef0123"}
        made = (await instance.post("/api/jobs", body, headers=name)).json()
        again = (await instance.post("/api/jobs", body, headers=name)).json()
        assert made["jobId"] == again["jobId"]
        secret = made["notify"].pop("secret")
        assert made["notify"] == again["notify"]
        await instance.pay(made["evalInvoice"])
        [came] = await server.until(1)
    Webhook(secret).verify(came.body, came.headers)
    [kept] = await instance.built.db.read_all("SELECT sealed FROM webhook")
    assert secret not in str(kept)


async def test_the_log_is_opened_by_the_secret_and_by_no_id(instance: Instance) -> None:
    """Who knows the id of a job, or of its webhook, neither reads nor sends anything."""
    async with NoticeServer([said(500, b"<b>no</b>"), said(200, b"ok")]).running() as server:
        made = await instance.create("hello", notify={"url": server.url, "secret": SECRET})
        await instance.pay(made["evalInvoice"])
        await server.until(2)  # the second try comes a second later
        where = made["notify"]["deliveries"]
        for headers in ({}, {"X-Webhook-Secret": "another-secret"}):
            for answer in (
                await instance.http.get(where, headers=headers),
                await instance.post(f"{where}/redeliver", headers=headers),
                await instance.http.get(f"/api/notices/{'0' * 32}", headers=headers),
            ):
                assert answer.status_code == 401, answer.text
        await until_logged(instance, made["notify"], tries=2)
        told = await deliveries(instance, made["notify"], SECRET)
    assert told["about"] == made["jobId"] and told["topic"] == "job"
    [notice] = told["notices"]
    assert notice["state"] == "delivered" and notice["event"] == "job.awaiting_work_payment"
    assert [(t["number"], t["status"], t["said"]) for t in notice["tries"]] == [
        (1, 500, "<b>no</b>"),
        (2, 200, "ok"),
    ]


async def until_logged(instance: Instance, notify: dict[str, Any], tries: int) -> None:
    """Wait until so many tries are in the log of a webhook's first notice."""
    async for _ in patiently("it is not logged"):
        logged = await webhook_log.of_webhook(instance.built.db, notify["id"], 10)
        if logged and len(logged[-1].tried) >= tries:
            break


async def test_a_notice_is_sent_again_by_the_holder_of_the_secret(instance: Instance) -> None:
    """The same bytes under the same id, so that a receiver can drop it."""
    async with NoticeServer().running() as server:
        made = await instance.create("hello", notify={"url": server.url, "secret": SECRET})
        await instance.pay(made["evalInvoice"])
        await server.until(1)
        await until_logged(instance, made["notify"], tries=1)
        shown = {"X-Webhook-Secret": SECRET}
        where = f"{made['notify']['deliveries']}/redeliver"
        answer = await instance.post(where, headers=shown)
        assert answer.status_code == 202 and answer.json()["state"] == "wanted"
        first, second = await server.until(2)
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        none = await instance.post(where, {"noticeId": "0" * 32}, headers=shown)
        assert none.status_code == 404


async def test_a_session_tells_of_its_states(instance: Instance) -> None:
    """Active when its deposit is paid, expired when it is closed."""
    async with NoticeServer().running() as server:
        body = {"amount_sats": 500, "notify": {"url": server.url, "secret": SECRET}}
        made = (await instance.post("/api/sessions", body)).json()
        await instance.pay(made["invoice"])
        await server.until(1)
        shown = await instance.http.get(
            f"/api/sessions/{made['sessionId']}", params={"claim": made["claim"]}
        )
        macaroon = {"Authorization": f"Bearer {shown.json()['macaroon']}"}
        where = f"/api/sessions/{made['sessionId']}/close"
        assert (await instance.post(where, headers=macaroon)).status_code == 200
        active, expired = await server.until(2)
    assert active.told["event"] == "session.active" and active.told["balanceSats"] == 500
    assert expired.told["event"] == "session.expired" and expired.told["ended"] == "closed"


async def test_what_nobody_paid_for_is_told_to_nobody(instance: Instance) -> None:
    """Else whoever pays nothing could have any server asked, again and again for a day."""
    async with NoticeServer().running() as server:
        notify = {"url": server.url, "secret": SECRET}
        made = await instance.create("hello", notify=notify)
        assert (await instance.post(f"/api/jobs/{made['jobId']}/cancel")).status_code == 200
        assert (await instance.job(made["jobId"]))["state"] == "failed"
        told = await deliveries(instance, made["notify"], SECRET)
    assert told["notices"] == [] and server.came == []


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/hook", "https://10.0.0.1/hook", "https://[::ffff:10.0.0.1]/hook",
        "https://169.254.169.254/latest/meta-data", "https://0x7f.1/hook", "https://2130706433/",
        "https://user:word@shop.example/hook", "ftp://shop.example/", "https://shop/hook",
        "https://shop.onion/hook", "https://shop.example:0/", "file:///etc/passwd", "hook",
        "https://shop.example/\\@10.0.0.1/", "https://①②⑦.0.0.1/", "http://10.0.0.1/",
    ],
)  # fmt: skip
async def test_an_address_that_is_not_public_is_refused(instance: Instance, url: str) -> None:
    """Before anything is made, with a sentence that says why."""
    answer = await instance.post("/api/jobs", {"request": "hello", "notify": {"url": url}})
    assert answer.status_code == 400 and "The URL for notices" in answer.json()["error"]


@pytest.mark.parametrize("secret", ["short", "with a space in it", "x" * 201, "größe-größe"])
async def test_a_secret_that_is_none_is_refused(instance: Instance, secret: str) -> None:
    """The sentence says what one is, and does not repeat what was sent."""
    notify = {"url": "https://shop.example/hook", "secret": secret}
    answer = await instance.post("/api/jobs", {"request": "hello", "notify": notify})
    assert answer.status_code == 400 and "The secret for notices" in answer.json()["error"]
    assert secret not in answer.text


async def test_a_slow_receiver_holds_nobody_up_and_is_asked_one_thing_at_a_time(
    instance: Instance,
) -> None:
    """While he says nothing, others have theirs; and of his own, one is on its way."""
    async with NoticeServer([None]).running() as slow, NoticeServer().running() as quick:
        for _ in range(3):
            await instance.to_work_invoice("slow", notify={"url": slow.url})
        await slow.until(1)
        job = await instance.to_end("quick", notify={"url": quick.url})
        ended = (await quick.until(2))[-1]
        assert ended.told["jobId"] == job["jobId"]
        assert slow.most_at_once == 1


async def test_the_page_shows_the_log_to_the_holder_of_the_secret(instance: Instance) -> None:
    """Escaped, whatever a receiver says; to nobody else."""
    async with NoticeServer([said(200, b"<script>alert(1)</script>")]).running() as server:
        made = await instance.create("hello", notify={"url": server.url, "secret": SECRET})
        await instance.pay(made["evalInvoice"])
        await server.until(1)
        await until_logged(instance, made["notify"], tries=1)
        where = f"/notices/{made['notify']['id']}"
        form = {"Sec-Fetch-Site": "same-origin"}
        async with httpx2.AsyncClient(
            base_url=instance.url, verify=False, timeout=PATIENCE_S
        ) as browser:
            door = await browser.get(where)
            assert door.status_code == 200 and server.url not in door.text
            wrong = await browser.post(where, data={"secret": "another-one"}, headers=form)
            assert wrong.status_code == 401 and server.url not in wrong.text
            shown = await browser.post(where, data={"secret": SECRET}, headers=form)
            assert shown.status_code == 200 and "job.awaiting_work_payment" in shown.text
            assert "<script>alert" not in shown.text and "&lt;script&gt;alert(1)" in shown.text
            assert SECRET not in shown.text
            fields = {"secret": SECRET, "notice": ""}
            again = await browser.post(f"{where}/redeliver", data=fields, headers=form)
            assert again.status_code == 200 and "being sent again" in again.text
        await server.until(2)
