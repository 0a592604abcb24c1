"""kill -9 of the server in every state, then a start: the job goes on and ends, charged once."""

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from typing import Any

import httpx2
import psycopg
import pytest

from app.buyer.client import Client
from app.buyer.failures import Refused
from db.embedded import running_url
from tests.world.messages_server import CLIENT_KEY, JUDGE, WORK, MessagesServer, Reply
from tests.world.patience import PATIENCE_S
from tests.world.served import start, with_claude
from tests.world.server_process import COMMAND, ServerProcess

WHOLE_STORY = ["settled", "eval_earned", "settled", "charged"]
KEY = "5f3a9c0b7e21d48866aa01fe93bc27d4"  # an Idempotency-Key that nobody guesses


async def until(client: Client, job_id: str, state: str, field: str | None = None) -> Any:
    """Return the job once it is in a state."""
    async for job in client.watch(job_id):
        if job["state"] == state and (field is None or field in job):
            return job
    raise AssertionError(f"{job_id} ended before it was {state}")


def story(server: ServerProcess) -> list[str]:
    """Return what the books say happened, in order."""
    url = running_url(server.folder)
    assert url is not None
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT key FROM entry ORDER BY id").fetchall()
        kept = connection.execute("SELECT count(*) FROM account WHERE balance < 0").fetchone()
    assert kept == (0,)
    return [key.rpartition(":")[2] for (key,) in rows]


def is_used_up(server: ServerProcess) -> bool:
    """Say whether the stub rail has begun the call that it was told to be slow at."""
    with closing(sqlite3.connect(server.folder / "stub.sqlite3")) as stub:
        return stub.execute("SELECT 1 FROM faults WHERE times > 0").fetchone() is None


async def finish(server: ServerProcess, job_id: str) -> dict[str, Any]:
    """Bring a job to its end from wherever it stands, and look at the books."""
    async with Client(server.url) as client:
        job = await client.show(job_id)
        if "evalInvoice" in job:
            await client.stub_pay(job["evalInvoice"]["paymentHash"])
        if job["state"] != "executing" and job["state"] != "complete":
            job = await until(client, job_id, "awaiting_work_payment", "workInvoice")
            await client.stub_pay(job["workInvoice"]["paymentHash"])
        job = await until(client, job_id, "complete")
    assert story(server) == WHOLE_STORY
    return dict(job)


