"""The desk that sells for USDC: an order buys one thing, and nobody pays twice for want of an
answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from app.advance import Applied
from app.loops.authorizations import Authorizations
from app.plant import keeper_of, loops_of, settling_of
from app.ports import Wanted
from app.promises.settling import authorization_of
from app.refusal import Refusal, Why
from app.trade.availability import Availability
from app.trade.batches import Batches, Line, Order
from app.trade.gathering import Gathering
from app.trade.invoicing import Invoicing
from app.trade.makers import Makers
from app.trade.usdc_sales import Bought, NotPaid, UsdcSales, purchase_of
from db import authorizations, batches, lapsed, ledger, payouts
from db.audit import audit
from db.batches import BatchView
from payments.usdc.address import Address
from payments.usdc.outcome import Settled
from payments.usdc.payment import Payment
from payments.usdc.stub_chain import FAUCET
from payments.usdc.stub_facilitator import FILE, StubFacilitator, UsdcFault
from payments.usdc.x402 import Retry
from pricing.money import MicroUsd, MicroUsdc
from statemachine.authorization import AuthorizationState
from statemachine.batch import BatchState, Funding
from statemachine.entries import RAIL_USDC, Asset
from statemachine.owner import Reason
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance, instance_of
from tests.world.market_fixtures import LANE
from tests.world.patience import PATIENCE_S, patiently
from tests.world.usdc_fixtures import Payer

CENTS = 3
PRICE = MicroUsdc(10_000 * CENTS)
USDC = Asset.MICROUSDC


@dataclass
class Counter:
    """A process that sells, a payer before it, and the stub that both know."""

    instance: Instance
    sales: UsdcSales
    batches: Batches
    stub: StubFacilitator
    clock: Clock
    payer: Payer

    def signs(self, **changed: object) -> Payment:
        """Return a new order of the payer's."""
        usdc = self.instance.built.usdc
        assert usdc is not None
        offer = usdc.offer(PRICE)
        now_s = int(self.clock().timestamp())
        changed = {"valid_before_s": now_s + offer.window_s, **changed}
        return self.payer.pays(offer, now_s, **changed)

    async def buys(
        self, payment: Payment, body: bytes = b"a cat", key: str | None = None
    ) -> Bought | NotPaid:
        """Buy a picture with an order."""
        order = Order([Line(Wanted("scene-1", "a cat", 256, 256), LANE, MicroUsd(PRICE))], "peer")
        purchase = purchase_of(payment, "batches", body, key)
        thing = partial(self.batches.for_usdc, payment, order)
        return await self.sales.buy(payment, purchase, thing, is_named=key is not None)

    async def turn(self) -> None:
        """Let the loop look at what is due."""
        await Authorizations(self.sales.settling).turn()

    async def later(self, **passed: int) -> None:
        """Let time pass, and the loop look."""
        self.clock.now += timedelta(**passed)
        await self.turn()

    async def batch(self, bought: Bought) -> BatchView:
        """Return what was bought."""
        row = await self.batches.show(bought.owner.id)
        assert row is not None
        return row

    async def has(self, holder: Address) -> int:
        """Return what an address has on the chain."""
        usdc = self.instance.built.usdc
        assert usdc is not None
        balance = await usdc.ledger.balance_microusdc(holder)
        assert isinstance(balance, int)
        return balance

    async def is_right(self) -> None:
        """See that the books hold, and that the chain holds what they say."""
        db, usdc = self.instance.built.db, self.instance.built.usdc
        assert usdc is not None and [finding.line for finding in await audit(db)] == []
        rests = await ledger.balance(db, RAIL_USDC.name, Asset.MICROUSDC)
        assert rests == await self.has(usdc.pay_to) - FAUCET
        assert rests == FAUCET - await self.has(self.payer.address)


@asynccontextmanager
async def counter_at(url: str, folder: Path, clock: Clock) -> AsyncIterator[Counter]:
    """A process that sells."""
    async with instance_of(url, folder, clock=clock) as instance:
        built = instance.built
        keeper, settling = keeper_of(built), settling_of(built)
        assert settling is not None
        readiness = loops_of(built, keeper).readiness
        invoicing = Invoicing(built.db, keeper, readiness)
        makers = Makers(built.catalogue, Availability(built.db, built.clock, readiness.trouble))
        gathering = Gathering(built.artifacts, built.fetch)
        batches = Batches(
            built.db, built.shell, invoicing, built.till, built.new_id, makers, gathering
        )
        sales = UsdcSales(built.db, built.shell, built.signals, settling, PATIENCE_S)
        stub = StubFacilitator(folder / FILE, clock)
        yield Counter(instance, sales, batches, stub, clock, Payer())
        await asyncio.gather(*sales.unfinished)
        await stub.close()


