"""The desk of batches: a price that is known before it is paid, and one batch for each name."""

from dataclasses import replace

import pytest

from app.advance import Applied
from app.plant import keeper_of, loops_of
from app.ports import Wanted
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.trade.availability import Availability
from app.trade.batches import Batches, Limits, Line, Order
from app.trade.gathering import Gathering
from app.trade.invoicing import Invoicing
from app.trade.makers import Makers
from app.trade.once import Name
from db.audit import audit
from payments.grant import Grant
from payments.session_macaroon import Verified
from pricing.batch_quote import make_batch_quote
from pricing.money import MicroUsd, Msat, shares_of
from statemachine.batch import BatchState, Funding
from tests.world.house_fixtures import Instance
from tests.world.law_facts import NOW, PRICE
from tests.world.market_fixtures import LANE
from tests.world.patience import PATIENCE_S
from tests.world.session_fixtures import held

pytestmark = pytest.mark.one_instance

WHOLE = Grant(None, None, (), None, None, ())


@pytest.fixture
def desk(instance: Instance) -> Batches:
    """The desk over a running instance."""
    built = instance.built
    keeper = keeper_of(built)
    readiness = loops_of(built, keeper).readiness
    invoicing, makers = (
        Invoicing(built.db, keeper, readiness),
        Makers(built.catalogue, Availability(built.db, built.clock, readiness.trouble)),
    )
    gathering = Gathering(built.artifacts, built.fetch)
    return Batches(built.db, built.shell, invoicing, built.till, built.new_id, makers, gathering)


def lines(*cents: int) -> list[Line]:
    """Return items at these prices."""
    wanted = Wanted("scene-1", "a cat", 256, 256)
    return [Line(wanted, LANE, MicroUsd(10_000 * each)) for each in cents]


def test_shares_are_whole_msat_that_add_up() -> None:
    """Each as its item's price goes, rounded down; what is left is the first one's."""
    assert shares_of(2_000, [1, 1, 1]) == [668, 666, 666]
    assert shares_of(1_000, [1] * 500) == [2] * 500
    assert shares_of(10_000, [3, 1]) == [7_500, 2_500]
    for amount in (1_000, 7_000, 123_000):
        for weights in ([5], [1, 2, 3], list(range(1, 101)), [1, 10**9]):
            shares = shares_of(amount, weights)
            assert sum(shares) == amount and min(shares) >= 0


def test_a_quote_is_rounded_up_to_a_sat_once() -> None:
    """The sum, and not each item: five hundred of a tenth of a sat are fifty sats."""
    quote = make_batch_quote([MicroUsd(100)] * 500, PRICE, NOW, 3600)  # a sat is 1,000 micro-USD
    assert quote.total_msat == 50_000 and quote.shares_msat == [100] * 500
    assert make_batch_quote([MicroUsd(1)], PRICE, NOW, 3600).total_msat == 1_000
    for wrong in ([], [MicroUsd(0)]):
        with pytest.raises(ValueError, match="has a price"):
            make_batch_quote(wrong, PRICE, NOW, 3600)


async def test_a_batch_is_placed_once_for_each_name(instance: Instance, desk: Batches) -> None:
    """The same name is answered with the same invoice, and is paid for by the real rail's push."""
    name, order = Name("peer", "key", "body"), Order(lines(2, 1), "peer")
    made = await desk.place(order, name)
    assert await desk.place(order, name) == made
    assert made.amount_msat == (await desk.quote(order.lines)).total_msat == 30_000
    with pytest.raises(Refusal) as refused:
        await desk.place(order, replace(name, body_sha256="another"))
    assert refused.value.why is Why.KEY_REUSED
    batch_id = made.owner_id
    changed, stop = instance.built.signals.watch(batch_id)
    await instance.pay({"paymentHash": made.payment_hash})
    await instance.built.signals.wait(changed, PATIENCE_S)
    stop()
    shown = await desk.show(batch_id)
    assert shown is not None and shown.state is BatchState.QUEUED
    assert shown.quote["total_microusd"] == 30_000 and shown.funding is Funding.INVOICE
    page = await desk.page(batch_id)
    assert [(item.place, item.share_amount) for item in page] == [(1, 20_000), (2, 10_000)]
    assert [item.place for item in await desk.page(batch_id, after=1)] == [2]
    assert await desk.cancel(batch_id) == Applied()
    assert await audit(instance.built.db) == []


async def test_a_session_pays_for_a_batch(instance: Instance, desk: Batches) -> None:
    """Out of its balance, within what its credential allows, once for each name."""
    session_id = (await held(instance, 500)).session_id
    holder = Verified(session_id, "", 1, WHOLE)
    order, name = Order(lines(2, 1), f"session:{session_id}"), Name("s", "key", "body")
    batch_id = await desk.place_on(holder, order, name)
    assert await desk.place_on(holder, order, name) == batch_id
    shown = await desk.show(batch_id)
    assert shown is not None and shown.session_id == session_id
    narrow = replace(holder, grant=replace(WHOLE, max_msat=Msat(29_000)))
    for who, asked, why in (
        (narrow, order, Why.OVER_MACAROON_LIMIT),
        (holder, Order(lines(100), order.payer), Why.BALANCE_TOO_LOW),
    ):
        with pytest.raises(Refusal) as refused:
            await desk.place_on(who, asked, None)
        assert refused.value.why is why
    assert await desk.cancel(batch_id) == Applied()
    assert await audit(instance.built.db) == []


async def test_a_batch_has_1_to_500_items(desk: Batches) -> None:
    """No more and no fewer are priced, or bought."""
    for count in (0, 501):
        with pytest.raises(BadInput, match="1 to 500"):
            await desk.place(Order(lines(*[1] * count), "peer"), None)
    assert len((await desk.quote(lines(*[1] * 500))).shares_msat) == 500


async def test_a_payer_has_only_so_much_under_way(instance: Instance, desk: Batches) -> None:
    """So many batches and so many items that are paid for; offers do not count, others have
    theirs, and no more than so many may wait in a lane."""
    few = replace(desk, limits=Limits(batches=2, items=5))
    holder = Verified((await held(instance, 500)).session_id, "", 1, WHOLE)
    await few.place(Order(lines(1, 1, 1), "peer"), None)  # is not paid for
    await few.place_on(holder, Order(lines(1, 1, 1), "peer"), None)
    with pytest.raises(Refusal, match="3 items") as refused:
        await few.place(Order(lines(1, 1, 1), "peer"), None)
    assert refused.value.why is Why.TOO_MUCH_UNDER_WAY and "Retry-After" in refused.value.headers
    await few.place_on(holder, Order(lines(1), "peer"), None)
    with pytest.raises(Refusal, match="2 jobs"):
        await few.place(Order(lines(1), "peer"), None)
    await few.place(Order(lines(1), "another"), None)
    full = replace(desk, limits=Limits(waiting=4))
    with pytest.raises(Refusal, match="queue is full") as refused:
        await full.place(Order(lines(1), "another"), None)
    assert refused.value.why is Why.BUSY and "Retry-After" in refused.value.headers
