"""The client: buys from a whole server, repeats what may be repeated, and says clearly what not."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from app.buyer.client import Client, Offer
from app.buyer.failures import Away, Refused
from app.buyer.payer import Exit, NotPaid, Payer, Stop
from app.buyer.purchase import Purchase
from app.buyer.session import BadMacaroon, Session, open_session
from app.buyer.wallets.stub import StubWallet
from app.buyer.wallets.wallet import Overcharged, due
from db.audit import audit
from payments.rail import Failed, Outcome, Settled
from tests.world.fault_proxy import FaultProxy
from tests.world.house_fixtures import Instance
from tests.world.scripted_agent import ScriptedAgent

pytestmark = pytest.mark.one_instance

JOB = "1" * 32


@pytest.fixture
async def client(instance: Instance) -> AsyncIterator[Client]:
    """A client of a running instance."""
    async with Client(instance.url) as made:
        yield made


class Server:
    """Answers as a test says, and keeps what it was asked; pauses are noted and not waited for."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.answers, self.asked = list(answers), list[httpx2.Request]()
        self.pauses: list[float] = []

    def client(self) -> Client:
        """Return a client that speaks to it."""
        transport = httpx2.MockTransport(self._answer)
        return Client("http://nowhere.test", pause=self._pause, transport=transport)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


def busy(status: int, **headers: str) -> httpx2.Response:
    """Return an answer of somebody who can't just now."""
    return httpx2.Response(status, json={"error": "not now"}, headers=headers)


# ------------------------------------------------------------------------- jobs


async def test_a_job_is_bought_from_the_price_to_the_refund(
    instance: Instance, client: Client
) -> None:
    """The evaluation and the work are paid, and what was not needed is taken back."""
    job = await Purchase(client, Payer(StubWallet(client)), max_sats=500).buy("hello")
    assert job["state"] == "complete" and job["result"] == "done: hello"
    assert [owed["refundState"] for owed in job["refunds"]] == ["paid"]
    assert await audit(instance.built.db) == []


async def test_what_ends_otherwise_says_how(client: Client) -> None:
    """A rejected job has its reason, a failed one its error, and its work is paid back."""
    rejected = await Purchase(client, Payer(StubWallet(client))).buy("REJECT")
    assert (rejected["state"], "reason" in rejected) == ("rejected", True)
    failed = await Purchase(client, Payer(StubWallet(client))).buy("BREAK-WORK")
    assert failed["state"] == "failed" and failed["errorMessage"]
    assert [owed["refundState"] for owed in failed["refunds"]] == ["paid"]


async def test_more_than_the_limit_is_never_paid(
    client: Client, scripted_agent: ScriptedAgent
) -> None:
    """The whole price is asked for first; above the limit nothing is created and nothing paid."""
    purchase = Purchase(client, Payer(StubWallet(client)), max_sats=10)
    with pytest.raises(Stop) as stopped:
        await purchase.buy("hello")
    assert stopped.value.code is Exit.REFUSED and "limit of 10" in stopped.value.sentence
    assert purchase.job_id == "" and not scripted_agent.calls


@pytest.mark.one_instance(False)
async def test_a_lost_answer_does_not_make_two_jobs(instance: Instance) -> None:
    """A creation whose answer was lost is sent again with its key, and finds the same job."""
    async with FaultProxy.before(instance.url) as proxy:
        proxy.inject("answer lost", "POST", "/api/jobs")
        async with Client(proxy.url) as client:
            made = await client.create("hello")
        assert proxy.calls["POST", "/api/jobs"] == 2
    rows = await instance.built.db.read_all("SELECT id FROM job")
    assert [row["id"] for row in rows] == [made["jobId"]]


async def test_a_watch_goes_on_when_a_connection_breaks(
    instance: Instance, client: Client, scripted_agent: ScriptedAgent
) -> None:
    """Who follows a job asks again after a cut, and misses no end."""
    async with FaultProxy.before(instance.url) as proxy:
        proxy.inject("reset in mid-body", "GET", "/api/jobs", times=2)
        async with Client(proxy.url) as cut:
            job = await Purchase(cut, Payer(StubWallet(client))).buy("hello")
    assert job["state"] == "complete"
    assert scripted_agent.calls["work", "hello"] == 1


# ------------------------------------------------------------ asks and sessions