@pytest.fixture
async def counter(database_url: str, tmp_path: Path) -> AsyncIterator[Counter]:
    """A process that sells, on the stub's chain."""
    async with counter_at(database_url, tmp_path, Clock()) as made:
        yield made


async def test_an_order_is_settled_and_the_batch_begins(counter: Counter) -> None:
    """It is queued with its price in USDC, to the last millionth; its buyer is told of the
    transaction, and what is not made goes back to his address."""
    bought = await counter.buys(counter.signs())
    assert isinstance(bought, Bought) and bought.is_settled
    assert bought.told["success"] and bought.told["amount"] == str(PRICE)
    row = await counter.batch(bought)
    assert (row.state, row.funding, row.asset) == (BatchState.QUEUED, Funding.X402, USDC)
    assert row.price_amount == PRICE and row.quote["total_microusd"] == PRICE
    await counter.is_right()
    assert await counter.batches.cancel(row.id) == Applied()
    [owed] = await payouts.of_owner(counter.instance.built.db, row.id)
    network = counter.signs().network.caip2
    assert (owed.amount, owed.asset) == (PRICE, USDC)
    assert owed.refund_to == f"evm:{network}:{counter.payer.address}"


async def test_the_same_order_a_hundred_times_over_two_processes(
    database_url: str, tmp_path: Path
) -> None:
    """One settlement, one batch, a hundred equal answers; and the same when it is sent later."""
    clock = Clock()
    async with (
        counter_at(database_url, tmp_path, clock) as one,
        counter_at(database_url, tmp_path, clock) as other,
    ):
        paid = one.signs()
        told = await asyncio.gather(*(each.buys(paid) for _ in range(50) for each in (one, other)))
        assert isinstance(told[0], Bought) and told[0].is_settled
        assert all(each == told[0] for each in told)
        await one.sales.answered(told[0])
        assert await other.buys(paid) == told[0]
        assert FAUCET - await one.has(one.payer.address) == PRICE
        [load] = [await batches.load_of(one.instance.built.db, f"evm:{one.payer.address}")]
        assert load.batches == 1
        await one.is_right()


async def test_an_order_buys_one_thing(counter: Counter) -> None:
    """Sent with another body it is refused, and it is still good for the one it was made for."""
    paid = counter.signs()
    bought = await counter.buys(paid)
    for body, key in ((b"a dog", None), (b"a cat", "another")):
        with pytest.raises(Refusal, match="another request") as refused:
            await counter.buys(paid, body, key)
        assert refused.value.why is Why.KEY_REUSED
    assert await counter.buys(paid) == bought


async def test_who_has_had_no_answer_and_signs_again_pays_once(counter: Counter) -> None:
    """Three orders for the same thing by one payer, the answer cut twice: one is settled, and all
    have the same batch. Once it was answered, the next one buys anew; and another body, key or
    payer is another purchase from the first."""
    first = await counter.buys(counter.signs())
    again = await counter.buys(counter.signs())
    assert isinstance(first, Bought) and isinstance(again, Bought)
    assert first == again and FAUCET - await counter.has(counter.payer.address) == PRICE
    assert (await counter.buys(counter.signs(), body=b"a dog")) != first
    assert (await counter.buys(counter.signs(), key="a key of its own")) != first
    await counter.sales.answered(again)
    anew = await counter.buys(counter.signs())
    assert isinstance(anew, Bought) and anew.owner != first.owner
    assert FAUCET - await counter.has(counter.payer.address) == 4 * PRICE
    await counter.is_right()


