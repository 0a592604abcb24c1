"""GET /api/jobs/{id}/events: all that happens to a job, in order, each thing once."""

import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from app.promises.progress import Words
from db.job_events import tell_progress
from tests.world.contract import CONTRACT, refused
from tests.world.event_reader import SCHEMAS, STORY, Event, checked, watching
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import PATIENCE_S, patiently
from tests.world.scripted_agent import ScriptedAgent, Writing
from tests.world.session_fixtures import held

pytestmark = pytest.mark.one_instance


async def replayed(instance: Instance, job_id: str, last_id: str | None = None) -> list[Event]:
    """Return all that a job which has ended is told, from some event on."""
    async with watching(instance.http, job_id, last_id) as reader:
        return await reader.rest()


async def metric(instance: Instance, line: str) -> float:
    """Return a metric of this process."""
    text = (await instance.http.get("/metrics")).text
    found = [one.rpartition(" ")[2] for one in text.splitlines() if one.startswith(line + " ")]
    return float(found[0]) if found else 0.0


@pytest.fixture
async def ended(instance: Instance) -> dict[str, Any]:
    """A job that is complete."""
    return await instance.to_end("write a haiku")


async def test_a_watcher_is_told_the_whole_story(instance: Instance) -> None:
    """Each change is one event, with the job as it is; after the end the stream is closed."""
    made = await instance.create("hello")
    async with watching(instance.http, made["jobId"]) as reader:
        told = [await reader.next()]
        await instance.pay(made["evalInvoice"])
        told += [event := await reader.next() for _ in range(3)]
        assert event is not None
        await instance.pay(event.data["job"]["workInvoice"])
        told += await reader.rest()
        headers = reader.answer.headers
        assert 1_000 <= reader.retry_ms < 2_000
    events = checked([event for event in told if event is not None])
    assert [event.data["event"] for event in events] == STORY
    assert {event.name for event in events[:-1]} == {"state"} and events[-1].name == "end"
    assert events[-1].data["job"] == await instance.job(made["jobId"])
    assert headers["cache-control"] == "no-store, no-transform"
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["x-accel-buffering"] == "no" and "content-encoding" not in headers


async def test_a_replay_shows_the_job_in_its_newest_event_only(
    instance: Instance, ended: dict[str, Any]
) -> None:
    """How a job looked before is not known any more, and is not made up."""
    events = checked(await replayed(instance, ended["jobId"]))
    assert ["job" in event.data for event in events] == [False] * 5 + [True]
    assert [event.data["event"] for event in events] == STORY


async def test_a_stream_cut_anywhere_goes_on_where_it_was_cut(
    instance: Instance, ended: dict[str, Any]
) -> None:
    """At every byte: what was read whole before, and what comes after, is each event once."""
    job_id = ended["jobId"]
    path = f"/api/jobs/{job_id}/events"
    whole = (await instance.http.get(path)).content
    events = checked(await replayed(instance, job_id))
    resumed = {
        last: [event.id for event in await replayed(instance, job_id, last or None)]
        for last in ["", *(event.id or "" for event in events[:-1])]
    }
    resumed[events[-1].id or ""] = []
    for cut in range(len(whole) + 1):
        blocks = whole[:cut].decode(errors="ignore").split("\n\n")[:-1]
        read = [line[4:] for block in blocks for line in block.split("\n") if line[:4] == "id: "]
        last = read[-1] if read else ""
        assert read + resumed[last] == [event.id for event in events], cut


async def test_who_was_told_all_is_sent_home(instance: Instance, ended: dict[str, Any]) -> None:
    """After the end a browser comes back by itself: a 204 stops it, until something happened."""
    path = f"/api/jobs/{ended['jobId']}/events"
    answer = await instance.http.get(path, headers={"Last-Event-ID": "6"})
    assert answer.status_code == 204 and answer.content == b""
    sats = ended["costLedger"]["refundAmountSats"]
    mine = (await instance.post("/api/dev/stub/invoice", {"amountSats": sats})).json()
    claim = {"invoice": mine["paymentRequest"]}
    assert (await instance.post(f"/api/jobs/{ended['jobId']}/refund", claim)).status_code == 200
    events = checked(await replayed(instance, ended["jobId"], "6"), 7)
    assert [event.name for event in events] == ["state"] * (len(events) - 1) + ["end"]
    assert events[-1].data["job"]["costLedger"]["refundState"] == "paid"


async def test_of_what_is_not_kept_any_more_the_end_is_told(
    instance: Instance, ended: dict[str, Any]
) -> None:
    """A job whose history was dropped with its months has one event, with the job as it is."""
    job_id = ended["jobId"]
    with psycopg.connect(instance.built.db.url) as connection:
        connection.execute("DELETE FROM job_history WHERE job_id = %s", [job_id])
    [event] = checked(await replayed(instance, job_id), 6)
    assert (event.name, event.data["event"]) == ("end", "ended")
    assert event.data["job"] == await instance.job(job_id)