async def test_an_ask_is_bought_by_the_call(client: Client, scripted_agent: ScriptedAgent) -> None:
    """A 402 is paid, its proof buys the job, and buys the same one again."""
    offer = await client.offer("hello")
    wallet = StubWallet(client)
    paid = await wallet.pay(due(offer.invoice))
    assert isinstance(paid, Settled)
    first = await client.redeem(offer, paid.preimage)
    assert first["result"] == "done: hello" and first["jobId"] == offer.job_id
    assert await client.redeem(offer, paid.preimage) == first
    assert scripted_agent.calls["work", "hello"] == 1
    assert offer.macaroon not in repr(offer)
    with pytest.raises(Refused) as refused:
        await client.offer("hello", max_sats=1)
    assert refused.value.status == 409 and refused.value.next_step


async def test_what_takes_longer_is_asked_for_again() -> None:
    """A proof that is answered 202 is shown again until the job is over."""
    goes_on = httpx2.Response(202, json={"jobId": JOB, "state": "executing", "next": "again"})
    done = httpx2.Response(200, json={"jobId": JOB, "state": "complete", "result": "yes"})
    server = Server(goes_on, goes_on, done)
    offer = Offer({"paymentRequest": "lnbc1", "amountSats": 1}, "AG", JOB, "hello")
    async with server.client() as client:
        assert (await client.redeem(offer, "00" * 32))["result"] == "yes"
    assert len({asked.headers["authorization"] for asked in server.asked}) == 1
    assert len(server.asked) == 3


async def test_a_session_is_opened_spent_topped_up_and_closed(
    instance: Instance, client: Client
) -> None:
    """Its requests are paid from the balance; what is left at the end comes back."""
    wallet = StubWallet(client)
    session = await open_session(client, 500, wallet)
    answer = await session.request("hello", max_sats=100)
    assert answer["result"] == "done: hello"
    left = answer["balanceRemaining"] + 100
    assert (await session.top_up(100, wallet))["balanceSats"] == left
    closed = await session.close()
    assert [owed["amountSats"] for owed in closed["refunds"]] == [left]
    invoice = await wallet.make_invoice(left, "rest")
    assert isinstance(invoice, str)
    assert (await session.refund(invoice))["ok"]
    assert await audit(instance.built.db) == []


async def test_a_macaroon_is_narrowed_without_asking_anybody(client: Client) -> None:
    """A child spends no more than its budget, and reaches no endpoint that it was not given."""
    session = await open_session(client, 1_000, StubWallet(client))
    price = (await client.estimate("hello"))["totalSats"]
    child = session.narrowed(budget_sats=price, endpoints=["request"])
    twin = session.narrowed(budget_sats=price, endpoints=["request"])
    assert child.id == session.id and child.macaroon != twin.macaroon
    assert (await child.request("hello"))["state"] == "complete"
    with pytest.raises(Refused) as over:
        await child.request("hello")
    assert over.value.status == 402
    with pytest.raises(Refused) as closed:
        await child.close()
    assert closed.value.status == 403
    with pytest.raises(BadMacaroon):
        session.narrowed(endpoints=["everything"])
    for junk in ("", "x", "A" * 5_000):
        with pytest.raises(BadMacaroon):
            Session(client, junk)


class Poor(StubWallet):
    """A wallet that says no."""

    async def pay(self, invoice: Any) -> Outcome:
        """See Wallet."""
        return Failed("it is empty")


async def test_a_deposit_that_was_not_paid_is_said(client: Client) -> None:
    """No session comes of it, and the wallet's own reason is told."""
    with pytest.raises(NotPaid, match="it is empty"):
        await open_session(client, 100, Poor(client))


async def test_an_invoice_is_paid_for_what_it_says_itself(instance: Instance) -> None:
    """A server that tells of less than its invoice asks for is not paid."""
    made = await instance.create("hello")
    told = made["evalInvoice"]
    assert due(told).amount_msat == told["amountSats"] * 1000
    for wrong in ({"amountSats": 1}, {"paymentRequest": "lnbc1nothing"}):
        with pytest.raises(Overcharged):
            due({**told, **wrong})


# ----------------------------------------------------------------- trying again


async def test_who_says_when_to_come_back_is_listened_to() -> None:
    """After a Retry-After the same call is made again, with the same key."""
    made = {"jobId": JOB, "evalInvoice": {"paymentRequest": "lnbc1", "amountSats": 5}}
    server = Server(
        busy(503, **{"Retry-After": "3"}),
        busy(429, **{"Retry-After": "7"}),
        httpx2.Response(201, json=made),
    )
    async with server.client() as client:
        assert await client.create("hello") == made
    assert server.pauses == [3, 7]
    assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 1
    assert json.loads(server.asked[0].content) == {"request": "hello"}


