"""The stub rail: its faults do what they say, and its store survives others and kill -9."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any, get_args

import pytest

from payments.bolt11 import decode
from payments.faults import Call, Fault
from payments.rail import Failed, Opened, Outcome, Pending, Settled, Unavailable, Unknown
from payments.stub import StubRail
from payments.stub_node import StubNode
from pricing.money import Msat
from tests.world.patience import PATIENCE_S
from tests.world.rail_fixtures import RailClock, next_push

ROOT = Path(__file__).parents[2]


async def invoice(rail: StubRail, key: str = "k", amount_msat: int = 5_000) -> Opened:
    """Return an invoice of ours."""
    opened = await rail.create_invoice(key, Msat(amount_msat), "x", 600)
    assert isinstance(opened, Opened)
    return opened


async def theirs(rail: StubRail, amount_msat: int = 2_000) -> Opened:
    """Return an invoice of the buyer's."""
    return await rail.buyer_invoice(Msat(amount_msat), "refund", 600)


async def pay(rail: StubRail, opened: Opened) -> Outcome:
    """Pay it."""
    return await rail.pay(opened.bolt11, Msat(1_000))


# ---------------------------------------------------------------- invoices and payments


async def test_a_key_names_one_invoice(stub_rail: StubRail) -> None:
    """The same key gives the same invoice; for another amount it is a mistake of ours."""
    first = await invoice(stub_rail)
    assert await invoice(stub_rail) == first
    at_once = await asyncio.gather(*(invoice(stub_rail, "at once") for _ in range(20)))
    assert len(set(at_once)) == 1
    with pytest.raises(ValueError, match="another amount"):
        await invoice(stub_rail, amount_msat=6_000)


async def test_our_node_and_the_buyers_are_two(stub_rail: StubRail) -> None:
    """The buyer's invoices are signed by another node than ours, each always by the same."""
    ours = {decode((await invoice(stub_rail, key)).bolt11).payee for key in ("a", "b")}
    others = {decode((await theirs(stub_rail)).bolt11).payee for _ in range(2)}
    assert len(ours) == len(others) == 1 and ours != others


async def test_paid_twice_is_received_once(stub_rail: StubRail) -> None:
    """A second payment of an invoice is a replay of the first, and is not pushed again."""
    pushes = stub_rail.pushes()
    assert await next_push(pushes) is None
    opened = await invoice(stub_rail)
    first = await stub_rail.receive(opened.payment_hash)
    assert await stub_rail.receive(opened.payment_hash, amount_msat=Msat(9_000)) == first
    assert await stub_rail.balance_msat() == 5_000
    assert await next_push(pushes) == first
    with pytest.raises(TimeoutError):
        await next_push(pushes, within_s=0.5)


async def test_an_expired_invoice_is_paid_only_late(
    stub_rail: StubRail, rail_clock: RailClock
) -> None:
    """After expiry a wallet refuses to pay, and a payment that was on its way still arrives."""
    opened = await invoice(stub_rail)
    rail_clock.advance(600)
    assert isinstance(await stub_rail.receive(opened.payment_hash), Failed)
    assert isinstance(await stub_rail.receive(opened.payment_hash, late=True), Settled)
    assert isinstance(await stub_rail.look_up_invoice(opened.payment_hash), Settled)


async def test_more_may_be_paid_than_asked_and_not_less(stub_rail: StubRail) -> None:
    """Over-payment is received as it came; less than asked is refused."""
    opened = await invoice(stub_rail)
    assert isinstance(await stub_rail.receive(opened.payment_hash, amount_msat=Msat(1)), Failed)
    outcome = await stub_rail.receive(opened.payment_hash, amount_msat=Msat(7_000))
    assert isinstance(outcome, Settled) and outcome.amount_msat == 7_000
    assert await stub_rail.balance_msat() == 7_000


async def test_nobody_pays_an_invoice_that_is_not_there(stub_rail: StubRail) -> None:
    """An unknown hash and an invoice of the buyer's cannot be received by us."""
    assert isinstance(await stub_rail.receive("ab" * 32), Failed)
    assert isinstance(await stub_rail.receive((await theirs(stub_rail)).payment_hash), Failed)


async def test_our_own_invoice_is_not_paid(funded_stub: StubRail) -> None:
    """The stub's node has no route to itself."""
    assert isinstance(await pay(funded_stub, await invoice(funded_stub)), Failed)


