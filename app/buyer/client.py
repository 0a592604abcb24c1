"""The HTTP surface for programs: jobs, their refunds, and asks by the call.

    import asyncio

    from app.buyer.client import Client
    from app.buyer.payer import Payer
    from app.buyer.purchase import Purchase
    from app.buyer.wallets.stub import StubWallet

    async def main() -> None:
        async with Client("http://127.0.0.1:8402") as client:
            purchase = Purchase(client, Payer(StubWallet(client)), max_sats=500)
            job = await purchase.buy("Say hello.")
            print(job.get("result"))

    asyncio.run(main())

What may be repeated is repeated when a connection breaks or the server says when to come back; so
each creation has an Idempotency-Key. `Refused` is the server's answer, `Away` is none, and
`Strange` is one that no Boltwork gives. What a server says is read strictly (`app.buyer.answers`).
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar

import httpx2

from app.buyer import answers
from app.buyer.answer_fields import Invoice, Unreadable, is_id
from app.buyer.answers import Answered, Created, Estimate, Job
from app.buyer.event_reader import Event, Overlong, read_events, with_first
from app.buyer.exchange import Answer, Exchange, Lost, pause_s_before_next
from app.buyer.failures import Away, Refused, Strange
from app.buyer.job_events import tell, told_of

if TYPE_CHECKING:
    from app.buyer.batch import Batch, Wish
    from app.buyer.session import Session

FINAL = ("complete", "rejected", "failed")
LONG_POLL_S = 30
FIRST_WORD_S = 3.0  # of a stream; later than that it is held back
SILENCE_S = 50  # in which a stream that lives has said something
_L402 = re.compile(r'\bL402\s+macaroon="([^"\s]+)",\s*invoice="([^"\s]+)"')
_TAG = re.compile("[\x21-\x7e]{1,255}")
T = TypeVar("T")


class _NoStream(Exception):
    """There is no stream of events that can be read as it goes on."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a 402 offers: one job at a firm price, to the holder of the preimage."""

    invoice: Invoice
    macaroon: str = field(repr=False)
    job_id: str  # empty where the server names none
    request: str = field(repr=False)