async def test_an_order_that_was_answered_with_what_another_one_bought_buys_nothing(
    counter: Counter,
) -> None:
    """Also when it is sent again after the answer, or for something else; until its time is over,
    after which no door takes it."""
    first, second = counter.signs(), counter.signs()
    bought = await counter.buys(first)
    assert isinstance(bought, Bought) and await counter.buys(second) == bought
    await counter.sales.answered(bought)
    for paid in (first, second):
        assert await counter.buys(paid) == bought
        with pytest.raises(Refusal, match="another request"):
            await counter.buys(paid, body=b"a dog")
    assert FAUCET - await counter.has(counter.payer.address) == PRICE
    db = counter.instance.built.db
    for passed, left in ((timedelta(0), 1), (timedelta(days=1), 0)):
        purge = partial(lapsed.purge_orders, before=counter.clock() + passed, limit=9)
        await db.run("purge_orders", purge)
        assert len(await db.read_all("SELECT FROM usdc_presented")) == left
    await counter.is_right()


async def test_a_purchase_with_a_key_is_made_once(counter: Counter) -> None:
    """Whoever signs anew after he was answered is answered with the same."""
    key = "a key of its own"
    first = await counter.buys(counter.signs(), key=key)
    assert isinstance(first, Bought)
    await counter.sales.answered(first)
    told = await asyncio.gather(*(counter.buys(counter.signs(), key=key) for _ in range(5)))
    assert all(each == first for each in told)
    assert FAUCET - await counter.has(counter.payer.address) == PRICE
    await counter.is_right()


async def test_an_order_whose_stand_in_has_failed_has_paid_nothing_either(counter: Counter) -> None:
    """Its buyer was answered that nobody knows yet; now he is asked for a new one, which buys."""
    await counter.stub.script_fault("settle", "5xx", times=1000)
    assert isinstance(await counter.buys(counter.signs()), Bought)
    paid = counter.signs(valid_before_s=int(counter.clock().timestamp()) + 500)
    hasty = replace(counter, sales=replace(counter.sales, answer_s=0.1))
    pending = await hasty.buys(paid)
    assert isinstance(pending, Bought) and not pending.is_settled
    await counter.stub.clear_faults()
    await counter.later(seconds=300)
    assert (await counter.batch(pending)).state is BatchState.CANCELLED
    told = await counter.buys(paid)
    assert isinstance(told, NotPaid) and told.retry_action is Retry.RESIGN
    bought = await counter.buys(counter.signs())
    assert isinstance(bought, Bought) and bought.is_settled and bought.owner != pending.owner
    await counter.is_right()


async def test_five_orders_at_once_for_the_same_thing_are_one_purchase(counter: Counter) -> None:
    """Postgres says which: the others are given what it bought, and are not settled."""
    told = await asyncio.gather(*(counter.buys(counter.signs()) for _ in range(5)))
    assert isinstance(told[0], Bought) and all(each == told[0] for each in told)
    assert FAUCET - await counter.has(counter.payer.address) == PRICE
    await counter.is_right()


@pytest.mark.parametrize(
    "fault", ["cut", "garbage", "pending", "pending500", "wrong_amount", "settled_failed"]
)
async def test_a_settlement_without_an_answer_is_found_on_the_chain(
    counter: Counter, fault: UsdcFault
) -> None:
    """It is told as pending, with the id; nobody is asked to pay again; and the batch begins as
    soon as the chain has said it."""
    await counter.stub.script_fault("settle", fault)
    paid = counter.signs()
    bought = await counter.buys(paid)
    assert isinstance(bought, Bought) and not bought.is_settled
    assert bought.told["errorReason"] == "settlement_pending" and bought.told["success"] is False
    assert (await counter.batch(bought)).state is BatchState.AWAITING_PAYMENT
    assert await audit(counter.instance.built.db) == []
    await counter.later(seconds=3)
    async for _ in patiently("the batch never begins", pause_s=0.01):
        if (await counter.batch(bought)).state is BatchState.QUEUED:
            break
    after = await counter.buys(paid)
    assert isinstance(after, Bought) and after.is_settled and after.owner == bought.owner
    await counter.is_right()


@pytest.mark.parametrize("fault", ["5xx", "failed"])
async def test_an_order_that_never_arrived_is_handed_over_again(
    counter: Counter, fault: UsdcFault
) -> None:
    """By the loop, or by its buyer who sends it again: the contract lets it move the money once."""
    await counter.stub.script_fault("settle", fault)
    bought = await counter.buys(counter.signs())
    assert isinstance(bought, Bought) and not bought.is_settled
    await counter.later(seconds=3)
    async for _ in patiently("the batch never begins", pause_s=0.01):
        if (await counter.batch(bought)).state is BatchState.QUEUED:
            break
    await counter.is_right()


