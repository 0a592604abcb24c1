"""What a fuzzer meets: a server process, and things that are really there, one in each state.

Their names go into the fuzzer's dictionaries, so that it does not only ask for what is not there;
and their credentials are shown with them, by those rounds that have any.
"""

import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml

from app.buyer.answer_fields import Invoice
from app.buyer.client import FINAL, Client
from db.audit import audit
from db.engine import Database
from tests.runs import fuzz_lenders, fuzz_people
from tests.runs.crash_run import Databases
from tests.runs.crash_server import ForkedServer
from tests.runs.crash_world import StubSide
from tests.runs.fuzz_market import Market, furnish
from tests.world.contract import FILE
from tests.world.gemini_server import CLIENT_KEY, GeminiServer
from tests.world.patience import PATIENCE_S
from tests.world.pay_server import PayServer
from tests.world.paying import credential, payment_in

KNOWN_S = 3600
NOWHERE = "nobody@127.0.0.1:9"  # a destination at which nobody answers
NOWHERE_TO_TELL = "http://127.0.0.1:9/hook"  # where nobody listens
TOOLS = ["qr-code", "text-to-image", "resize", "no-such"]
REFUNDS = ["surplus", "not-done", "not-evaluated", "unspent"]
DEPOSIT_SATS = 10_000
EXAMPLE_KEY = "2c9f6e1b7d8a40f3b5e0c4d2a1968753"
ENDS = ("/api/sessions/{id}/close", "/api/sessions/{id}/revoke")
VISITOR = "boltwork_visitor"
ASKED = "Write a haiku about channels."  # as the contract's example has it
EXAMPLE_JOB, EXAMPLE_SESSION = (
    "f47ac10b58cc4372a5670e02b2c3d479",
    "0f6f2b8e9b1c4c7d8d1b6a1f3f0e5a77",
)

# A request, and how many of its invoices are paid.
JOBS = (
    ("do this", 2), ("wait for me", 0), ("REJECT", 1), ("price this", 1), ("do that", 2),
    ("BREAK-JUDGE", 1), ("BREAK-WORK", 2),
)  # fmt: skip
LIMITED = {
    "WORKER_REQUESTS_PER_MINUTE": "60",
    "ESTIMATES_PER_MINUTE": "30", "CREATES_PER_MINUTE": "60", "CLAIMS_PER_MINUTE": "20",
}  # fmt: skip
EXAMPLE_POPPED = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
LASTING, EXPENDABLE = 4, 2  # sessions that stay open, and that may be closed


@dataclass
class Names:
    """What things are called, by the parts of the surface that call them so."""

    jobs: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)  # jobs
    hashes: list[str] = field(default_factory=list)
    invoices: list[str] = field(default_factory=list)  # the buyer's, of amounts that are owed
    sessions: list[str] = field(default_factory=list)
    expendable: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    conversations: list[int] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)  # of tools
    pictures: list[str] = field(default_factory=list)  # by the tier