async def test_an_expired_invoice_of_the_buyers_is_not_paid(
    funded_stub: StubRail, rail_clock: RailClock
) -> None:
    """An invoice that expired before it was paid fails, and its money stays."""
    opened = await theirs(funded_stub)
    rail_clock.advance(601)
    assert isinstance(await pay(funded_stub, opened), Failed)


async def test_routing_fees_are_charged_within_the_limit(
    tmp_path: Path, rail_clock: RailClock
) -> None:
    """A fee is told and taken from the balance; a limit below it finds no route."""
    rail = StubRail(tmp_path / "fees.sqlite", rail_clock, routing_fee_msat=Msat(150))
    await rail.receive((await invoice(rail)).payment_hash)
    opened = await theirs(rail)
    assert isinstance(await rail.pay(opened.bolt11, Msat(149)), Failed)
    outcome = await rail.pay(opened.bolt11, Msat(150))
    assert isinstance(outcome, Settled)
    assert (outcome.amount_msat, outcome.fee_msat) == (2_000, 150)
    assert await rail.balance_msat() == 5_000 - 2_150
    assert await rail.buyer_received_msat(opened.payment_hash) == 2_000
    await rail.close()


# ---------------------------------------------------------------------------- faults


@pytest.mark.parametrize("fault", ["429", "5xx", "garbage", "cut"])
async def test_an_outage_has_the_documented_outcome(stub_rail: StubRail, fault: Any) -> None:
    """While a call goes wrong it is Unavailable or Unknown, and it heals by itself."""
    opened = await invoice(stub_rail, "before")
    for call in ("create_invoice", "look_up_invoice", "look_up_payment", "balance"):
        await stub_rail.script_fault(call, fault, 2)
    for _ in range(2):
        made = await stub_rail.create_invoice("k", Msat(1_000), "x", 60)
        assert isinstance(made, Unavailable)
        assert isinstance(await stub_rail.look_up_invoice(opened.payment_hash), Unknown)
        assert isinstance(await stub_rail.look_up_payment(opened.payment_hash), Unknown)
        assert isinstance(await stub_rail.balance_msat(), Unknown)
    assert isinstance(await stub_rail.create_invoice("k", Msat(1_000), "x", 60), Opened)
    assert await stub_rail.look_up_invoice(opened.payment_hash) == Pending()


@pytest.mark.parametrize(
    ("fault", "says", "becomes"),
    [
        ("429", Failed, Unknown),
        ("failed", Failed, Unknown),
        ("5xx", Unknown, Unknown),
        ("garbage", Unknown, Settled),
        ("cut", Unknown, Settled),
        ("pending", Pending, Pending),
    ],
)
async def test_a_payment_goes_wrong_as_documented(
    funded_stub: StubRail, fault: Any, says: type, becomes: type
) -> None:
    """Failed is said only when nothing was sent; what was sent can be looked up."""
    before_msat = await funded_stub.balance_msat()
    opened = await theirs(funded_stub)
    await funded_stub.script_fault("pay", fault)
    assert isinstance(await pay(funded_stub, opened), says)
    assert isinstance(await funded_stub.look_up_payment(opened.payment_hash), becomes)
    await funded_stub.clear_faults()
    assert isinstance(await pay(funded_stub, opened), Settled)
    assert isinstance(before_msat, int)
    assert await funded_stub.balance_msat() == before_msat - 2_000


async def test_failed_is_never_said_of_what_was_sent(funded_stub: StubRail) -> None:
    """A payment that settled stays settled when paying it again is scripted to fail."""
    opened = await theirs(funded_stub)
    first = await pay(funded_stub, opened)
    for fault in ("failed", "429"):
        await funded_stub.script_fault("pay", fault)
        assert await pay(funded_stub, opened) == first


async def test_a_payment_that_settles_later(funded_stub: StubRail, rail_clock: RailClock) -> None:
    """First Unknown, then Pending, then Settled, which no clock that is set back undoes."""
    before_msat = await funded_stub.balance_msat()
    opened = await theirs(funded_stub)
    await funded_stub.script_fault("pay", "settle_later", delay_s=90)
    assert isinstance(await pay(funded_stub, opened), Unknown)
    rail_clock.advance(89)
    assert await funded_stub.look_up_payment(opened.payment_hash) == Pending()
    assert await funded_stub.buyer_received_msat(opened.payment_hash) == 0
    assert await funded_stub.balance_msat() == before_msat
    rail_clock.advance(1)
    assert isinstance(await funded_stub.look_up_payment(opened.payment_hash), Settled)
    rail_clock.advance(-3_600)
    assert isinstance(await funded_stub.look_up_payment(opened.payment_hash), Settled)
    assert isinstance(before_msat, int)
    assert await funded_stub.balance_msat() == before_msat - 2_000