async def test_an_order_that_nobody_used_in_time_has_failed(counter: Counter) -> None:
    """Only then, and by the time of the chain: its batch is cancelled, and nothing was charged."""
    await counter.stub.script_fault("settle", "5xx", times=1000)
    paid = counter.signs()
    bought = await counter.buys(paid)
    assert isinstance(bought, Bought) and not bought.is_settled
    await counter.later(seconds=60)
    assert (await counter.batch(bought)).state is BatchState.AWAITING_PAYMENT
    await counter.stub.clear_faults()
    counter.clock.now += timedelta(seconds=58)  # too late to begin, and not over yet
    await counter.turn()
    assert (await counter.batch(bought)).state is BatchState.AWAITING_PAYMENT
    await counter.later(seconds=120)
    async for _ in patiently("it never fails", pause_s=0.01):
        if (await counter.batch(bought)).state is BatchState.CANCELLED:
            break
    told = await counter.buys(paid)
    assert isinstance(told, NotPaid) and told.retry_action is Retry.RESIGN
    assert "expired" in told.sentence and told.told["success"] is False
    assert isinstance(await counter.buys(counter.signs()), Bought)
    await counter.is_right()


async def test_a_payer_without_money_is_asked_to_sign_again(counter: Counter) -> None:
    """What the facilitator finds before it sends anything is told at once. The order is not handed
    over again, and the chain is asked about it all the same."""
    await counter.stub.script_fault("settle", "declined")
    paid = counter.signs()
    told = await counter.buys(paid)
    assert isinstance(told, NotPaid) and "insufficient_balance" in told.sentence
    assert await counter.buys(paid) == told
    name = authorization_of(paid)
    row = await authorizations.get(counter.instance.built.db, name)
    assert row is not None and row.state is AuthorizationState.CLAIMED and row.declined
    assert isinstance(await counter.buys(counter.signs()), Bought)
    await counter.later(seconds=600)
    async for _ in patiently("it never fails", pause_s=0.01):
        row = await authorizations.get(counter.instance.built.db, name)
        if row is not None and row.state is AuthorizationState.FAILED:
            break
    await counter.is_right()


async def test_what_was_declined_and_paid_after_all_is_owed_back(counter: Counter) -> None:
    """A facilitator that says no and does it: its batch is not made, and all of it goes back."""
    usdc, db = counter.instance.built.usdc, counter.instance.built.db
    assert usdc is not None
    await counter.stub.script_fault("settle", "declined")
    paid = counter.signs()
    assert isinstance(await counter.buys(paid), NotPaid)
    assert isinstance(await usdc.facilitator.settle(paid), Settled)
    await counter.later(seconds=3)
    name = authorization_of(paid)
    async for _ in patiently("it never settles", pause_s=0.01):
        row = await authorizations.get(db, name)
        if row is not None and row.state is AuthorizationState.SETTLED:
            break
    assert row is not None and row.batch_id is not None
    [owed] = await payouts.of_owner(db, row.batch_id)
    assert (owed.amount, owed.asset, owed.reason) == (PRICE, USDC, Reason.UNAWAITED)
    assert [finding.line for finding in await audit(db)] == []


async def test_a_batch_cancelled_before_its_order_settles_owes_it_back(counter: Counter) -> None:
    """As a late payment of an invoice is."""
    await counter.stub.script_fault("settle", "pending")
    bought = await counter.buys(counter.signs())
    assert isinstance(bought, Bought)
    assert await counter.batches.cancel(bought.owner.id) == Applied()
    await counter.later(seconds=3)
    db = counter.instance.built.db
    async for _ in patiently("nothing is ever owed", pause_s=0.01):
        if owed := await payouts.of_owner(db, bought.owner.id):
            break
    assert [(one.amount, one.asset) for one in owed] == [(PRICE, USDC)]
    assert [finding.line for finding in await audit(db)] == []


async def test_a_slow_facilitator_is_not_waited_for(counter: Counter) -> None:
    """The buyer has his id in time; what it says at last is heard all the same."""
    await counter.stub.script_fault("settle", "slow", delay_s=1)
    hasty = replace(counter, sales=replace(counter.sales, answer_s=0.1))
    bought = await hasty.buys(counter.signs())
    assert isinstance(bought, Bought) and not bought.is_settled
    await asyncio.gather(*counter.sales.unfinished)
    assert (await counter.batch(bought)).state is BatchState.QUEUED
    await counter.is_right()
