"""Who bears the routing of what is sent back: the house that of its work, a balance its own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.plant import sending_of
from db import payouts
from payments.stub import StubRail
from pricing.money import Msat, sats_to_msat
from statemachine.owner import Reason
from statemachine.routing import Means, change_msat, share
from tests.world.clock import Clock
from tests.world.contract import refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.pay_server import PayServer
from tests.world.refund_fixtures import wallet_of
from tests.world.session_fixtures import Holder, balance_sats, books_are_right, held, take_back

HOP_SATS = 100  # what the last hop takes: 1 % of the dearest session


@pytest.fixture
async def dear(database_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Instance]:
    """An instance whose every payment has a dear last hop."""
    rail = StubRail(tmp_path / "stub.sqlite3", clock, routing_fee_msat=Msat(HOP_SATS * 1_000))
    async with instance_of(
        database_url, tmp_path, rail=rail, clock=clock, ALLOW_PRIVATE_DESTINATIONS=True
    ) as running:
        await held(running, 10_000)  # out of this the house pays fees
        yield running


async def _told(answer: httpx2.Response) -> int:
    """Return the amount that a refusal says an invoice may ask for."""
    said = answer.json()["error"]
    return int(said.partition("make one for ")[2].partition(" sat")[0].replace(",", ""))


async def _taken(holder: Holder) -> int:
    """Close a session and take its rest, with an invoice of what may be asked for."""
    await holder.post("close")
    [refund] = (await holder.status())["refunds"]
    answer = await take_back(holder, refund["amountSats"])
    sats = int(refund["amountSats"])
    if answer.status_code == 400:
        sats = await _told(answer)
        assert refund["leastSats"] <= sats < refund["amountSats"]
        answer = await take_back(holder, sats)
    assert answer.status_code == 200, answer.text
    assert answer.json()["refundAmountSats"] == sats
    return sats


async def test_money_sent_in_a_circle_costs_the_house_its_allowance_and_no_more(
    dear: Instance,
) -> None:
    """25 sessions of 10,000 sats, nothing bought, all of it withdrawn over a dear last hop: the
    house pays what it gives on one day, and whoever owns that hop has paid it the rest himself."""
    rounds = [await _taken(await held(dear, 10_000)) for _ in range(25)]
    cost = await balance_sats(dear, "expense:routing")
    assert cost <= dear.built.settings.routing_free_sats_per_day
    assert rounds[0] == 9_920 and rounds[-1] == 9_900
    assert sum(rounds) == 25 * (10_000 - HOP_SATS) + cost
    await books_are_right(dear)


async def test_one_payer_is_given_no_more_than_his_allowance(dear: Instance) -> None:
    """What the day still holds is for others."""
    await _taken(await held(dear, 10_000))
    assert await balance_sats(dear, "expense:routing") == dear.built.settings.routing_free_sats


async def test_the_next_day_has_an_allowance_of_its_own(dear: Instance, clock: Clock) -> None:
    """Days are UTC."""
    for _ in range(11):
        last = await _taken(await held(dear, 10_000))
    assert last == 9_900
    clock.forward(hours=24)
    assert await _taken(await held(dear, 10_000)) == 9_920
    await books_are_right(dear)


async def test_what_the_house_earned_from_a_payer_pays_for_his_routing(
    dear: Instance,
) -> None:
    """Its margin, that is: what the work itself cost is spent."""
    holder = await held(dear, 10_000)
    spent = sum([(await holder.asked())["debitedSats"] for _ in range(12)])
    margin_msat = spent * 1_000 * 20 // 120
    await holder.post("close")
    [row] = await payouts.of_owner(dear.built.db, holder.session_id)
    bears = await sending_of(dear.built).share_of(row)
    assert bears.earned_msat == min(margin_msat, bears.limit_msat) > 0
    assert (
        bears.sendable_msat
        == row.amount_msat - -(-(bears.limit_msat - margin_msat - 20_000) // 1_000) * 1_000
    )


async def test_what_routing_did_not_need_is_owed_back_once_more(
    database_url: str, tmp_path: Path, clock: Clock
) -> None:
    """Withheld for a way that turns out to cost less: the change is the payee's."""
    rail = StubRail(tmp_path / "stub.sqlite3", clock, routing_fee_msat=Msat(30_500))
    async with instance_of(database_url, tmp_path, rail=rail, clock=clock) as instance:
        await held(instance)
        holder = await held(instance, 10_000)
        sent = await _taken(holder)
        first, change = (await holder.status())["refunds"]
        assert first["refundState"] == "paid" and "leastSats" not in first
        assert (change["reason"], change["refundState"]) == ("change", "pending")
        # 20 of the 30.5 sats are the house's; of the other 10.5 a whole sat is the least.
        assert change["amountSats"] == 10_000 - sent - 11
        assert await balance_sats(instance, f"refund:{holder.session_id}:rest1:change") == 69
        await books_are_right(instance)


