"""Buyers who come to the balancer, and repeat whatever was not answered under the name it had."""

import asyncio
import hashlib
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx2

from tests.runs.crash_world import Side
from tests.runs.hosts_times import Times
from tests.world.patience import patiently

FINAL = ("complete", "rejected", "failed")
ENDED = ("completed", "failed", "cancelled")
AWAY = (429, 502, 503, 504)  # nothing was decided: the same again
ASKED_S, HELD_S = 15, 5  # the longest wait for an answer; how long a poll is held
KNOWN_S = 3_600  # how long an invoice of theirs can be paid
SIDE = 256
DEPOSIT_SATS = 1_000
Json = dict[str, Any]


@dataclass
class Buyers:
    """All buyers: what they have asked for, and what they have."""

    url: str
    side: Side
    times: Times
    files: Counter[str] = field(default_factory=Counter)  # SHA-256 of each that was downloaded
    done: Counter[str] = field(default_factory=Counter)  # jobs that came to their end, by kind
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    until_s: float = math.inf  # by time.monotonic: after that nothing more is bought
    over: list[tuple[str, str]] = field(default_factory=list)  # agents' work: its path, its ETag
    _numbers: Iterator[int] = field(default_factory=count)
    _paid: set[str] = field(default_factory=set)
    _preimages: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._http = httpx2.AsyncClient(
            base_url=self.url, timeout=ASKED_S, trust_env=False, verify=False
        )

    async def buy(self, jobs: int, at_once: int, kinds: "Kinds | None" = None) -> None:
        """Buy so many jobs of all kinds, some at once, and more until `enough` is set."""
        turns = count()
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(self._buys(turns, jobs, kinds or KINDS))
        self.changed.set()

    async def close(self) -> None:
        """Go home."""
        await self._http.aclose()

    async def _buys(self, turns: Iterator[int], jobs: int, kinds: "Kinds") -> None:
        for turn in turns:
            if self.is_late or (turn >= jobs and self.enough.is_set()):
                break
            kind, story = kinds[turn % len(kinds)]
            await story(self, f"job {next(self._numbers)}")
            self.done[kind] += 1
            self.changed.set()

    @property
    def is_late(self) -> bool:
        """Whether nothing more is bought."""
        return time.monotonic() > self.until_s

    async def until_done(self, jobs: int) -> None:
        """Wait until so many have come to their end, or nothing more is bought."""
        while self.done.total() < jobs and not self.is_late:
            self.changed.clear()
            await self.changed.wait()

    # ------------------------------------------------------------------ what they buy

    async def text(self, key: str) -> None:
        """Buy an agent's work: its evaluation, then itself; take back what the price left over."""
        made = (await self._post("/api/jobs", {"request": f"Say {key}."}, key, 201)).json()
        path = f"/api/jobs/{made['jobId']}"
        await self._pay(made["evalInvoice"])
        job = await self._until(path, lambda job: job["state"] in FINAL or "workInvoice" in job)
        await self._pay(job["workInvoice"])
        job = await self._until(path, lambda job: job["state"] in FINAL)
        assert job["state"] == "complete", job
        await self._take(path)
        self.over.append((path, (await self._ask("GET", path)).headers["etag"]))

    async def picture(self, key: str) -> None:
        """Buy a picture by the call, and download it."""
        image = {"prompt": f"a boat on a lake, {key}", "width": SIDE, "height": SIDE}
        body = {"defaults": {"model": "scene-1"}, "images": [image]}
        offer = await self._post("/api/jobs", body, key, 402)
        path = "/api/jobs/" + offer.json()["instance"].rpartition("/")[2]
        await self._pay(offer.json())
        said = await self._until(path, lambda said: said["job"]["status"] in ENDED)
        assert said["job"]["status"] == "completed", said
        for item in said["images"]:
            where = "/api/" + item["url"].partition("/api/")[2]
            file = await self._ask("GET", where)
            assert file.status_code == 200, file.text
            self.files[hashlib.sha256(file.content).hexdigest()] += 1

    async def session(self, key: str) -> None:
        """Open a session, have something said on its balance, close it, and take its rest."""
        made = (await self._post("/api/sessions", {"amount_sats": DEPOSIT_SATS}, key, 201)).json()
        path = f"/api/sessions/{made['sessionId']}"
        await self._pay(made["invoice"])
        proof = {"X-Payment-Preimage": self._preimages[made["invoice"]["paymentRequest"]]}
        async for look in patiently("the deposit is never seen", pause_s=0.3):
            look.saw = opened = (await self._ask("GET", path, headers=proof)).json()
            if "macaroon" in opened:
                break
        holder = {"Authorization": f"Bearer {opened['macaroon']}"}
        asked = {"request": f"Say {key}."}
        answer = await self._post(f"{path}/request", asked, f"{key} said", 200, 202, **holder)
        where = f"{path}/requests/{answer.json()['requestId']}"
        said = await self._until(where, lambda said: said["state"] in FINAL, holder)
        assert said["state"] == "complete", said
        closed = await self._ask("POST", f"{path}/close", headers=holder)
        assert closed.status_code == 200, closed.text
        await self._take(path, holder)

    # ------------------------------------------------------------------ how

    async def _ask(
        self, method: str, path: str, *, is_held: bool = False, **options: Any
    ) -> httpx2.Response:
        """Ask until there is an answer that decides something. How long that took is counted, but
        of a poll that is held only where it had to be repeated.
        """
        began_s, is_counted = time.monotonic(), not is_held
        async for look in patiently(f"{method} {path} is never answered", pause_s=0.2):
            try:
                answer = await self._http.request(method, path, **options)
            except httpx2.TransportError as error:
                look.saw = type(error).__name__
            else:
                if answer.status_code not in AWAY:
                    break
                look.saw = str(answer.status_code)
            self.times.repeated.append((time.monotonic(), str(look.saw)))
            is_counted = True
        if is_counted:
            self.times.took.append((began_s, time.monotonic() - began_s))
        return answer

    async def _post(
        self, path: str, body: Json, key: str, *wanted: int, **headers: str
    ) -> httpx2.Response:
        named = {"Idempotency-Key": f"{self._run}, {key}", **headers}
        answer = await self._ask("POST", path, json=body, headers=named)
        assert answer.status_code in wanted, answer.text
        return answer

    @property
    def _run(self) -> str:
        return f"the run of {id(self)}"

    async def _pay(self, invoice: Json) -> None:
        bolt11 = invoice["paymentRequest"]
        if bolt11 not in self._paid:
            self._paid.add(bolt11)
            self._preimages[bolt11] = await self.side.pay(bolt11)

    async def _until(
        self, path: str, reached: Callable[[Json], bool], headers: dict[str, str] | None = None
    ) -> Json:
        """Poll, held where nothing has changed, and read once more what has come."""
        etag = ""
        async for look in patiently(f"{path} stays as it is", pause_s=0.05):
            known = {"If-None-Match": etag} if etag else {}
            shown = {**(headers or {}), **known}
            answer = await self._ask(
                "GET", path, is_held=True, params={"wait": str(HELD_S)}, headers=shown
            )
            if answer.status_code == 304:
                continue
            assert answer.status_code == 200, answer.text
            look.saw, etag = answer.text, answer.headers.get("etag", "")
            if reached(answer.json()):
                break
        told: Json = (await self._ask("GET", path, headers=headers or {})).json()
        return told

    async def _take(self, path: str, headers: dict[str, str] | None = None) -> None:
        """Claim all that is owed back, each time to one invoice, until it is there."""
        invoices: dict[tuple[str, int], str] = {}
        async for look in patiently("not all comes back", pause_s=0.3):
            shown = (await self._ask("GET", path, headers=headers or {})).json()
            refunds = shown.get("refunds") or shown.get("withdrawals") or ()
            look.saw = missing = [one for one in refunds if one["refundState"] != "paid"]
            if not missing:
                break
            sats = missing[0]["amountSats"]
            if sats is None:  # it is on its way
                continue
            name = missing[0]["reason"], int(sats)
            if name not in invoices:
                invoices[name] = await self.side.make_invoice(int(sats), KNOWN_S)
            claim = {"invoice": invoices[name]}
            answer = await self._ask("POST", f"{path}/refund", json=claim, headers=headers or {})
            assert answer.status_code in (200, 202, 409), answer.text


Story = Callable[[Buyers, str], Awaitable[None]]
Kinds = tuple[tuple[str, Story], ...]
# Of ten jobs: six of an agent, three pictures, one session.
KINDS: Kinds = (
    *[("text", Buyers.text), ("picture", Buyers.picture)] * 3,
    *[("text", Buyers.text)] * 3,
    ("session", Buyers.session),
)
