"""A whole Boltwork over real HTTP and a real Postgres, with the rail and the agent a test names."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from starlette.requests import Request

from app.agents.agent import Agent
from app.agents.chat import Chat
from app.main import assemble, build, utc_now
from app.plant import Built
from app.ports import Clock, Destinations, Executor, Receivers
from app.serving.run import listening
from app.settings import Settings
from app.trade.gathering import Fetch
from payments.rail import Rail
from payments.stub import StubRail
from pricing.authorities import authorities
from pricing.oracle import Oracle
from tests.world.contract import CONTRACT
from tests.world.patience import PATIENCE_S, patiently
from tests.world.scripted_agent import ScriptedAgent

USD = 1_000_000  # micro-USD
PEER = "198.51.100.7"
# Every test is the same caller, and some ask a hundred times.
UNLIMITED = {
    "ESTIMATES_PER_MINUTE": "0",
    "CREATES_PER_MINUTE": "0",
    "SUBMISSIONS_PER_MINUTE": "0",
    "CLAIMS_PER_MINUTE": "0",
    "ACCOUNTS_PER_HOUR": "0",
    "V1_REQUESTS_PER_15_MINUTES": "0",
    "KEY_REQUESTS_PER_MINUTE": "0",
    "KEY_REQUESTS_PER_DAY": "0",
    "WORKER_REQUESTS_PER_MINUTE": "0",
    "REQUEST_KB_PER_HOUR": "0",
    "REQUEST_KB_PER_HOUR_ALL": "0",
}


@dataclass
class Instance:
    """A running instance, and what a test does with it."""

    url: str
    built: Built
    http: httpx2.AsyncClient

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        """POST a JSON body."""
        return await self.http.post(path, json=body, **options)

    async def job(self, job_id: str) -> dict[str, Any]:
        """Return the job as a buyer sees it."""
        answer = await self.http.get(f"/api/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def create(self, request: str = "hello", **more: Any) -> dict[str, Any]:
        """Post a job and return it with its evaluation invoice."""
        answer = await self.post("/api/jobs", {"request": request, **more})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def pay(self, invoice: dict[str, Any], **body: Any) -> None:
        """Pay an invoice with the stub wallet."""
        answer = await self.post(f"/api/dev/stub/pay/{invoice['paymentHash']}", body)
        assert answer.status_code == 200, answer.text

    async def until(self, job_id: str, *states: str, field: str | None = None) -> dict[str, Any]:
        """Wait, by the server's own long poll, until a job is in a state and has a field."""
        etag, job = "", dict[str, Any]()
        # A poll is held while there is something to wait for: a final job's is not.
        async for look in patiently(f"it did not reach {states}", pause_s=0.01):
            answer = await self.http.get(
                f"/api/jobs/{job_id}", params={"wait": "5"}, headers={"If-None-Match": etag}
            )
            if answer.status_code == 304:
                continue
            look.saw = job = dict(answer.json())
            etag = answer.headers["etag"]
            if job["state"] in states and (field is None or field in job):
                break
        return job

    async def to_work_invoice(self, request: str = "hello", **more: Any) -> dict[str, Any]:
        """Bring a new job to its work invoice."""
        made = await self.create(request, **more)
        await self.pay(made["evalInvoice"])
        return await self.until(made["jobId"], "awaiting_work_payment", field="workInvoice")

    async def to_end(self, request: str = "hello", **more: Any) -> dict[str, Any]:
        """Buy a job to its end."""
        job = await self.to_work_invoice(request, **more)
        await self.pay(job["workInvoice"])
        return await self.until(job["jobId"], "complete", "failed")


class Given(Settings):
    """Settings that owe nothing to the environment of the test run: it isn't read."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what is given, and nothing else."""
        return (init_settings,)


def settings_for(folder: Path, **more: Any) -> Settings:
    """Return what an instance of a test is set to."""
    # The review of the books asks the rail for its balance: not beside tests that count its calls.
    quiet = {"BOLTWORK_DATA": folder, "SWEEP_S": 1, "WORKER_DEAD_AFTER_S": 2, "RECONCILE_S": 0}
    quiet["SETTLE_WAIT_S"] = 60  # a busy machine may take long, and whoever asks here waits
    quiet["HEALTH_S"] = 3600  # nor is it looked at again, unless a test wants to see it
    quiet["WORKER_CANARY_EVERY"] = 0  # nor is there anything that dice decide
    values = {**quiet, **UNLIMITED, **more}
    return Given.model_validate(values)