async def test_the_first_connection_names_its_place_in_the_query(
    instance: Instance, ended: dict[str, Any]
) -> None:
    """`lastEventId` does what the header does; a browser that comes back sends both."""
    async with watching(instance.http, ended["jobId"], lastEventId="4") as reader:
        assert [event.id for event in await reader.rest()] == ["5", "6"]
    async with watching(instance.http, ended["jobId"], "5", lastEventId="2") as reader:
        assert [event.id for event in await reader.rest()] == ["6"]


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "99", "9" * 30, "٣"])
async def test_an_id_of_no_event_is_refused(
    instance: Instance, ended: dict[str, Any], last_id: str
) -> None:
    """What this job has not had can't be gone on from."""
    path = f"/api/jobs/{ended['jobId']}/events"
    refused(await instance.http.get(path, params={"lastEventId": last_id}), 400, "last event id")


async def test_what_is_no_id_is_refused_where_another_counts(
    instance: Instance, ended: dict[str, Any]
) -> None:
    """Beside the header, or twice: it is not taken for right because it has no use."""
    path = f"/api/jobs/{ended['jobId']}/events"
    for headers, given in (({"Last-Event-ID": "1"}, ["x"]), ({}, ["1", "1"])):
        answer = await instance.http.get(path, params={"lastEventId": given}, headers=headers)
        refused(answer, 400, "last event id")


async def test_a_job_that_is_not_there_is_unknown(instance: Instance) -> None:
    """404 comes before any stream begins."""
    for job_id in ("0" * 32, "nothing"):
        refused(await instance.http.get(f"/api/jobs/{job_id}/events"), 404, "no job")


async def test_a_request_on_a_session_is_watched_like_a_job(instance: Instance) -> None:
    """Its id is a job's id."""
    holder = await held(instance)
    request_id = await holder.begun("hello")
    async with watching(instance.http, request_id) as reader:
        events = checked(await reader.rest())
    assert [event.data["event"] for event in events] == ["created", "begun", "finished"]
    assert events[-1].data["job"]["result"] == "done: hello"


async def test_two_hundred_watchers_cost_one_listener(
    instance: Instance, database_url_of_file: str
) -> None:
    """However many watch, one connection listens, and the database sees no more of them."""
    made = await instance.create("hello")
    async with AsyncExitStack() as stack:
        wide = httpx2.AsyncClient(
            base_url=instance.url, timeout=PATIENCE_S, limits=httpx2.Limits(max_connections=200)
        )
        await stack.enter_async_context(wide)
        readers = [
            await stack.enter_async_context(watching(wide, made["jobId"])) for _ in range(200)
        ]
        for reader in readers:
            assert (await reader.next() or Event("", {}, "")).id == "1"
        async with await psycopg.AsyncConnection.connect(database_url_of_file) as connection:
            rows = await (
                await connection.execute(
                    "SELECT application_name, count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid() GROUP BY 1"
                )
            ).fetchall()
        counts = {str(name): int(count) for name, count in rows}
        assert counts["boltwork signals"] == 1 and sum(counts.values()) < 25
        assert await metric(instance, "boltwork_streams_open") == 200
        await instance.post(f"/api/jobs/{made['jobId']}/cancel")
        rest = await asyncio.gather(*(reader.rest() for reader in readers))
    assert all([event.id for event in events] == ["2"] for events in rest)
    assert {event.name for events in rest for event in events} == {"end"}


async def test_a_silent_stream_beats(database_url: str, tmp_path: Path) -> None:
    """While nothing happens a comment says, again and again, that the stream lives."""
    async with instance_of(database_url, tmp_path, STREAM_BEAT_S=1) as instance:
        made = await instance.create()
        async with watching(instance.http, made["jobId"], "1") as reader:
            await reader.beats(2)


async def test_streams_are_limited(database_url: str, tmp_path: Path) -> None:
    """One too many for a caller is a 429, one too many for all a 503; both say when to come."""
    limits: dict[str, Any] = {"STREAMS_EACH": 2, "STREAMS_MOST": 3}
    async with instance_of(database_url, tmp_path, **limits, TRUSTED_PROXIES=1) as instance:
        path = f"/api/jobs/{(await instance.create())['jobId']}/events"
        async with AsyncExitStack() as stack:
            for caller in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
                first = {"X-Forwarded-For": caller}
                await stack.enter_async_context(instance.http.stream("GET", path, headers=first))
            for caller, status in (("192.0.2.1", 503), ("192.0.2.3", 503)):
                again = {"X-Forwarded-For": caller}
                refused(await instance.http.get(path, headers=again), status, "streams are open")
        while await metric(instance, "boltwork_streams_open"):
            await asyncio.sleep(0.02)
        async with AsyncExitStack() as stack:
            mine = {"X-Forwarded-For": "192.0.2.1"}
            for _ in range(2):
                await stack.enter_async_context(instance.http.stream("GET", path, headers=mine))
            answer = await instance.http.get(path, headers=mine)
            refused(answer, 429, "2 streams open")
            assert int(answer.headers["retry-after"]) > 0