async def test_a_node_may_say_failed_of_what_settles(funded_stub: StubRail) -> None:
    """The look-up can be made to lie, as a real node did, so that nobody believes it at once."""
    opened = await theirs(funded_stub)
    await funded_stub.script_fault("pay", "cut")
    await funded_stub.script_fault("look_up_payment", "failed")
    assert isinstance(await pay(funded_stub, opened), Unknown)
    assert isinstance(await funded_stub.look_up_payment(opened.payment_hash), Failed)
    assert isinstance(await funded_stub.look_up_payment(opened.payment_hash), Settled)


async def test_a_hanging_payment_settles_when_faults_are_cleared(funded_stub: StubRail) -> None:
    """Pending is for ever, and ends with the faults."""
    opened = await theirs(funded_stub)
    await funded_stub.script_fault("pay", "pending")
    assert await pay(funded_stub, opened) == Pending()
    assert await pay(funded_stub, opened) == Pending()
    await funded_stub.clear_faults()
    assert isinstance(await funded_stub.look_up_payment(opened.payment_hash), Settled)


async def test_money_in_flight_cannot_be_sent_again(funded_stub: StubRail) -> None:
    """What hangs is not spent twice: the rest of the balance is all there is."""
    everything = await theirs(funded_stub, 100_000_000)
    await funded_stub.script_fault("pay", "pending")
    assert await pay(funded_stub, everything) == Pending()
    assert isinstance(await pay(funded_stub, await theirs(funded_stub)), Failed)


async def test_slow_answers_arrive_and_too_slow_ones_are_lost(
    tmp_path: Path, rail_clock: RailClock
) -> None:
    """Past the time limit the answer to a slow call is lost, and what it did stays."""
    rail = StubRail(tmp_path / "slow.sqlite", rail_clock, timeout_s=1.5)
    await rail.script_fault("create_invoice", "slow", delay_s=0.05)
    assert isinstance(await rail.create_invoice("k", Msat(9_000), "x", 60), Opened)
    await rail.receive((await invoice(rail, "k", 9_000)).payment_hash)
    opened = await theirs(rail)
    await rail.script_fault("pay", "slow", delay_s=3600)
    assert isinstance(await pay(rail, opened), Unknown)
    assert isinstance(await rail.look_up_payment(opened.payment_hash), Settled)
    await rail.close()


@pytest.mark.parametrize("call", get_args(Call))
@pytest.mark.parametrize("fault", get_args(Fault))
async def test_a_fault_that_would_mean_nothing_is_refused(
    stub_rail: StubRail, call: Any, fault: Any
) -> None:
    """Each call takes the faults that are documented for it, and says so of the others."""
    meaningful = (
        fault in {"slow", "429", "5xx", "garbage", "cut"}
        or call == "pay"
        or (fault == "pending" and call.startswith("look_up"))
        or (fault == "failed" and call == "look_up_payment")
    )
    if meaningful:
        await stub_rail.script_fault(call, fault)
    else:
        with pytest.raises(ValueError, match=call):
            await stub_rail.script_fault(call, fault)


async def test_a_closed_rail_ends_its_pushes(stub_rail: StubRail) -> None:
    """Closing wakes whoever listens, and the listening ends."""
    pushes = stub_rail.pushes()
    assert await next_push(pushes) is None
    listening = asyncio.create_task(anext(pushes, "ended"))
    await asyncio.sleep(0)
    await stub_rail.close()
    assert await asyncio.wait_for(listening, PATIENCE_S) == "ended"
    assert isinstance(await stub_rail.healthy(), Unavailable)


async def test_times_are_told_in_utc(stub_rail: StubRail) -> None:
    """Expiry is an aware time in UTC, the same after it was stored."""
    first, again = await invoice(stub_rail), await invoice(stub_rail)
    assert first.expires_at == again.expires_at == datetime(2026, 11, 22, 12, 10, tzinfo=UTC)


def test_of_many_who_open_a_new_file_at_once_all_have_it(tmp_path: Path) -> None:
    """SQLite lets one alone change how a file is written; the others try again."""
    for name in map(str, range(30)):
        together = Barrier(8)

        def opens(_: int, path: Path = tmp_path / name, together: Barrier = together) -> bool:
            together.wait()
            return bool(StubNode(path, lambda: datetime.now(UTC), Msat(0), lock_timeout_s=60))

        with ThreadPoolExecutor(8) as many:
            assert all(many.map(opens, range(8)))