async def test_killed_while_nothing_is_paid(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """A job whose evaluation invoice is open goes on after a crash."""
    async with Client(await start(with_claude(server, messages_server))) as client:
        made = await client.create("hello")
    server.kill()
    await start(server)
    await finish(server, made["jobId"])


async def test_killed_while_evaluating(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """A job that an agent was reading is read again, and earns its fee once."""
    messages_server.script(JUDGE, Reply(hang=True))
    async with Client(await start(with_claude(server, messages_server))) as client:
        made = await client.create("hello")
        await client.stub_pay(made["evalInvoice"]["paymentHash"])
        await messages_server.wait_called(JUDGE)
    server.kill()
    await start(server)
    await finish(server, made["jobId"])


async def test_killed_while_the_work_invoice_is_open(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """A job that was priced goes on with the same invoice."""
    async with Client(await start(with_claude(server, messages_server))) as client:
        made = await client.create("hello")
        await client.stub_pay(made["evalInvoice"]["paymentHash"])
        before = await until(client, made["jobId"], "awaiting_work_payment", "workInvoice")
    server.kill()
    async with Client(await start(server)) as client:
        after = await client.show(made["jobId"])
    assert after["workInvoice"] == before["workInvoice"]
    await finish(server, made["jobId"])


async def test_killed_while_executing(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """Work that was paid for is done after a crash, and charged once."""
    messages_server.script(WORK, Reply(hang=True))
    async with Client(await start(with_claude(server, messages_server))) as client:
        made = await client.create("hello")
        await client.stub_pay(made["evalInvoice"]["paymentHash"])
        job = await until(client, made["jobId"], "awaiting_work_payment", "workInvoice")
        await client.stub_pay(job["workInvoice"]["paymentHash"])
        await messages_server.wait_called(WORK)
    server.kill()
    await start(server)
    job = await finish(server, made["jobId"])
    assert len(messages_server.called(WORK)) == 2


async def test_killed_while_the_invoice_is_made(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """A buyer who got no answer asks again with the same key, and has the one job."""
    url = await start(with_claude(server, messages_server))
    slow = {"call": "create_invoice", "fault": "slow", "delaySeconds": 60}
    async with Client(url) as client:
        await client.call("POST", "/api/dev/stub/faults", json=slow)
        asking = asyncio.create_task(client.create("hello", key=KEY))
        while not is_used_up(server):
            assert not asking.done(), asking.result()
            await asyncio.sleep(0.02)
        server.kill()
        assert isinstance((await asyncio.gather(asking, return_exceptions=True))[0], Exception)
    async with Client(await start(server)) as client:
        assert not await count_jobs(server)
        await client.call("DELETE", "/api/dev/stub/faults")
        made = await client.create("hello", key=KEY)
        assert await client.create("hello", key=KEY) == made
    await finish(server, made["jobId"])
    assert await count_jobs(server) == 1


async def test_killed_while_a_refund_is_in_flight(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """A refund that the rail was paying is looked up after a crash, and paid once."""
    url = await start(with_claude(server, messages_server))
    async with Client(url) as client:
        made = await client.create("hello")
    job = await finish(server, made["jobId"])
    owed = job["refunds"][0]["amountSats"]
    slow = {"call": "pay", "fault": "slow", "delaySeconds": 60}
    async with Client(url) as client:
        await client.call("POST", "/api/dev/stub/faults", json=slow)
        invoice = await client.stub_invoice(owed)
        claim = asyncio.create_task(client.refund(made["jobId"], invoice))
        while "sent" not in story(server):
            assert not claim.done(), claim.result()
            await asyncio.sleep(0.02)
        server.kill()
        assert isinstance((await asyncio.gather(claim, return_exceptions=True))[0], Exception)
    async with Client(await start(server)) as client:
        await client.call("DELETE", "/api/dev/stub/faults")
        shown = await client.show(made["jobId"])
        assert shown["costLedger"]["refundState"] in ("pending", "paid")
        other = await client.stub_invoice(owed)
        with pytest.raises(Refused) as refused:
            await client.refund(made["jobId"], other)
        assert refused.value.status == 409, refused.value
    assert story(server).count("sent") == 1


async def count_jobs(server: ServerProcess) -> int:
    """Return how many jobs the database holds."""
    url = running_url(server.folder)
    assert url is not None
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute("SELECT count(*) FROM job")).fetchone()
    assert row is not None
    return int(row[0])


async def test_sigterm_drains_and_stops_everything(server: ServerProcess) -> None:
    """An operator's stop ends the server and its Postgres, with exit code 0."""
    server.command = COMMAND
    await start(server)
    assert running_url(server.folder) is not None
    assert await asyncio.to_thread(server.stop) == 0
    assert running_url(server.folder) is None


async def test_a_worker_beside_the_server_shares_its_postgres(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """`serve --no-worker` with `worker` beside it on the same data finishes jobs."""
    with_claude(server, messages_server)
    await asyncio.to_thread(server.start, "serve", "--no-worker")
    beside = ServerProcess(server.folder, **server.environment)
    await asyncio.to_thread(beside.start, "worker")
    try:
        async with Client(server.url) as client:
            made = await client.create("hello")
        await finish(server, made["jobId"])
    finally:
        assert await asyncio.to_thread(beside.stop) == 0


async def test_no_log_line_holds_what_was_asked_or_who_may_pay(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """Requests, invoices, keys and results never reach the log."""
    server.environment["LOG_LEVEL"] = "debug"
    async with Client(await start(with_claude(server, messages_server))) as client:
        made = await client.create("a planted secret")
        async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as http:
            await http.post("/api/jobs", content=b'{"request": "another planted')
    await finish(server, made["jobId"])
    await asyncio.to_thread(server.stop)
    for secret in ("planted", CLIENT_KEY, made["evalInvoice"]["paymentRequest"], made["jobId"]):
        assert secret not in server.log


async def test_a_stop_does_not_wait_for_those_who_wait(server: ServerProcess) -> None:
    """A poll that is held is answered with what is known when the server is told to stop."""
    async with Client(await start(server)) as client:
        made = await client.create("hello")
        path = f"/api/jobs/{made['jobId']}"
        async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as http:
            first = await http.get(path)
            held = asyncio.create_task(
                http.get(
                    path, params={"wait": "60"}, headers={"If-None-Match": first.headers["etag"]}
                )
            )
            for _ in range(10):  # sent after the held one, and answered: so that one is being held
                await http.get(path)
            stopped = asyncio.create_task(asyncio.to_thread(server.stop))
            assert (await held).status_code == 304
            assert await stopped == 0


async def test_who_sends_buyers_has_time_to_send_them_elsewhere(server: ServerProcess) -> None:
    """Told to stop, it says at once that it is not ready, and sells as before until it is told
    again, or the delay is over.
    """
    server.environment["SHUTDOWN_DELAY_S"] = "300"
    async with (
        Client(await start(server)) as client,
        httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as http,
    ):
        await client.create("before")
        os.kill(server.pid, signal.SIGTERM)
        while (told := await http.get("/api/readyz")).json().get("leaving") is not True:
            pass
        assert told.status_code == 503 and told.headers["retry-after"] and told.json()["error"]
        await client.create("meanwhile")
    assert await asyncio.to_thread(server.stop) == 0