async def test_nobody_waits_an_hour() -> None:
    """A Retry-After that is too long is told to whoever asked, at once."""
    server = Server(busy(429, **{"Retry-After": "3600"}))
    async with server.client() as client:
        with pytest.raises(Refused) as refused:
            await client.estimate("hello")
    assert refused.value.status == 429 and server.pauses == []
    assert refused.value.headers["retry-after"] == "3600"


@pytest.mark.parametrize("trouble", [httpx2.ConnectError("no"), httpx2.ReadTimeout("late")])
async def test_what_may_be_repeated_is_and_nothing_else(trouble: Exception) -> None:
    """A GET is asked again a few times; a claim on a refund, which has no key, is not."""
    server = Server(*[trouble] * 4)
    async with server.client() as client:
        with pytest.raises(Away, match=r"nowhere\.test"):
            await client.show(JOB)
    assert len(server.asked) == 4 and server.pauses == sorted(server.pauses)
    server = Server(trouble)
    async with server.client() as client:
        with pytest.raises(Away):
            await client.refund(JOB, "lnbc1")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, html="<h1>welcome</h1>"),
        httpx2.Response(200, content=b"{", headers={"content-type": "application/json"}),
        httpx2.Response(200, json=[1]),
    ],
)
async def test_what_is_no_answer_of_ours_is_away(answer: httpx2.Response) -> None:
    """HTML, half a JSON and a list are not taken for a job."""
    async with Server(answer).client() as client:
        with pytest.raises(Away):
            await client.cancel(JOB)


async def test_a_402_without_an_l402_is_away() -> None:
    """An offer that can't be read is not paid."""
    strange = httpx2.Response(402, json={"error": "pay"}, headers={"WWW-Authenticate": "Basic x"})
    async with Server(strange).client() as client:
        with pytest.raises(Away, match="L402"):
            await client.offer("hello")


# ------------------------------------------------------------------- the stream


def stream(*events: str) -> httpx2.Response:
    """Return a stream of events, as a server sends it."""
    content = "retry: 1500\n\n" + "".join(events)
    return httpx2.Response(200, content=content, headers={"content-type": "text/event-stream"})


def event(number: int, kind: str, state: str) -> str:
    """Return an event that tells of a job."""
    job = json.dumps({"version": number, "job": {"jobId": JOB, "state": state}})
    return f"id: {number}\nevent: {kind}\ndata: {job}\n\n"


async def test_a_stream_that_is_cut_is_gone_on_with() -> None:
    """The last id that was seen is sent again; what was told is not told twice."""
    progress = 'event: progress\ndata: {"costSats": 3, "outputTokens": 4}\n\n: still here\n\n'
    server = Server(
        stream(event(1, "state", "evaluating"), "id: 2\nevent: state\ndata: {"),
        httpx2.ReadError("cut"),
        stream(event(2, "state", "executing"), progress, event(3, "end", "complete")),
    )
    costs: list[dict[str, Any]] = []
    async with server.client() as client:
        states = [job["state"] async for job in client.watch(JOB, costs.append)]
    assert states == ["evaluating", "executing", "complete"]
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, "1", "1"]
    assert [told["costSats"] for told in costs] == [3]


async def test_without_a_stream_polls_tell_the_same(instance: Instance) -> None:
    """A proxy that collects whole answers, or a server without streams, hides nothing."""
    tag = {"ETag": '"2"'}
    server = Server(
        httpx2.Response(404, json={"error": "no"}),
        httpx2.Response(200, json={"jobId": JOB, "state": "executing"}, headers=tag),
        httpx2.Response(304),
        httpx2.Response(200, json={"jobId": JOB, "state": "complete"}, headers=tag),
    )
    async with server.client() as client:
        assert [job["state"] async for job in client.watch(JOB)] == ["executing", "complete"]
    assert [asked.url.query for asked in server.asked] == [b"", b"", b"wait=30", b"wait=30"]
    async with FaultProxy.before(instance.url) as proxy, Client(proxy.url) as client:
        job = await Purchase(client, Payer(StubWallet(client))).buy("hello")
    assert job["state"] == "complete"


async def test_a_job_that_has_ended_is_told_at_once(instance: Instance, client: Client) -> None:
    """The stream of one that is over tells it once more, and ends."""
    done = await instance.to_end("hello")
    assert [job["state"] async for job in client.watch(done["jobId"])] == ["complete"]
    with pytest.raises(Refused):
        await anext(client.watch("0" * 32))
