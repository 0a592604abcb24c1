"""A buyer who goes on after every crash from what they know: a key, a job's id, what they paid.

Each step may be repeated. When the server is gone a step raises Died, and is begun again later.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2

from app.promises.keeping import SETTLE_MARGIN
from tests.runs.crash_server import KILLED, MovableClock
from tests.runs.crash_world import Books, Side
from tests.world.notice_server import NoticeServer
from tests.world.patience import PATIENCE_S, patiently
from tests.world.pay_server import PayServer

FINAL = ("complete", "rejected", "failed")
OVER = (*FINAL, "expired")  # of a session too
KNOWN_S = 3600  # how long an invoice of the buyer's can be paid
# Past such an invoice's expiry, and the margin after which "failed" is believed.
LONG = KNOWN_S + int(SETTLE_MARGIN.total_seconds()) + 600
STILL_S = 2.5  # nothing has moved for so long: then only time can help
DEAD_AFTER_S = 5.0  # nobody waits any longer for who set out to do something, and has died
MOST_LEAPS = 8  # a rail that lives in real time still takes what is made by a clock so far ahead

Json = dict[str, Any]


class Died(Exception):
    """The server is not there any more."""


class Buyer:
    """One who buys a job, or holds a session, over HTTP."""

    def __init__(
        self,
        side: Side,
        books: Books,
        clock: MovableClock,
        command: Callable[..., Awaitable[tuple[int, str]]],
    ) -> None:
        self.side, self.books, self.clock, self._command = side, books, clock, command
        self.wallet = PayServer(make=self._invoice)  # where the buyer's money can go by itself
        self.receiver = NoticeServer()  # where the buyer is told
        self.url = ""
        self.has_outlived = False  # a server of this story: one has died
        self.key = "the key of the buyer"
        self.done: set[str] = set()  # what must not be done a second time
        self.made = Json()  # what must not be asked for a second time
        self.path = ""  # of the job or the session
        self.headers: dict[str, str] = {}  # what the holder of a session shows
        self.preimages: dict[str, str] = {}  # by the invoice that was paid
        # No connection is used again: one that the server has let go of after a pause would look
        # like its death.
        self._http = httpx2.AsyncClient(
            timeout=PATIENCE_S, trust_env=False, verify=False,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )  # fmt: skip

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def call(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Ask the server; raises Died when it is gone."""
        if not self.url:
            raise Died
        options["headers"] = {**self.headers, **options.get("headers", {})}
        try:
            return await self._http.request(method, self.url + path, **options)
        except httpx2.TransportError as gone:
            raise Died from gone

    async def until_ready(self) -> None:
        """Wait until the server says that it is ready: others may be starting beside it."""
        async for look in patiently("it is never ready", pause_s=0.2):
            answer = await self.call("GET", "/api/readyz")
            look.saw = answer.text
            if answer.status_code == 200:
                break

    async def operate(self, *words: str) -> str:
        """Have the operator give a command; return what it printed. Raises Died when it died."""
        code, printed = await self._command(*words)
        if code == KILLED:
            raise Died
        assert code == 0, printed
        return printed

    async def create(self, request: str, **more: Any) -> Json:
        """Post the job under the buyer's one key; return it with its evaluation invoice."""
        answer = await self.send("/api/jobs", {"request": request, **more}, self.key)
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()
        self.path = f"/api/jobs/{made['jobId']}"
        return made

    async def send(self, path: str, body: Json, key: str, **headers: str) -> httpx2.Response:
        """POST under a key, again while the server can't answer just now."""
        named = {"Idempotency-Key": key, **headers}
        async for look in patiently("there is no answer but", pause_s=0.2):
            answer = await self.call("POST", path, json=body, headers=named)
            if answer.status_code != 503:
                break
            look.saw = answer.text
        return answer

    async def pay(self, invoice: Json) -> None:
        """Pay an invoice, once."""
        bolt11 = invoice["paymentRequest"]
        if bolt11 not in self.done:
            self.preimages[bolt11] = await self.side.pay(bolt11)
            self.done.add(bolt11)

    async def show(self) -> Json:
        """Return the job or the session as it stands."""
        answer = await self.call("GET", self.path)
        assert answer.status_code == 200, answer.text
        job: Json = answer.json()
        return job

    async def until(self, reached: Callable[[Json], bool]) -> Json:
        """Wait until the job or the session has come so far."""
        etag, job = "", Json()
        async for look in patiently("the job stays as it is", pause_s=0.1):
            answer = await self.call(
                "GET",
                self.path,
                params={"wait": "2"},
                headers={"If-None-Match": etag} if etag else {},
            )
            if answer.status_code == 304:
                continue
            assert answer.status_code == 200, answer.text
            look.saw = job = Json(answer.json())
            if reached(job):
                break
            etag = answer.headers.get("etag", "")
        return job

    async def to_the_end(self) -> Json:
        """Bring the job to its end, and pay what it asks for on the way."""
        job = await self.until(lambda job: job["state"] in FINAL or "workInvoice" in job)
        if "workInvoice" in job:
            await self.pay(job["workInvoice"])
            job = await self.until(lambda job: job["state"] in FINAL)
        return job

    async def take_refunds(self, *, least: bool = False) -> None:
        """Claim all that is owed back, each time with a new invoice, until it is there.

        `least`: for as little as may be asked; what routing does not take of the rest is change.
        """
        for _ in range(12):
            open_refunds = [r for r in await self._refunds() if r["refundState"] != "paid"]
            if not open_refunds:
                return
            await self._claim(open_refunds[0], least)
        raise AssertionError(f"not all was paid back: {await self._refunds()}")

    async def receive_refunds(self) -> None:
        """Wait until all that is owed back has come by itself, and claim nothing."""
        for _ in range(8):
            if await self._are_paid():
                return
            self.clock.forward(LONG)
            await self.hurry()
        raise AssertionError(f"not all came by itself: {await self._refunds()}")

    async def until_there(self, query: str, leap_s: int = 120, leaps: int = MOST_LEAPS) -> None:
        """Wait until a query finds something, as long as a busy machine may take for it.

        Where nothing comes, time leaps: shorter, and less often, for what is good for a time only.
        """
        began_s, forward = time.monotonic(), 0
        while (now_s := time.monotonic() - began_s) < PATIENCE_S:
            if await self.books.ask(query):
                return
            if now_s // DEAD_AFTER_S > forward and forward < leaps:
                forward += 1
                self.clock.forward(leap_s)
            assert (await self.call("GET", "/api/healthz")).status_code == 200
            await asyncio.sleep(0.1)
        raise AssertionError(f"there is still nothing where {query}")

    def outwait_the_dead(self, seconds: int) -> None:
        """Let so much time pass that what a dead process held is another's.

        While none has died, all who hold something are alive, and slow on a busy machine: what
        they hold must not lapse, as the server is yet to die at what they are about to do.
        """
        if self.has_outlived:
            self.clock.forward(seconds)

    async def hurry(self) -> None:
        """Have done now what the server would do after a pause."""
        await self.books.ask("UPDATE procrastinate_jobs SET scheduled_at = now()")

    async def post(self, what: str, body: Json | None = None) -> httpx2.Response:
        """POST to one of the job's or the session's own addresses."""
        return await self.call("POST", f"{self.path}/{what}", json=body)

    async def receipt(self) -> httpx2.Response:
        """GET the job's receipt."""
        return await self.call("GET", f"{self.path}/receipt")

    async def _invoice(self, amount_msat: int) -> str:
        ahead_s = 0 if self.side.knows_our_clock else self.clock.ahead_s
        return await self.side.make_invoice(amount_msat // 1000, KNOWN_S + ahead_s)

    async def _refunds(self) -> list[Json]:
        shown = await self.show()
        return list(shown.get("refunds") or shown.get("withdrawals") or ())

    async def _claim(self, refund: Json, least: bool) -> None:
        sats: int | None = refund["amountSats"]
        if least and refund["reason"] != "change":
            sats = refund.get("leastSats")
        if sats is not None:  # of one that is on its way it is not said: nothing can be asked yet
            invoice = await self._invoice(sats * 1000)
            answer = await self.post("refund", {"invoice": invoice})
            if answer.status_code == 200:
                return
            assert answer.status_code in (202, 409), answer.text
        if await self._are_paid(refund["reason"]):
            return
        # What was handed to the rail and never arrived comes back when it can't arrive any more.
        self.clock.forward(LONG)
        await self._are_paid(refund["reason"])

    async def _are_paid(self, reason: str = "") -> bool:
        """Wait until all refunds, or those of one reason, are paid; False once nothing moves.

        A machine that is busy moves slowly: time must not leap meanwhile, for what is on its way
        expires on it.
        """
        began_s = still_s = time.monotonic()
        while (now_s := time.monotonic()) - began_s < PATIENCE_S and now_s - still_s < STILL_S:
            refunds = [one for one in await self._refunds() if reason in ("", one["reason"])]
            if all(refund["refundState"] == "paid" for refund in refunds):
                return True
            if await self.books.due() or await self.books.unasked(self.clock()):
                still_s = now_s
            await asyncio.sleep(0.1)
        return False