class Client:
    """Speaks to one instance. Use as an async context manager. Raises BadAddress.

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
        self._exchange = Exchange(url, timeout_s, transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exchange.close()

    # ------------------------------------------------------------------- calls

    async def call(
        self, method: str, path: str, *, repeatable: bool | None = None, **options: Any
    ) -> dict[str, Any]:
        """Return the JSON object of the answer. Raises Refused unless it is a 2xx, or Away.

        A GET, a call with an Idempotency-Key and a `repeatable` call are repeated when no answer
        came. Any call is repeated after a Retry-After: nothing was done yet.
        """
        if repeatable is None:
            repeatable = method == "GET" or "Idempotency-Key" in options.get("headers", {})
        return self._read(await self._answer(method, path, repeatable, options))

    async def listed(self, path: str, **params: str) -> list[Any]:
        """Return the JSON list that a GET is answered with. Raises as `call` does."""
        answer = await self._answer("GET", path, True, {"params": params})
        if not 200 <= answer.status < 300:
            self._read(answer)
        return self.strictly(answers.parsed_list, answer.body)

    async def _answer(
        self, method: str, path: str, repeatable: bool, options: dict[str, Any]
    ) -> Answer:
        """Repeat the call until its answer is final. Raises Away."""
        for attempt in range(1, self._tries + 1):
            last = attempt == self._tries
            try:
                answer = await self._exchange.ask(method, path, **options)
            except Lost as lost:
                if last or not repeatable or not lost.may_pass:
                    raise Away(self.url, lost.reason) from lost
                await self.pause(2.0**attempt / 8)
                continue
            except Overlong as wrong:
                raise Strange(self.url, str(wrong)) from wrong
            wait_s = pause_s_before_next(answer, attempt, repeatable)
            if wait_s is None or last:
                return answer
            await self.pause(wait_s)
        raise AssertionError("unreachable")

    def _read(self, answer: Answer) -> dict[str, Any]:
        """Return the object of the answer. An error without our envelope is Strange."""
        try:
            body = answers.parsed(answer.body)
        except Unreadable as wrong:
            if 200 <= answer.status < 300:
                raise Strange(self.url, str(wrong)) from wrong
            body = {}
        if 200 <= answer.status < 300:
            return body
        if not isinstance((body := answers.flattened(body)).get("error"), str):
            elsewhere = ", and leads elsewhere" if 300 <= answer.status < 400 else ""
            raise Strange(self.url, f"HTTP {answer.status}{elsewhere}")
        raise Refused(answer.status, body, answer.headers)

    def strictly(self, reader: Callable[..., T], *parsed: Any) -> T:
        """Return an answer as a reader of app.buyer.answers parses it. Raises Strange."""
        try:
            return reader(*parsed)
        except Unreadable as wrong:
            raise Strange(self.url, str(wrong)) from wrong

    # -------------------------------------------------------------------- jobs

    async def estimate(self, request: str) -> Estimate:
        """Return what a request would cost at most. Free, and nothing is written down."""
        asked = {"request": request}
        parsed = await self.call("POST", "/api/estimate", json=asked, repeatable=True)
        return self.strictly(answers.estimate, parsed)

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
        parsed = await self.call("POST", "/api/jobs", json=body, headers=headers)
        return self.strictly(answers.created, parsed)

    async def show(self, job_id: str) -> Job:
        """Return a job as it stands."""
        return self._job(await self.call("GET", _at(job_id)), job_id)

    def _job(self, parsed: Mapping[str, Any], job_id: str) -> Job:
        return self.strictly(answers.job, parsed, job_id)

    async def watch(
        self, job_id: str, progress: Callable[[dict[str, Any]], None] | None = None
    ) -> AsyncIterator[Job]:
        """Yield the job each time it changes, and end when it can change no more.

        `progress` is called with what the agent has written so far, where the server streams it.
        Without a stream of events (an older server, a proxy that holds it back), and when one ends
        before the job does, the job is polled. An event that can't be read is skipped.
        """
        last, cuts = "", 0
        while True:
            try:
                async with contextlib.aclosing(self._events(job_id, last)) as events:
                    async for event in events:
                        last, cuts = event.id or last, 0
                        tell(event, progress)
                        job = told_of(event, job_id)
                        if job is not None:
                            yield job
                        if event.kind == "end":
                            if job is not None and job["state"] in FINAL:
                                return
                            raise _NoStream  # how it ended is asked for
                reason = "it hung up"  # a restart, perhaps: what was missed is sent again
            except _NoStream:
                break
            except Lost as lost:
                reason = lost.reason
            cuts += 1
            if cuts == self._tries:
                raise Away(self.url, reason)
            await self.pause(2.0**cuts / 8)
        async for job in self._polled(job_id):
            yield job

    async def _events(self, job_id: str, last: str) -> AsyncGenerator[Event, None]:
        """Yield the events of a stream. Raises _NoStream, Lost, Strange."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        try:
            async with contextlib.AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(FIRST_WORD_S):
                        asking = self._exchange.stream(f"{_at(job_id)}/events", headers, SILENCE_S)
                        answer = await stack.enter_async_context(asking)
                        if answer.status == 204:  # it has ended, and every event was sent
                            yield Event("end", last, {})
                            return
                        if answer.status != 200 or not answer.kind.startswith("text/event-stream"):
                            raise _NoStream
                        # `retry`, at once: nobody holds the stream back
                        first = await anext(answer.lines, "")
                except TimeoutError:
                    raise _NoStream from None
                async for event in read_events(with_first(first, answer.lines)):
                    yield event
        except Overlong as wrong:
            raise Strange(self.url, str(wrong)) from wrong

    async def _polled(self, job_id: str) -> AsyncIterator[Job]:
        """Yield the job each time that a held poll says that it changed. Raises Refused, Away.

        The first poll is answered at once: nothing of the job is known yet.
        """
        async for parsed in self.changes(_at(job_id)):
            job = self._job(parsed, job_id)
            yield job
            if job["state"] in FINAL:
                return

    async def changes(
        self, path: str, headers: Mapping[str, str] | None = None, **params: str
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what is at an address now, and then whenever a held poll says that it changed."""
        etag = ""
        while True:
            options: dict[str, Any] = {"params": params, "headers": dict(headers or {})}
            if etag:
                options["params"] = params | {"wait": str(LONG_POLL_S)}
                options["headers"]["If-None-Match"] = etag
            answer = await self._answer("GET", path, True, options)
            if answer.status == 304 and etag:
                continue
            yield self._read(answer)
            tag = answer.headers.get("etag", "")
            if tag == etag or not _TAG.fullmatch(tag):  # that would be asked without a pause
                await self.pause(1.0)
            etag = tag if _TAG.fullmatch(tag) else ""

    async def download(self, path: str, into: IO[bytes], most_bytes: int) -> None:
        """Write a file of the server's, of at most so many bytes. Raises Refused, Away, Strange.

        What was written of one that broke off is written over.
        """
        for attempt in range(1, self._tries + 1):
            into.seek(0)
            into.truncate()
            try:
                answer = await self._exchange.download(path, into, most_bytes, SILENCE_S)
            except Overlong as wrong:
                raise Strange(self.url, str(wrong)) from wrong
            except Lost as lost:
                if attempt == self._tries or not lost.may_pass:
                    raise Away(self.url, lost.reason) from lost
                await self.pause(2.0**attempt / 8)
                continue
            wait_s = pause_s_before_next(answer, attempt, repeatable=True)
            if answer.status == 200:
                return
            if wait_s is None or attempt == self._tries:
                self._read(answer)
                raise Strange(self.url, f"HTTP {answer.status} where a file should be")
            await self.pause(wait_s)

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job whose open invoice was not paid."""
        parsed = await self.call("POST", f"{_at(job_id)}/cancel", repeatable=True)
        return self._job(parsed, job_id)

    async def refund(self, job_id: str, bolt11: str) -> dict[str, Any]:
        """Claim what is owed back, with an invoice of just that amount."""
        parsed = await self.call("POST", f"{_at(job_id)}/refund", json={"invoice": bolt11})
        return self.strictly(answers.refunded, parsed)

    # --------------------------------------------------------- asks by the call

    async def offer(
        self, request: str, max_sats: int | None = None, refund_to: str | None = None
    ) -> Offer:
        """Ask what a request costs by the call (L402). `max_sats` is for all of it."""
        body = without_none(request=request, maxSats=max_sats, refundTo=refund_to)
        headers = {"Idempotency-Key": new_key()}
        refused = await self.priced("/api/ask", body, headers)
        invoice, macaroon = self.offered(refused)
        job_id = str(refused.body.get("instance", "")).rpartition("/")[2]
        return Offer(invoice, macaroon, job_id if is_id(job_id) else "", request)

    async def priced(self, path: str, body: Any, headers: dict[str, str]) -> Refused:
        """Return the 402 that says what something costs. Raises Refused for any other refusal."""
        try:
            await self.call("POST", path, json=body, headers=headers)
        except Refused as refused:
            if refused.status != 402:
                raise
            return refused
        raise Strange(self.url, "it gives away what should be paid for")

    def offered(self, refused: Refused) -> tuple[Invoice, str]:
        """Return the invoice of a 402, and the macaroon that its preimage completes."""
        found = _L402.search(refused.headers.get("www-authenticate", ""))
        if found is None:
            raise Strange(self.url, "its 402 offers no L402 that can be read")
        amount_sats = self.strictly(answers.offered, refused.body)
        return Invoice(paymentRequest=found[2], amountSats=amount_sats), found[1]

    async def redeem(self, offer: Offer, preimage: str, wait_s: int = LONG_POLL_S) -> Answered:
        """Return what an offer has bought, for the preimage of its payment; as often as needed.

        It waits for the end, asking again as long as that takes. `wait_s` is for one call; with 0
        what it answers at once is returned.
        """
        while True:
            parsed = await self.call(
                "POST",
                "/api/ask",
                params={"wait": str(wait_s)},
                json={"request": offer.request},
                headers={"Authorization": f"L402 {offer.macaroon}:{preimage}"},
                repeatable=True,  # the proof names the one job that it buys
            )
            bought = self.strictly(answers.answered, parsed)
            if not wait_s or bought["state"] in FINAL:
                return bought
            await self.pause(1.0)

    # ----------------------------------------------------- pictures and films

    async def batch(self, wish: "Wish", session: "Session | None" = None, key: str = "") -> "Batch":
        """Order pictures or films; return them with the invoice whose payment begins them, or begun
        where a session pays. `app.buyer.drawing` saves them, and takes back the rest."""
        from app.buyer.batch import ordered, ordered_on

        return await (ordered_on(self, wish, session, key) if session else ordered(self, wish))

    # --------------------------------------------------- the stub rail's wallet

    async def stub_pay(self, payment_hash: str) -> dict[str, Any]:
        """Pay an invoice with the stub rail's wallet. To pay it again is a replay."""
        return await self.call("POST", f"/api/dev/stub/pay/{payment_hash}", repeatable=True)

    async def stub_invoice(self, amount_sats: int) -> str:
        """Have the stub rail's wallet make an invoice."""
        made = await self.call("POST", "/api/dev/stub/invoice", json={"amountSats": amount_sats})
        return str(made.get("paymentRequest", ""))


def new_key() -> str:
    """Return an Idempotency-Key that nobody else has."""
    return secrets.token_hex(16)


def without_none(**values: Any) -> dict[str, Any]:
    """Return what has a value."""
    return {name: value for name, value in values.items() if value is not None}


def _at(job_id: str) -> str:
    """Return where a job is. Raises ValueError for what can't be its id."""
    if not is_id(job_id):
        raise ValueError("the id of a job is 32 hex digits")
    return f"/api/jobs/{job_id}"
