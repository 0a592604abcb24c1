"""What is left of a session goes back to its holder: closed, idle, late, and to the last sat."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.plant import loops_of
from db.audit import audit
from payments.lnbits import LnbitsRail
from payments.lnurl import Destination, parse
from payments.stub import StubRail
from pricing.money import Msat
from tests.world.clock import Clock
from tests.world.contract import refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lnbits_server import LnbitsServer
from tests.world.patience import patiently
from tests.world.pay_server import PayServer
from tests.world.rail_fixtures import wall_clock
from tests.world.refund_fixtures import nothing_is_lost, wallet_of
from tests.world.scripted_agent import ScriptedAgent
from tests.world.session_fixtures import (
    Holder,
    balance_sats,
    books_are_right,
    held,
    holder_of,
    made,
    take_back,
    where,
)

# ----------------------------------------------------------------------------- closing


async def test_closing_owes_the_rest_back(instance: Instance) -> None:
    """Nothing is kept, the session takes no more requests, and closing it again says the same."""
    holder = await held(instance)
    closed = await holder.post("close")
    assert closed.status_code == 200, closed.text
    said = closed.json()
    assert said["state"] == "expired" and said["balanceSats"] == 0
    assert said["macaroon"] == holder.macaroon  # it claims what is owed
    [refund] = said["refunds"]
    assert (refund["reason"], refund["amountSats"]) == ("unspent", 2_000)
    assert refund["destination"] == "needed" and refund["lnurlWithdraw"].startswith("LNURL1")
    assert (await holder.post("close")).json() == said
    refused(await holder.ask(), 410, "closed")
    await books_are_right(instance)


async def test_a_closed_sessions_rest_is_taken_with_an_invoice(instance: Instance) -> None:
    """Of that amount, or of what its routing may leave of it, once."""
    holder = await held(instance, 300)
    refused(await take_back(holder, 300), 409, "No refund is owed")
    await holder.post("close")
    refused(await take_back(holder, 290), 400, "300 sats are owed")
    paid = await take_back(holder, 300)
    assert paid.status_code == 200 and paid.json()["refundAmountSats"] == 300
    refused(await take_back(holder, 300), 409, "paid already")
    await nothing_is_lost(instance, refunded_sats=300)
    await books_are_right(instance)


async def test_it_is_withdrawn_by_scanning_a_code(instance: Instance) -> None:
    """The code of a session's refund works like that of a job's."""
    holder = await held(instance, 300)
    code = (await holder.post("close")).json()["refunds"][0]["lnurlWithdraw"]
    url = parse(code, allow_loopback=True)
    assert isinstance(url, Destination)
    offer = (await instance.http.get(url.url)).json()
    assert offer["maxWithdrawable"] == offer["minWithdrawable"] == 300_000
    assert "session" in offer["defaultDescription"]
    mine = await instance.post("/api/dev/stub/invoice", {"amountSats": 300})
    taken = {"k1": offer["k1"], "pr": mine.json()["paymentRequest"]}
    answer = await instance.http.get(offer["callback"], params=taken)
    assert answer.json() == {"status": "OK"}
    await holder.until(refundStates=["paid"])
    await books_are_right(instance)


async def test_it_goes_where_closing_says(lenient: Instance, stranger: PayServer) -> None:
    """The answer tells that it has arrived."""
    wallet_of(lenient, stranger)
    holder = await held(lenient, 300)
    closed = await holder.post("close", {"refundTo": stranger.url})
    assert closed.status_code == 200, closed.text
    assert closed.json()["refunds"][0]["refundState"] == "paid"
    again = await holder.post("close", {"refundTo": stranger.url})
    assert again.status_code == 200 and again.json() == closed.json()
    await nothing_is_lost(lenient, refunded_sats=300)
    await books_are_right(lenient)


async def test_a_destination_can_be_named_afterwards(
    lenient: Instance, stranger: PayServer
) -> None:
    """By closing it again, or with a claim."""
    wallet_of(lenient, stranger)
    for named in ("close", "refund"):
        holder = await held(lenient, 100)
        await holder.post("close")
        sent = await holder.post(named, {"refundTo": stranger.url})
        assert sent.status_code == 200, sent.text
        assert (await holder.status())["refunds"][0]["refundState"] == "paid"
    await nothing_is_lost(lenient, refunded_sats=200)


async def test_who_lost_the_macaroon_takes_the_refund_all_the_same(instance: Instance) -> None:
    """The deposit's preimage shows it again, even when all is over; that alone pays nothing."""
    holder = await held(instance, 100)
    await holder.post("close")
    row = await instance.built.db.read_one("SELECT preimage FROM invoice")
    assert row is not None
    proof = {"X-Payment-Preimage": row["preimage"]}
    path = f"{holder.path}/refund"
    refused(await instance.post(path, {"invoice": "lnbc1"}, headers=proof), 401, "macaroon")
    shown = (await instance.http.get(holder.path, headers=proof)).json()
    found = Holder(instance, holder.session_id, shown["macaroon"])
    assert (await take_back(found, 100)).status_code == 200
    await books_are_right(instance)