async def test_a_destination_is_asked_for_what_can_be_sent_and_gets_the_change_too(
    database_url: str, tmp_path: Path, clock: Clock, stranger: PayServer
) -> None:
    """By itself, one after the other."""
    rail = StubRail(tmp_path / "stub.sqlite3", clock, routing_fee_msat=Msat(1_000))
    async with instance_of(
        database_url, tmp_path, rail=rail, clock=clock, ALLOW_PRIVATE_DESTINATIONS=True
    ) as instance:
        wallet_of(instance, stranger)
        await held(instance)
        holder = await held(instance, 10_000, refundTo=stranger.url)
        await holder.post("close")
        status = await holder.until(refundStates=["paid", "paid"])
        assert [refund["amountSats"] for refund in status["refunds"]] == [10_000, 80]
        assert await balance_sats(instance, "expense:routing") == 2
        await books_are_right(instance)


async def test_a_scanned_code_offers_what_can_be_sent(dear: Instance) -> None:
    """A wallet asks for what it is offered, so that is the amount."""
    holder = await held(dear, 10_000)
    await holder.post("close")
    [row] = await payouts.of_owner(dear.built.db, holder.session_id)
    assert (await sending_of(dear.built).share_of(row)).sendable_msat == sats_to_msat(9_920)


async def test_an_invoice_below_what_is_surely_sent_is_refused(dear: Instance) -> None:
    """Nobody gives up more of a refund than its routing may cost."""
    holder = await held(dear, 10_000)
    await holder.post("close")
    refused(await take_back(holder, 9_899), 400, "10,000 sats are owed")
    assert (await take_back(holder, 9_900)).status_code == 200
    await books_are_right(dear)


async def test_what_work_owes_back_is_routed_at_the_houses_expense(
    database_url: str, tmp_path: Path, clock: Clock
) -> None:
    """All of the surplus arrives, however dear the last hop is within the limit of 1 %."""
    rail = StubRail(tmp_path / "stub.sqlite3", clock, routing_fee_msat=Msat(1_000))
    more: dict[str, Any] = {"ROUTING_FREE_SATS": 0, "ROUTING_FREE_SATS_PER_DAY": 0}
    async with instance_of(database_url, tmp_path, rail=rail, clock=clock, **more) as instance:
        await held(instance)
        done = await instance.to_end()
        [refund] = done["refunds"]
        assert refund["reason"] == "surplus" and "leastSats" not in refund
        mine = await instance.post("/api/dev/stub/invoice", {"amountSats": refund["amountSats"]})
        claim = {"invoice": mine.json()["paymentRequest"]}
        answer = await instance.post(f"/api/jobs/{done['jobId']}/refund", claim)
        assert answer.status_code == 200, answer.text
        assert await balance_sats(instance, "expense:routing") == 1
        await books_are_right(instance)


async def test_what_was_paid_over_bears_its_own_routing(
    database_url: str, tmp_path: Path, clock: Clock
) -> None:
    """A job that is paid twice over passes money through as a session does."""
    rail = StubRail(tmp_path / "stub.sqlite3", clock, routing_fee_msat=Msat(10_000))
    more: dict[str, Any] = {"ROUTING_FREE_SATS": 0}
    async with instance_of(database_url, tmp_path, rail=rail, clock=clock, **more) as instance:
        await held(instance)
        job = await instance.create()
        await instance.pay(job["evalInvoice"], amountSats=1_005)
        shown = await instance.until(job["jobId"], "awaiting_work_payment", field="refunds")
        [refund] = shown["refunds"]
        assert (refund["amountSats"], refund["leastSats"]) == (1_000, 990)
        for sats, status in ((1_000, 400), (990, 200)):
            mine = await instance.post("/api/dev/stub/invoice", {"amountSats": sats})
            claim = {"invoice": mine.json()["paymentRequest"]}
            answer = await instance.post(f"/api/jobs/{job['jobId']}/refund", claim)
            assert answer.status_code == status, answer.text
        assert await balance_sats(instance, "expense:routing") == 0
        await books_are_right(instance)


@pytest.mark.parametrize(
    ("means", "sendable", "earned", "free"),
    [
        (Means(0, 0), 9_900, 0, 0),
        (Means(0, 20_000), 9_920, 0, 20_000),
        (Means(50_500, 20_000), 9_970, 50_500, 20_000),
        (Means(90_000, 20_000), 10_000, 90_000, 10_000),
        (Means(500_000, 20_000), 10_000, 100_000, 0),
    ],
)
def test_what_was_earned_is_spent_before_what_is_given(
    means: Means, sendable: int, earned: int, free: int
) -> None:
    """And the payee bears only what both of them do not cover, in whole sats."""
    bears = share(Reason.UNSPENT, 10_000_000, 100_000, means)
    assert bears.sendable_msat == sendable * 1_000
    assert (bears.earned_msat, bears.free_msat) == (earned, free)
    assert bears.least_msat == 9_900_000


@pytest.mark.parametrize(
    ("withheld", "borne", "fee", "change"),
    [
        (0, 100_000, 70_000, 0),
        (80_000, 20_000, 0, 80_000),
        (80_000, 20_000, 20_000, 80_000),
        (80_000, 20_000, 20_001, 79_000),
        (80_000, 20_000, 100_000, 0),
        (80_000, 20_000, 500_000, 0),
        (80_500, 20_000, 20_000, 80_000),
    ],
)
def test_change_is_what_neither_the_house_nor_the_way_has_used(
    withheld: int, borne: int, fee: int, change: int
) -> None:
    """In whole sats, and never below nothing."""
    assert change_msat(withheld, borne, fee) == change
