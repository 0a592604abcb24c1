"""The HTTP surface for programs: jobs, their refunds, and asks by the call.

    async with Client("http://127.0.0.1:8402") as client:
        job = await Purchase(client, Payer(StubWallet(client))).buy("Say hello.", max_sats=500)

What may be repeated is repeated when a connection breaks or the server says when to come back; so
each creation has an Idempotency-Key. `Refused` is the server's answer, `Away` is none.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Required, Self, TypedDict, cast

import httpx2

from app.event_reader import Event, read_events

FINAL = ("complete", "rejected", "failed")
LONG_POLL_S = 30
FIRST_WORD_S = 3.0  # of a stream; later than that it is held back
SILENCE_S = 50  # in which a stream that lives has said something
LONGEST_PAUSE_S = 30  # for one Retry-After; whoever would have to wait longer is told so
_BUSY = (429, 502, 503, 504)
_ID = re.compile("[0-9a-f]{32}")
_L402 = re.compile(r'\bL402\s+macaroon="([^"\s]+)",\s*invoice="([^"\s]+)"')


class Invoice(TypedDict, total=False):
    """An invoice of the server's. Its hash is told on the stub rail only."""

    paymentRequest: Required[str]
    amountSats: Required[int]
    expiresAt: str
    paymentHash: str


class Owed(TypedDict, total=False):
    """One thing that is owed back."""

    reason: Required[str]
    amountSats: Required[int]
    refundState: Required[str]  # `pending` or `paid`
    destination: str  # `needed` or `known`
    attempts: int
    lastOutcome: str
    lnurlWithdraw: str


class Job(TypedDict, total=False):
    """A job as it stands: what belongs to its state is there, and nothing else."""

    jobId: Required[str]
    state: Required[str]
    createdAt: str
    completedAt: str | None
    evalInvoice: Invoice
    workInvoice: Invoice
    invoice: Invoice  # of a job at a firm price
    pricingBreakdown: dict[str, Any]
    costLedger: dict[str, Any]
    result: str
    reason: str
    errorMessage: str
    refunds: list[Owed]


class Created(TypedDict):
    """A job that was just made."""

    jobId: str
    createdAt: str
    evalInvoice: Invoice


class Estimate(TypedDict):
    """What a request would cost at most."""

    evalSats: int
    workSats: int
    totalSats: int
    pricingBreakdown: dict[str, Any]


class Answered(TypedDict, total=False):
    """What was bought by the call or on a session. It has no result while it goes on."""

    state: Required[str]
    jobId: str
    requestId: str
    cost: dict[str, Any]
    debitedSats: int
    balanceRemaining: int
    result: str
    reason: str
    errorMessage: str
    refunds: list[Owed]


class ClientError(Exception):
    """What a call can end with, other than its answer."""


class Refused(ClientError):
    """The server refused; `body` is its envelope."""

    def __init__(self, status: int, body: dict[str, Any], headers: Any = None) -> None:
        super().__init__(str(body.get("error", f"HTTP {status}")))
        self.status, self.body = status, body
        self.headers = httpx2.Headers() if headers is None else headers

    @property
    def next_step(self) -> str:
        """What the server says to do now, if it does."""
        return str(self.body.get("next", ""))


class Away(ClientError):
    """There is no answer, or none that can be read. Whether it arrived is not known."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} can't be reached ({reason})")


class _NoStream(Exception):
    """There is no stream of events that can be read as it goes on."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a 402 offers: one job at a firm price, for whoever shows the preimage."""

    invoice: Invoice
    macaroon: str = field(repr=False)
    job_id: str  # empty where the server does not tell
    request: str = field(repr=False)