async def test_a_deposit_that_came_late_is_taken_back(timed: Instance, clock: Clock) -> None:
    """Its session never began, and its macaroon still claims what was paid."""
    session = await made(timed, 150)
    clock.forward(hours=2)
    await loops_of(timed.built).expiry.turn()
    await timed.pay(session["invoice"], late=True)
    shown = (await timed.http.get(where(session))).json()
    holder = Holder(timed, session["sessionId"], shown["macaroon"])
    shown = await holder.until(refundStates=["pending"])
    assert shown["refunds"][0]["reason"] == "unawaited" and shown["state"] == "expired"
    assert (await take_back(holder, 150)).status_code == 200
    await nothing_is_lost(timed, refunded_sats=150)


@pytest.mark.parametrize("named", ["nowhere", "when it was opened", "when it was closed"])
async def test_what_runs_when_a_session_is_closed_gives_its_rest_back_too(
    lenient: Instance, stranger: PayServer, scripted_agent: ScriptedAgent, named: str
) -> None:
    """It goes on to its end, and what all of it did not need is owed back as one sum."""
    wallet_of(lenient, stranger)
    more: dict[str, Any] = {"refundTo": stranger.url} if named == "when it was opened" else {}
    holder = await held(lenient, **more)
    scripted_agent.go.clear()
    running = [await holder.begun(text) for text in ("one", "REJECT", "BREAK-WORK")]
    body = {"refundTo": stranger.url} if named == "when it was closed" else None
    closed = (await holder.post("close", body)).json()
    assert closed["state"] == "expired" and closed["reservedSats"] > 0
    await audited(lenient)
    scripted_agent.go.set()
    costs = [(await holder.ended(request_id))["debitedSats"] for request_id in running]
    assert costs[1:] == [5, 0]
    status = await holder.until(reservedSats=0)
    assert sum(refund["amountSats"] for refund in status["refunds"]) == 2_000 - sum(costs)
    assert len(status["refunds"]) == 2 and {r["reason"] for r in status["refunds"]} == {"unspent"}
    if named != "nowhere":
        await holder.until(refundStates=["paid"] * 2)
        await nothing_is_lost(lenient, refunded_sats=2_000 - sum(costs))
    assert await balance_sats(lenient, f"session:{holder.session_id}") == 0
    await books_are_right(lenient)


async def audited(instance: Instance) -> None:
    """Hold the books to the law, while a payment may be on its way."""
    assert await audit(instance.built.db) == []


async def test_a_topup_of_a_closed_session_is_owed_back(instance: Instance) -> None:
    """Its invoice is nobody's any more; paid all the same, the sats are still the payer's."""
    holder = await held(instance, 100)
    invoice = await holder.top_up(200)
    closed = (await holder.post("close")).json()
    assert "pendingTopup" not in closed
    await instance.pay(invoice)
    status = await holder.until(refundStates=["pending", "pending"])
    assert [(r["reason"], r["amountSats"]) for r in status["refunds"]] == [
        ("unspent", 100),
        ("unawaited", 200),
    ]
    await books_are_right(instance)


# ---------------------------------------------------------------------------- idleness


async def test_an_idle_session_ends_with_its_money_back_in_the_wallet_that_was_named(
    timed: Instance, clock: Clock, stranger: PayServer
) -> None:
    """24 hours after its last use, by itself; one minute earlier it still works."""
    wallet_of(timed, stranger)
    holder = await held(timed, 300, refundTo=stranger.url)
    spent = (await holder.asked())["debitedSats"]
    clock.forward(hours=23, minutes=59)
    await loops_of(timed.built).expiry.turn()
    assert (await holder.status())["state"] == "active"
    clock.forward(minutes=1)
    status = await holder.until(state="expired", refundStates=["paid"])
    assert status["balanceSats"] == 0
    assert (status["refunds"][0]["reason"], status["refunds"][0]["amountSats"]) == (
        "unspent",
        300 - spent,
    )
    refused(await holder.ask(), 410, "closed")
    await nothing_is_lost(timed, refunded_sats=300 - spent)
    await books_are_right(timed)


