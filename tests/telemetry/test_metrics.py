"""/metrics: each state, promise and call has its number, and the dashboard asks for no other."""

import asyncio
import json
import re
from collections import defaultdict
from pathlib import Path

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.main import utc_now
from app.plant import books_of
from app.serving.run import listening
from db.unused_port import unused_port
from pricing.oracle import Oracle, parse_sources
from statemachine.job import JobState
from statemachine.promises import KINDS
from statemachine.session import SessionState
from tests.world.house_fixtures import Instance, instance_of
from tests.world.messages_server import MessagesServer
from tests.world.patience import PATIENCE_S
from tests.world.scripted_agent import ScriptedAgent
from tests.world.served import start, with_claude
from tests.world.server_process import ServerProcess
from tests.world.session_fixtures import held

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana.json"
OURS = re.compile(r"\b(?:boltwork|process)_[a-z0-9_]+")


class Numbers:
    """What an instance tells: name of a sample, to its labels, to its value."""

    def __init__(self, text: str) -> None:
        self.samples: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
        self.families: set[str] = set()
        self.documented: dict[str, str] = {}
        for family in text_string_to_metric_families(text):
            self.documented[family.name] = family.documentation
            counts = family.type == "counter"
            self.families |= {f"{family.name}_total" if counts else family.name}
            for sample in family.samples:
                self.samples[sample.name][tuple(sample.labels.values())] = sample.value

    def of(self, name: str, *labels: str) -> float:
        """Return the value of a sample with these labels, in any order; 0 when it is not there."""
        for found, value in self.samples[name].items():
            if sorted(found) == sorted(labels):
                return value
        return 0


async def numbers(instance: Instance) -> Numbers:
    """Return what an instance tells now."""
    return Numbers((await instance.http.get("/metrics")).text)


async def test_a_jobs_promises_and_calls_are_counted(instance: Instance) -> None:
    """A job is three promises kept, two invoices, one verdict and one work; each was timed.

    The first invoice is no promise: it is made before the job is there.
    """
    before = await numbers(instance)
    await instance.to_end("hello")
    after = await numbers(instance)

    def rise(name: str, *labels: str) -> float:
        return after.of(name, *labels) - before.of(name, *labels)

    # A job may be seen to have ended before its promise is counted as kept.
    async with asyncio.timeout(PATIENCE_S):
        while not rise("boltwork_promises_total", "Work", "kept"):
            after = await numbers(instance)
    for kind in ("CreateInvoice", "Judge", "Work"):
        assert rise("boltwork_promises_total", kind, "kept") == 1
        assert rise("boltwork_promise_seconds_count", kind) == 1
    assert rise("boltwork_calls_total", "rail", "create_invoice", "opened") == 2
    assert rise("boltwork_calls_total", "agent", "judge", "accepted") == 1
    assert rise("boltwork_calls_total", "agent", "work", "result") == 1
    assert rise("boltwork_call_seconds_count", "agent", "work") == 1


async def test_a_promise_that_must_be_tried_again_is_counted_so(instance: Instance) -> None:
    """An agent that is busy once: each of its promises is tried again once, and kept once."""
    before = await numbers(instance)
    await instance.to_end("FLAKY")
    name = "boltwork_promises_total"
    for kind in ("Judge", "Work"):
        for outcome in ("again", "kept"):
            now = await numbers(instance)
            # A job may be seen to have ended before its promise is counted as kept.
            async with asyncio.timeout(PATIENCE_S):
                while now.of(name, kind, outcome) == before.of(name, kind, outcome):
                    now = await numbers(instance)
            assert now.of(name, kind, outcome) - before.of(name, kind, outcome) == 1