class Client:
    """Speaks to one instance. Use as an async context manager.

    `tries` is how often a call that may be repeated is made; `pause` waits between two of them.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = 90,
        *,
        tries: int = 4,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url
        self._tries, self.pause = tries, pause
        self._http = httpx2.AsyncClient(base_url=url, timeout=timeout_s, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    # ------------------------------------------------------------------- calls

    async def call(
        self, method: str, path: str, *, repeatable: bool | None = None, **options: Any
    ) -> dict[str, Any]:
        """Return the JSON object that is answered. Raises Refused unless it is a 2xx, or Away.

        Repeated when no answer came are GETs, what has an Idempotency-Key, and what is said to be
        `repeatable`. Anything is repeated after a Retry-After: nothing was done yet.
        """
        if repeatable is None:
            repeatable = method == "GET" or "Idempotency-Key" in options.get("headers", {})
        for attempt in range(1, self._tries + 1):
            last = attempt == self._tries
            try:
                answer = await self._http.request(method, path, **options)
            except (httpx2.TransportError, httpx2.InvalidURL) as error:
                if last or not repeatable or not isinstance(error, httpx2.TransportError):
                    raise Away(self.url, type(error).__name__) from error
                await self.pause(2.0**attempt / 8)
                continue
            wait_s = _wait_s(answer, attempt, repeatable)
            if wait_s is None or last:
                return self._read(answer)
            await self.pause(wait_s)
        raise AssertionError("unreachable")

    def _read(self, answer: httpx2.Response) -> dict[str, Any]:
        try:
            body: Any = answer.json()
        except ValueError:
            body = None
        if not answer.is_success:
            raise Refused(
                answer.status_code, body if isinstance(body, dict) else {}, answer.headers
            )
        if not isinstance(body, dict):
            raise Away(self.url, "it answers with something else than JSON")
        return body

    # -------------------------------------------------------------------- jobs

    async def estimate(self, request: str) -> Estimate:
        """Return what a request would cost at most. Free, and nothing is written down."""
        asked = {"request": request}
        told = await self.call("POST", "/api/estimate", json=asked, repeatable=True)
        return cast(Estimate, told)

    async def create(
        self,
        request: str,
        max_sats: int | None = None,
        key: str | None = None,
        refund_to: str | None = None,
    ) -> Created:
        """Post a job; return it with its evaluation invoice. `max_sats` is for the work alone."""
        body = without_none(request=request, maxSats=max_sats, refundTo=refund_to)
        headers = {"Idempotency-Key": key or new_key()}
        return cast(Created, await self.call("POST", "/api/jobs", json=body, headers=headers))

    async def show(self, job_id: str) -> Job:
        """Return a job as it stands."""
        return cast(Job, await self.call("GET", f"/api/jobs/{job_id}"))

    async def watch(
        self, job_id: str, progress: Callable[[dict[str, Any]], None] | None = None
    ) -> AsyncIterator[Job]:
        """Yield the job each time it changes, and end when it can change no more.

        `progress` is told what the agent has written, where it tells. Without a stream of events
        (an older server, a proxy that holds it back) long polls tell the same.
        """
        last, cuts = "", 0
        while True:
            try:
                async with contextlib.aclosing(self._events(job_id, last)) as events:
                    async for event in events:
                        last, cuts = event.id or last, 0
                        if event.kind == "progress" and progress is not None:
                            progress(event.data)
                        if "job" in event.data:
                            yield cast(Job, event.data["job"])
                        if event.kind == "end":
                            return
                reason = "it hung up"  # a restart, perhaps: what was missed is told again
            except _NoStream:
                break
            except httpx2.TransportError as error:
                reason = type(error).__name__
            cuts += 1
            if cuts == self._tries:
                raise Away(self.url, reason)
            await self.pause(2.0**cuts / 8)
        async for job in self._polled(job_id):
            yield job

    async def _events(self, job_id: str, last: str) -> AsyncGenerator[Event, None]:
        """Yield what a stream tells. Raises _NoStream, httpx2.TransportError."""
        path = f"/api/jobs/{job_id}/events"
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(FIRST_WORD_S):
                    told = self._http.stream("GET", path, headers=headers, timeout=SILENCE_S)
                    answer = await stack.enter_async_context(told)
                    if answer.status_code == 204:  # it has ended, and all was told
                        yield Event("end", last, {})
                        return
                    kind = answer.headers.get("content-type", "")
                    if answer.status_code != 200 or not kind.startswith("text/event-stream"):
                        raise _NoStream
                    lines = answer.aiter_lines()
                    await anext(lines, "")  # `retry`, at once: nobody holds the stream back
            except TimeoutError:
                raise _NoStream from None
            async for event in read_events(lines):
                yield event

    async def _polled(self, job_id: str) -> AsyncIterator[Job]:
        etag = ""
        while True:
            answer = await self._poll(job_id, etag)
            if answer.status_code == 304:
                continue
            job = cast(Job, self._read(answer))
            etag = answer.headers.get("etag", "")
            yield job
            if job["state"] in FINAL:
                return

    async def _poll(self, job_id: str, etag: str) -> httpx2.Response:
        """Hold one poll until the job is no longer as the tag says. Raises Refused, Away.

        Without a tag nothing was seen of it yet: then it is not held.
        """
        seen = {"If-None-Match": etag} if etag else {}
        held = {"wait": str(LONG_POLL_S)} if etag else {}
        for attempt in range(1, self._tries + 1):
            try:
                answer = await self._http.get(f"/api/jobs/{job_id}", params=held, headers=seen)
                wait_s = _wait_s(answer, attempt, True)
                if wait_s is None or attempt == self._tries:
                    return answer
            except httpx2.TransportError as error:
                if attempt == self._tries:
                    raise Away(self.url, type(error).__name__) from error
                wait_s = 2.0**attempt / 8
            await self.pause(wait_s)
        raise AssertionError("unreachable")

    async def cancel(self, job_id: str) -> Job:
        """End a job whose open invoice was not paid."""
        told = await self.call("POST", f"/api/jobs/{job_id}/cancel", repeatable=True)
        return cast(Job, told)

    async def refund(self, job_id: str, bolt11: str) -> dict[str, Any]:
        """Claim what is owed back, with an invoice of just that amount."""
        return await self.call("POST", f"/api/jobs/{job_id}/refund", json={"invoice": bolt11})

    # --------------------------------------------------------- asks by the call

    async def offer(
        self, request: str, max_sats: int | None = None, refund_to: str | None = None
    ) -> Offer:
        """Ask what a request costs by the call (L402). `max_sats` is for all of it."""
        body = without_none(request=request, maxSats=max_sats, refundTo=refund_to)
        headers = {"Idempotency-Key": new_key()}
        try:
            await self.call("POST", "/api/ask", json=body, headers=headers)
        except Refused as refused:
            if refused.status != 402:
                raise
            found = _L402.search(refused.headers.get("www-authenticate", ""))
            told = refused.body
            if found is None or type(told.get("amountSats")) is not int:
                raise Away(self.url, "its 402 offers no L402 that can be read") from refused
            at_job = _ID.fullmatch(str(told.get("instance", "")).rpartition("/")[2])
            invoice = without_none(
                paymentRequest=found[2],
                amountSats=told["amountSats"],
                expiresAt=told.get("expiresAt"),
                paymentHash=told.get("paymentHash"),
            )
            job_id = at_job[0] if at_job else ""
            return Offer(cast(Invoice, invoice), found[1], job_id, request)
        raise Away(self.url, "it gives away what should be paid for")

    async def redeem(self, offer: Offer, preimage: str, wait_s: int = LONG_POLL_S) -> Answered:
        """Return what an offer has bought, for the preimage that paying it gave. Good again."""
        told = await self.call(
            "POST",
            "/api/ask",
            params={"wait": str(wait_s)},
            json={"request": offer.request},
            headers={"Authorization": f"L402 {offer.macaroon}:{preimage}"},
            repeatable=True,  # the proof names the one job that it buys
        )
        return cast(Answered, told)

    # --------------------------------------------------- the stub rail's wallet

    async def stub_pay(self, payment_hash: str) -> dict[str, Any]:
        """Pay an invoice with the stub rail's wallet. To pay it again is a replay."""
        return await self.call("POST", f"/api/dev/stub/pay/{payment_hash}", repeatable=True)

    async def stub_invoice(self, amount_sats: int) -> str:
        """Have the stub rail's wallet make an invoice."""
        made = await self.call("POST", "/api/dev/stub/invoice", json={"amountSats": amount_sats})
        return str(made["paymentRequest"])


def new_key() -> str:
    """Return an Idempotency-Key that nobody else has."""
    return secrets.token_hex(16)


def without_none(**values: Any) -> dict[str, Any]:
    """Return what has a value."""
    return {name: value for name, value in values.items() if value is not None}


def _wait_s(answer: httpx2.Response, attempt: int, repeatable: bool) -> float | None:
    """Return how long to wait before the same call is made again; None when it is not to be."""
    if answer.status_code not in _BUSY:
        return None
    said = answer.headers.get("retry-after", "")
    if said.isascii() and said.isdecimal() and len(said) < 6:
        return float(said) if int(said) <= LONGEST_PAUSE_S else None
    return 2.0**attempt / 8 if repeatable and answer.status_code != 429 else None