async def test_a_paused_session_is_idle_too(timed: Instance, clock: Clock) -> None:
    """What is below the minimum is still its holder's, and waits to be taken."""
    holder = await held(timed, 100)
    while (await holder.status())["state"] == "active":
        await holder.asked()
    left = (await holder.status())["balanceSats"]
    clock.forward(hours=24)
    status = await holder.until(state="expired", refundStates=["pending"])
    assert status["refunds"][0]["amountSats"] == left
    assert (await take_back(holder, left)).status_code == 200
    await books_are_right(timed)


async def test_an_idle_session_through_lnbits_pays_the_other_wallet(
    database_url: str, tmp_path: Path, lnbits: LnbitsServer, scripted_agent: ScriptedAgent
) -> None:
    """Paid from one wallet of the real LNbits, used, left alone, and back in it by itself.

    The session's day begins a day ago, so that LNbits and we agree on the time when it is over.
    """
    clock = Clock()
    clock.now = wall_clock() - timedelta(hours=25)
    ours, theirs = await lnbits.balance_msat(lnbits.us), await lnbits.balance_msat(lnbits.buyer)
    rail = LnbitsRail(lnbits.url, lnbits.us.adminkey, clock=wall_clock)
    async with instance_of(
        database_url,
        tmp_path,
        rail=rail,
        agent=scripted_agent,
        clock=clock,
        ALLOW_PRIVATE_DESTINATIONS=True,
    ) as instance:
        session = await made(instance, 400, refundTo=lnbits.buyer_lnurl)
        await lnbits.pay(lnbits.buyer, session["invoice"]["paymentRequest"])
        holder = await holder_of(instance, session)
        spent = (await holder.asked())["debitedSats"]
        clock.now = wall_clock()
        status = await holder.until(state="expired", refundStates=["paid"])
        assert status["refunds"][0]["amountSats"] == 400 - spent
        assert await lnbits.balance_msat(lnbits.us) == ours + spent * 1000
        assert await lnbits.balance_msat(lnbits.buyer) == theirs - spent * 1000
        assert await balance_sats(instance, "rail:lightning") == spent
        assert await audit(instance.built.db) == []


# --------------------------------------------------------------------- when things go wrong


async def test_a_refund_whose_outcome_is_unknown_is_not_sent_twice(
    timed: Instance, clock: Clock, stranger: PayServer
) -> None:
    """The rail's answer is lost: it is asked until it tells, and a claim has to wait."""
    wallet_of(timed, stranger)
    holder = await held(timed, 300, refundTo=stranger.url)
    hanging = {"call": "pay", "fault": "pending"}
    await timed.post("/api/dev/stub/faults", hanging)
    closed = await holder.post("close")
    assert closed.status_code == 200
    async for _ in patiently("it is not sent"):
        row = await timed.built.db.read_one("SELECT state FROM payout")
        if row is not None and row["state"] == "in_flight":
            break
    refused(await take_back(holder, 300), 409, "on its way")
    await audited(timed)
    await timed.http.delete("/api/dev/stub/faults")
    clock.forward(seconds=30)
    await holder.until(refundStates=["paid"])
    await nothing_is_lost(timed, refunded_sats=300)


async def test_two_closes_and_an_idle_sweep_at_once_owe_one_rest(
    database_url: str, tmp_path: Path, clock: Clock
) -> None:
    """Whoever comes first: one payout, of all that was left."""
    rail = StubRail(tmp_path / "stub.sqlite3", clock)
    async with instance_of(database_url, tmp_path, rail=rail, clock=clock) as instance:
        holder = await held(instance, 500)
        loops = [loops_of(instance.built) for _ in range(3)]
        clock.forward(hours=25)
        await asyncio.gather(
            *(holder.post("close") for _ in range(5)), *(each.expiry.turn() for each in loops)
        )
        rows = await instance.built.db.read_all("SELECT amount, reason FROM payout")
        assert [(row["amount"], row["reason"]) for row in rows] == [(Msat(500_000), "unspent")]
        await books_are_right(instance)