@dataclass
class World:
    """A running server, and what it holds."""

    server: ForkedServer
    side: StubSide
    destination: str
    database_url: str
    names: Names = field(default_factory=Names)
    macaroons: dict[str, str] = field(default_factory=dict)  # by session
    cookie: str = ""  # of the visitor who has the conversations
    credentials: list[str] = field(default_factory=list)  # of MPP: one that holds, and others
    market: Market = field(default_factory=Market)
    people: fuzz_people.People = field(default_factory=fuzz_people.People)
    lenders: fuzz_lenders.Lenders = field(default_factory=fuzz_lenders.Lenders)

    @property
    def url(self) -> str:
        """Where the server listens."""
        return self.server.url

    def document(self) -> dict[str, Any]:
        """Return the contract, whose examples name things that are there."""
        text = re.sub(r"\blnbc\w+…", self.names.invoices[0], FILE.read_text())
        text = re.sub(r"\bAgEJ\w+…", self.macaroons[self.names.expendable[0]], text)
        text = text.replace("you@example.org", self.destination)
        text = text.replace(EXAMPLE_JOB, self.names.jobs[0])
        text = text.replace(
            f"id: {EXAMPLE_POPPED}, generation", f"id: {self.lenders.job}, generation"
        )
        # A key that is used again and again answers 409, and nothing else is learnt.
        named_key = f"      example: {EXAMPLE_KEY}\n"
        assert named_key in text
        text = text.replace(named_key, "")
        document = yaml.safe_load(text.replace(EXAMPLE_SESSION, self.names.sessions[0]))
        named = document["components"]["parameters"]["SessionId"]
        for path in ENDS:
            # Not the session that the others need.
            [operation] = document["paths"][path].values()
            operation["parameters"][0] = named | {"example": self.names.expendable[0]}
        return dict(document)

    def parameters(self) -> dict[str, dict[str, list[Any]]]:
        """Return the values that parameters take, by the addresses that they are in."""
        names, market, people = self.names, self.market, self.people
        return {
            "^/api/jobs/.*/events$": {"path.id": names.ended + market.ended},
            "^/api/jobs/[^/]*(/(refund|cancel|receipt))?$": {
                "path.id": names.jobs + market.batches,
            },
            "^/api/jobs/.*/(images|videos|previews)/": {
                "path.id": market.batches, "path.itemId": market.items,
            },
            "^/v1/generations/": {"path.id": market.generations + market.batches},
            "^/api/auth/logins/": {"path.id": market.logins},
            "^/api/lnurl/": {"path.id": [*names.jobs, *names.sessions], "path.which": REFUNDS},
            "^/api/sessions/.*/(close|revoke)$": {"path.id": names.expendable},
            "^/api/sessions/.*/refund$": {"path.id": [*names.expendable, *names.sessions]},
            "^/api/sessions/[^/]*(/(request|requests/.*|topup))?$": {
                "path.id": names.sessions, "path.requestId": names.requests,
            },
            "^/api/gemini/": {"path.id": names.conversations},
            "^/api/v1/generations/status/": {"path.id": names.runs},
            "^/api/v1/jobs/": {"path.id": names.pictures},
            "^/api/v1/tools/": {"path.toolId": TOOLS},
            "^/api/v1/user/apikeys/": {"path.keyId": people.keys},
            "^/api/v1/spells/casts/": {"path.id": people.casts},
            "^/api/v1/spells/[^/]*(/quote)?$": {"path.slug": people.slugs},
            "^/api/v1/artifacts/": {"path.id": people.artifacts},
            "^/api/v1/wallets/connect/status/": {"path.requestId": people.requests},
            "^/api/notices/": {"path.id": people.webhooks},
            "^/api/dev/": {"path.paymentHash": names.hashes},
            **self.lenders.parameters(),
        }  # fmt: skip

    def formats(self) -> dict[str, list[str]]:
        """Return what has the formats of the contract's own."""
        return {
            "bolt11": self.names.invoices,
            "refund-destination": [self.destination, NOWHERE],
            "notice-url": [NOWHERE_TO_TELL],
        }

    async def findings(self) -> list[str]:
        """Return what is wrong with the books after all of that."""
        db = Database(self.database_url)
        await db.open()
        try:
            return [str(finding) for finding in await audit(db)]
        finally:
            await db.close()

    async def furnish(self) -> None:
        """Add a job in each state that a buyer can bring one to, sessions and conversations."""
        self.names = Names()
        async with (
            Client(self.url) as client,
            httpx2.AsyncClient(base_url=self.url, timeout=PATIENCE_S) as http,
        ):
            for request, payments in JOBS:
                await self._add_job(client, request, payments)
            for _ in range(LASTING + EXPENDABLE):
                await self._add_session(client)
            self.names.sessions, self.names.expendable = (
                self.names.sessions[:LASTING], self.names.sessions[LASTING:],
            )  # fmt: skip
            await self._add_run(http)
            holders: list[dict[str, str]] = [{}, *map(self.shown_for, self.names.sessions[:1])]
            for each in holders:
                made = await http.post(
                    "/api/gemini/conversations", json={"title": "Rain"}, headers=each
                )
                self.names.conversations.append(made.raise_for_status().json()["id"])
            self.cookie = http.cookies[VISITOR]
            self.credentials = await self._paid_by_the_call(client, http)
            self.market = await furnish(http, self.server.clock)
            told_at = NOWHERE_TO_TELL
            self.people = await fuzz_people.furnish(http, self.market.token, told_at)
            holder = {"Authorization": f"Bearer {self.market.token}"}
            self.lenders = await fuzz_lenders.furnish(http, holder, self.destination)

    def shown_for(self, session_id: str) -> dict[str, str]:
        """Return the header with the macaroon of a session, or of any for what is none."""
        held = self.macaroons.get(session_id) or self.macaroons[self.names.sessions[0]]
        return {"Authorization": f"Bearer {held}"}

    async def _paid_by_the_call(self, client: Client, http: httpx2.AsyncClient) -> list[str]:
        """Buy the contract's example by the call; return what proves it, and what does not."""
        offer = await http.get("/api/ask", params={"request": ASKED})
        challenge = payment_in(offer.headers["www-authenticate"])
        preimage = (await client.stub_pay(offer.json()["paymentHash"]))["preimage"]
        return [
            credential(challenge, preimage),
            credential(challenge, "0" * 64),
            credential(challenge | {"realm": "elsewhere.example"}, preimage),
            credential(challenge | {"intent": "session"}, preimage),
            "e30",
        ]

    async def _add_job(self, client: Client, request: str, payments: int) -> None:
        made = await client.create(request)
        self.names.jobs.append(made["jobId"])
        await self._pay(client, made["evalInvoice"], payments > 0)
        if not payments:
            return
        async for job in client.watch(made["jobId"]):
            if "workInvoice" in job:
                await self._pay(client, job["workInvoice"], payments > 1)
                if payments == 1:
                    return
            if job["state"] in FINAL:
                self.names.ended.append(job["jobId"])
                for owed in job.get("refunds", ()):
                    invoice = await self.side.make_invoice(owed["amountSats"], KNOWN_S)
                    self.names.invoices.append(invoice)

    async def _add_session(self, client: Client) -> None:
        made = await client.call("POST", "/api/sessions", json={"amount_sats": DEPOSIT_SATS})
        await self._pay(client, made["invoice"], True)
        session_id = made["sessionId"]
        path = f"/api/sessions/{session_id}?claim={made['claim']}&wait=55"
        status = await client.call("GET", path)
        self.names.sessions.append(session_id)
        self.macaroons[session_id] = status["macaroon"]
        done = await client.call(
            "POST",
            f"/api/sessions/{session_id}/request",
            json={"request": "do this"},
            headers=self.shown_for(session_id),
        )
        self.names.requests.append(done["requestId"])

    async def _add_run(self, http: httpx2.AsyncClient) -> None:
        """Have a session pay for a run of a tool, and for pictures by the tier."""
        asked = {"toolId": "qr-code", "inputs": {"text": "hello"}}
        holder = self.shown_for(self.names.sessions[0])
        made = await http.post("/api/v1/generations/execute", json=asked, headers=holder)
        self.names.runs.append(made.raise_for_status().json()["generationId"])
        for prompt in ("a boat", "REFUSE"):
            made = await http.post("/api/v1/jobs", json={"prompt": prompt}, headers=holder)
            self.names.pictures.append(made.raise_for_status().json()["id"])

    async def _pay(self, client: Client, invoice: Invoice, now: bool) -> None:
        self.names.hashes.append(invoice["paymentHash"])
        if now:
            await client.stub_pay(invoice["paymentHash"])


@asynccontextmanager
async def world_on(databases: Databases, *, limited: bool = False) -> AsyncIterator[World]:
    """Give a world that is not furnished yet, for as long as the block lasts."""
    gemini = GeminiServer()
    await gemini.start()
    environment = {
        "DATABASE_POOL": "8",
        "GEMINI_BASE_URL": gemini.url,
        "GEMINI_API_KEY": CLIENT_KEY,
        "FREE_SATS_PER_DAY": "100000000",
        "WORKERS": "true",
        "WORKER_CANARY_EVERY": "0",
        **(LIMITED if limited else {"DEMO_PER_HOUR": "1000000"}),
    }
    with tempfile.TemporaryDirectory(prefix="boltwork-fuzz-") as name:
        async with databases.one() as database, PayServer().running() as stranger:
            server = ForkedServer(Path(name), database, environment)
            side = StubSide(server.folder, server.clock)
            await server.start()

            async def make(amount_msat: int) -> str:
                return await side.make_invoice(amount_msat // 1000, KNOWN_S)

            stranger.make = make
            try:
                yield World(server, side, f"buyer@127.0.0.1:{stranger.port}", database)
            finally:
                await server.kill()
                await side.close()
                await gemini.stop()