async def test_what_happened_while_nobody_listened_is_told(
    instance: Instance, database_url_of_file: str
) -> None:
    """When the listening connection breaks, its watchers are told later, and nothing twice."""
    made = await instance.create()
    async with watching(instance.http, made["jobId"], "1") as reader:
        async with await psycopg.AsyncConnection.connect(
            database_url_of_file, autocommit=True
        ) as connection:
            async for _ in patiently("nobody listens"):
                cut = await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'boltwork signals'"
                )
                if cut.rowcount:
                    break
        await instance.post(f"/api/jobs/{made['jobId']}/cancel")
        assert [event.id for event in await reader.rest()] == ["2"]


async def test_who_does_not_read_is_dropped(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """A watcher that takes nothing is let go of with what waits for it; the others miss nothing."""
    made = await instance.to_work_invoice()
    job_id = made["jobId"]
    scripted_agent.go.clear()
    await instance.pay(made["workInvoice"])
    dropped = 'boltwork_stream_ends_total{how="dropped"}'
    before = await metric(instance, dropped)
    host, _, port = instance.url.removeprefix("http://").partition(":")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.connect((host, int(port)))
        deaf.sendall(f"GET /api/jobs/{job_id}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with watching(instance.http, job_id) as reader:
            await reader.until("state", "executing")
            reading = asyncio.create_task(reader.rest())
            start = 0
            while await metric(instance, dropped) == before:
                assert start < 32 * 1024 * 1024
                for _ in range(64):
                    words = Words(job_id, start, "x" * 7_000, 1, 1)
                    await tell_progress(instance.built.db, words.packed())
                    start += 7_000
            scripted_agent.go.set()
            told = await reading
    assert told[-1].name == "end"
    starts = [event.data["start"] for event in told[:-1]]
    assert starts == [7_000 * i for i in range(len(starts))] and start - starts[-1] < 70_000


async def test_what_an_agent_writes_is_told_as_it_writes(database_url: str, tmp_path: Path) -> None:
    """Partial text comes in order, with what it costs so far; the result is what it came to."""
    agent = Writing()
    async with instance_of(database_url, tmp_path, agent=agent) as instance:
        job = await instance.to_work_invoice("hello")
        await instance.pay(job["workInvoice"])
        async with watching(instance.http, job["jobId"]) as reader:
            await reader.until("state", "executing")
            told = []
            for word in ("Grüße, ", 'so "quoted"\n', "\x00 and ", "done."):
                agent.words.put_nowait(word)
                told.append(await reader.until("progress"))
            agent.words.put_nowait("")
            end = await reader.until("end")
        text = ""
        for event in told:
            assert event.id is None and CONTRACT.problems(SCHEMAS["JobProgress"], event.data) == []
            assert event.data["start"] == len(text)
            text += event.data["text"]
        assert end.data["job"]["result"] == text == 'Grüße, so "quoted"\n\ufffd and done.'
        costs = [event.data["costSats"] for event in told]
        assert costs == sorted(costs)
        assert 0 < costs[-1] <= end.data["job"]["costLedger"]["actualAmountSats"]


async def test_a_late_watcher_is_told_what_was_written_before(
    database_url: str, tmp_path: Path
) -> None:
    """Whoever comes in the middle is told all of it, and whoever saw a try that broke, the next."""
    agent = Writing()
    async with instance_of(database_url, tmp_path, agent=agent) as instance:
        job = await instance.to_work_invoice("hello")
        await instance.pay(job["workInvoice"])
        async with watching(instance.http, job["jobId"]) as first:
            for word in ("one ", "two "):
                agent.words.put_nowait(word)
                await first.until("progress")
            async with watching(instance.http, job["jobId"]) as late:
                assert (await late.until("progress")).data["text"] == "one two "
            agent.words.put_nowait("BREAK")
            agent.words.put_nowait("three")
            again = await first.until("progress")
            assert (again.data["start"], again.data["text"]) == (0, "three")
            agent.words.put_nowait("")
            assert (await first.until("end")).data["job"]["result"] == "three"
        assert agent.tries == 2
