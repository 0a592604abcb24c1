"""The stream over real server processes: killed, stopped, and with the agent in another one."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from tests.world.event_reader import STORY, Event, checked, watching
from tests.world.messages_server import WORK, MessagesServer, Reply
from tests.world.patience import PATIENCE_S
from tests.world.served import start, with_claude
from tests.world.server_process import ServerProcess

KILLED_AFTER = ("1", "3", "5")  # the ids of events: created, accepted, work paid


@asynccontextmanager
async def client_of(server: ServerProcess) -> AsyncIterator[httpx2.AsyncClient]:
    """Ask a server, as its buyer and as a watcher."""
    async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as http:
        yield http


async def pay(http: httpx2.AsyncClient, invoice: dict[str, Any] | None) -> None:
    """Pay an invoice, if there is one, with the stub's wallet."""
    if invoice is not None:
        await http.post(f"/api/dev/stub/pay/{invoice['paymentHash']}")


async def test_cut_by_a_crash_a_stream_loses_and_repeats_nothing(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """kill -9 in three states: with the last id the story goes on, each event once, and from any
    other id it is told again from there."""
    with_claude(server, messages_server)
    await start(server)
    told: list[Event] = []
    async with client_of(server) as http:
        job_id = (await http.post("/api/jobs", json={"request": "hello"})).json()["jobId"]
    while not told or told[-1].name != "end":
        last_id = told[-1].id if told else None
        async with client_of(server) as http, watching(http, job_id, last_id) as reader:
            async for event in reader.events():
                if event.name != "progress":
                    told.append(event)
                for kind in ("evalInvoice", "workInvoice"):
                    await pay(http, event.data.get("job", {}).get(kind))
                if event.id in KILLED_AFTER:
                    server.kill()
                    break
        if told[-1].id in KILLED_AFTER:
            await start(server)
    assert [event.data["event"] for event in checked(told)] == STORY
    async with client_of(server) as http:
        for place in range(len(told)):
            async with watching(http, job_id, str(place)) as reader:
                assert [e.id for e in await reader.rest()] == [e.id for e in told[place:]]
        done = {"Last-Event-ID": str(len(told))}
        answer = await http.get(f"/api/jobs/{job_id}/events", headers=done)
        assert answer.status_code == 204


async def test_a_stop_ends_streams_and_the_next_server_goes_on(server: ServerProcess) -> None:
    """An operator's stop closes each stream in order, at once; its watcher comes back."""
    await start(server)
    async with client_of(server) as http:
        made = (await http.post("/api/jobs", json={"request": "hello"})).json()
        async with watching(http, made["jobId"]) as reader:
            assert (await reader.next() or Event("", {}, None)).id == "1"
            stopped = asyncio.create_task(asyncio.to_thread(server.stop))
            assert await reader.rest() == []
        assert await stopped == 0
    await start(server)
    async with (
        client_of(server) as http,
        watching(http, made["jobId"], reader.last_id) as again,
    ):
        await http.post(f"/api/jobs/{made['jobId']}/cancel")
        assert [event.id for event in await again.rest()] == ["2"]


async def test_what_is_worked_on_elsewhere_is_watched_here(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """A server that keeps no promise tells what a worker beside it does, while it does it."""
    with_claude(server, messages_server)
    words = "word " * 400
    messages_server.script(WORK, Reply(text=words, pause_s=0.002))
    await asyncio.to_thread(server.start, "serve", "--no-worker")
    beside = ServerProcess(server.folder, **server.environment)
    await asyncio.to_thread(beside.start, "worker")
    try:
        async with client_of(server) as http:
            made = (await http.post("/api/jobs", json={"request": "hello"})).json()
            async with watching(http, made["jobId"]) as reader:
                rest = []
                async for event in reader.events():
                    rest.append(event)
                    for kind in ("evalInvoice", "workInvoice"):
                        await pay(http, event.data.get("job", {}).get(kind))
    finally:
        assert await asyncio.to_thread(beside.stop) == 0
    text = ""
    for event in rest:
        if event.name == "progress":
            assert event.data["start"] == len(text)
            text += event.data["text"]
    assert len(re.findall("word", text)) > 0 and words.startswith(text)
    assert rest[-1].name == "end" and rest[-1].data["job"]["result"] == words
