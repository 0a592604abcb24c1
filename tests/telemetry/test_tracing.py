"""Traces: from a request to the promise it led to, and the call that kept it; else nothing."""

import asyncio
import subprocess
import sys

import httpx2
import pytest
from pydantic import ValidationError

from app.settings import Settings
from app.telemetry import tracing
from app.telemetry.logs import about
from statemachine.public_id import shown
from tests.world.messages_server import MessagesServer
from tests.world.patience import PATIENCE_S
from tests.world.served import bought, start, with_claude
from tests.world.server_process import COMMAND, ServerProcess
from tests.world.trace_collector import Collector, Span, collecting


def parent_of(span: Span, collector: Collector) -> Span:
    """Return the span that another was opened in."""
    [found] = [one for one in collector.spans if one.id == span.parent]
    return found


async def test_a_job_is_one_trace_from_promise_to_promise(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """Each promise of a job is a span of the job's own trace, with the calls that kept it in it;
    the requests about the job point there, and carry the id that their answer had."""
    with_claude(server, messages_server)
    async with collecting() as collector:
        server.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        await start(server)
        async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as http:
            job = await bought(http, "hello")
            lost = await http.get("/api/jobs/" + "0" * 32)
        assert await asyncio.to_thread(server.stop) == 0
    name = shown(job["jobId"])
    [judging], [working] = collector.named("promise Judge"), collector.named("promise Work")
    assert judging.trace == working.trace
    for span, call in ((judging, "agent judge"), (working, "agent work")):
        assert span.attributes["boltwork.job"] == name
        assert span.attributes["boltwork.outcome"] == "kept"
        [made] = collector.named(call)
        assert made.trace == span.trace and parent_of(made, collector) == span
    first, second = sorted(
        collector.named("rail create_invoice"), key=lambda span: span.trace == judging.trace
    )
    [asked] = collector.named("POST /api/jobs")
    assert parent_of(first, collector) == asked  # made while the buyer waits for it
    assert parent_of(second, collector).name == "promise CreateInvoice"
    assert asked.links == [judging.trace] and asked.attributes["boltwork.job"] == name
    assert asked.attributes["http.response.status_code"] == 201
    [missed] = [
        span
        for span in collector.named("GET /api/jobs/{id}")
        if span.attributes["http.response.status_code"] == 404
    ]
    assert missed.attributes["boltwork.request_id"] == lost.headers["x-request-id"]
    values = [value for span in collector.spans for value in span.attributes.values()]
    assert all(len(str(value)) < 60 for value in values)


def test_nothing_is_imported_that_nobody_asked_for() -> None:
    """Without a collector the packages for traces are not loaded: a start is no slower."""
    check = (
        "import sys, app.main, app.serving.run; from app.telemetry import tracing;"
        "tracing.configure(None);"
        "assert not any(name.startswith('opentelemetry.sdk') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, timeout=PATIENCE_S)


def test_without_a_collector_a_span_is_nothing() -> None:
    """Whoever marks a span need not know whether there is one."""
    with tracing.span("a") as outer, tracing.span_of("0" * 32, "b", tries=1) as inner:
        about(job="0" * 32)
        assert outer is None and inner is None
    tracing.close()


async def test_a_collector_that_is_away_holds_up_nobody(server: ServerProcess) -> None:
    """The server works, and stops, while its traces go nowhere."""
    server.command = COMMAND
    server.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    await start(server)
    async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as http:
        assert (await http.post("/api/jobs", json={"request": "hello"})).status_code == 201
    assert await asyncio.to_thread(server.stop) == 0


@pytest.mark.parametrize("url", ["collector:4318", "http://", "ftp://127.0.0.1/", "http://a b"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """A collector has an address over HTTP."""
    with pytest.raises(ValidationError):
        Settings.model_validate({"OTEL_EXPORTER_OTLP_ENDPOINT": url})