@contextlib.asynccontextmanager
async def instance_of(
    database_url: str,
    folder: Path,
    *,
    rail: Rail | None = None,
    agent: Agent | None = None,
    chat: Chat | None = None,
    oracle: Oracle | None = None,
    destinations: Destinations | None = None,
    receivers: Receivers | None = None,
    executors: Sequence[Executor] | None = None,
    fetch: Fetch | None = None,
    clock: Clock = utc_now,
    worker: bool = True,
    **settings: Any,
) -> AsyncIterator[Instance]:
    """Run an instance for as long as the block lasts. Every answer is held to the contract."""
    built = assemble(
        settings_for(folder, **settings),
        database_url,
        rail=rail or StubRail(folder / "stub.sqlite3", clock),
        agent=agent or ScriptedAgent(),
        chat=chat,
        oracle=oracle or fixed_oracle(clock),
        destinations=destinations,
        receivers=receivers,
        executors=executors,
        fetch=fetch,
        clock=clock,
    )
    async with (
        listening(build(built, worker=worker), "127.0.0.1", 0) as url,
        httpx2.AsyncClient(
            base_url=url,
            timeout=PATIENCE_S,
            event_hooks={"response": [CONTRACT.on_response]},
            verify=authorities(trust_env=False),
            trust_env=False,
        ) as http,
    ):
        async for _ in patiently("the application does not start", pause_s=0.01):
            with contextlib.suppress(httpx2.TransportError):
                await http.get("/api/healthz")
                break
        try:
            yield Instance(url, built, http)
        finally:
            built.signals.release()  # as where a server ends: who waits is answered, and no later


def fixed_oracle(clock: Clock) -> Oracle:
    """Return a real oracle with no sources and an operator's price of 100,000 USD."""
    return Oracle((), clock=clock, fallback_microusd=100_000 * USD, development_microusd=None)


@pytest.fixture(scope="module")
def agent_of_file() -> ScriptedAgent:
    """The agent of `instance_of_file`."""
    return ScriptedAgent()


def is_shared(request: pytest.FixtureRequest) -> bool:
    """Say whether a test has the instance that all tests of its file have."""
    said = request.node.get_closest_marker("one_instance")
    return said is not None and False not in said.args


@pytest.fixture
def scripted_agent(request: pytest.FixtureRequest) -> Iterator[ScriptedAgent]:
    """The agent of `instance`."""
    agent = request.getfixturevalue("agent_of_file") if is_shared(request) else ScriptedAgent()
    yield agent
    agent.forget()


@pytest.fixture
def instance(request: pytest.FixtureRequest, scripted_agent: ScriptedAgent) -> Instance:
    """A running instance with the stub rail and a scripted agent: the test's own, or that of all
    tests of a file which says `pytestmark = pytest.mark.one_instance`, but of those of them which
    count all that there is, or change it for others, and say `@pytest.mark.one_instance(False)`.
    """
    running = request.getfixturevalue(f"instance_of_{'file' if is_shared(request) else 'test'}")
    assert isinstance(running, Instance)
    return running


@pytest.fixture
async def instance_of_test(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> AsyncIterator[Instance]:
    """See `instance`."""
    async with instance_of(database_url, tmp_path, agent=scripted_agent) as running:
        yield running
        scripted_agent.go.set()  # whoever stops waits for work that was begun


@pytest.fixture(scope="module")
async def instance_of_file(
    database_url_of_file: str,
    tmp_path_factory: pytest.TempPathFactory,
    agent_of_file: ScriptedAgent,
) -> AsyncIterator[Instance]:
    """See `instance`. What one test does there, the next finds done."""
    folder = tmp_path_factory.mktemp("instance")
    async with instance_of(database_url_of_file, folder, agent=agent_of_file) as running:
        yield running
        agent_of_file.go.set()


def a_request() -> Request:
    """Return a request of somebody's."""
    return Request({"type": "http", "headers": [], "client": (PEER, 1), "state": {}})


async def readiness_of(instance: Instance) -> tuple[int, dict[str, Any]]:
    """Return the status and the body of a look at the readiness page."""
    answer = await instance.http.get("/api/readyz")
    return answer.status_code, dict(answer.json())


async def until_ready_is(instance: Instance, status: int, part: str) -> dict[str, Any]:
    """Look until the page has this status, and return what it says of a part."""
    body: dict[str, Any] = {}
    # The page has no way to tell by itself.
    async for look in patiently(f"never {status} for {part}", pause_s=0.1):
        code, body = await readiness_of(instance)
        if code == status and (body[part]["status"] == "ok") == (status == 200):
            break
        look.saw = body
    return dict(body[part])