async def test_the_wait_of_a_promise_is_told_by_the_task_engines_own_clock(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """While a promise is being kept it is known how long it had been due."""
    made = await instance.create("hello")
    scripted_agent.go.clear()
    await instance.pay(made["evalInvoice"])
    await scripted_agent.begun.wait()
    waited_s = instance.built.outbox.waited_s(f"{made['jobId']}:judge")
    assert waited_s is not None and 0 <= waited_s < 60
    scripted_agent.go.set()
    assert instance.built.outbox.waited_s("nothing") is None


async def test_every_state_has_a_number(instance: Instance) -> None:
    """After a review of the books: jobs, sessions and promises by state, zeroes too, and money."""
    await held(instance, 2_000)
    await instance.create("hello")
    await books_of(instance.built).turn()
    told = await numbers(instance)
    assert {labels[0] for labels in told.samples["boltwork_jobs"]} == {*JobState}
    assert {labels[0] for labels in told.samples["boltwork_sessions"]} == {*SessionState}
    assert {labels[0] for labels in told.samples["boltwork_promises_waiting"]} == {
        kind.__name__ for kind in KINDS
    }
    assert told.of("boltwork_jobs", "awaiting_eval_payment") == 1
    assert told.of("boltwork_sessions", "active") == 1
    assert told.of("boltwork_sessions_msat") == 2_000_000


async def test_prices_tell_their_age_and_their_failures(database_url: str, tmp_path: Path) -> None:
    """Each source has its last price and how often it gave none; so has what they agreed on."""

    async def price(request: Request) -> JSONResponse:
        return JSONResponse({"usd": 90_000})

    async with listening(Starlette(routes=[Route("/", price)]), "127.0.0.1", 0) as url:
        sources = ",".join(f"{name}={url}/#usd" for name in ("one", "two", "three"))
        oracle = Oracle(
            parse_sources(f"{sources},down=http://127.0.0.1:9/#usd"),
            clock=utc_now,
            fallback_microusd=None,
            development_microusd=None,
        )
        async with instance_of(database_url, tmp_path, oracle=oracle) as instance:
            await instance.create("hello")
            told = await numbers(instance)
    assert told.of("boltwork_btc_price_usd") == 90_000
    assert 0 <= told.of("boltwork_btc_price_age_seconds") < 60
    assert told.of("boltwork_price_source_usd", "one") == 90_000
    assert 0 <= told.of("boltwork_price_source_age_seconds", "two") < 60
    assert told.of("boltwork_price_source_failures_total", "down") == 1
    assert told.of("boltwork_price_source_failures_total", "three") == 0


async def test_the_dashboard_asks_for_what_is_told(instance: Instance) -> None:
    """Each query of docs/grafana.json names metrics that this server has, with their labels."""
    holder = await held(instance)
    await holder.asked("hello")
    await instance.to_end("hello")
    await books_of(instance.built).turn()
    told = await numbers(instance)
    names = told.families | set(told.samples)
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(queries) > 25
    asked = {name for query in queries for name in OURS.findall(query)}
    assert asked - names == set()
    shown = {re.sub(r"_bucket$", "", name) for name in asked}
    assert {name for name in told.families if name.startswith("boltwork_")} - shown == set()


async def test_what_is_told_is_said_in_words_and_names_nobody(instance: Instance) -> None:
    """Every metric has a sentence, and no label holds an id, an address or a text."""
    job = await instance.to_end("a planted word")
    await instance.http.get(f"/planted/{job['jobId']}")
    told = await numbers(instance)
    for name, sentence in told.documented.items():
        if name.startswith("boltwork_"):
            assert sentence and not sentence.endswith("."), name
    text = (await instance.http.get("/metrics")).text
    assert "planted" not in text and job["jobId"][:12] not in text and "127.0.0.1" not in text


async def test_a_worker_tells_its_own_metrics(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """`boltwork worker` answers /metrics, and nothing else, where it is told to."""
    with_claude(server, messages_server)
    await start(server)
    port = unused_port()
    beside = ServerProcess(server.folder, **server.environment, METRICS_PORT=str(port))
    await asyncio.to_thread(beside.start, "worker")
    try:
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S
        ) as http:
            assert "boltwork_rail_push_up" in (await http.get("/metrics")).text
            assert (await http.get("/api/healthz")).status_code == 404
    finally:
        assert await asyncio.to_thread(beside.stop) == 0
