"""Batches: paid for at once, charged for what they deliver, and the rest is owed back as one."""

from dataclasses import replace
from typing import get_args

from statemachine import batch
from statemachine.batch import (
    BatchEvent,
    BatchFacts,
    BatchState,
    Begun,
    Cancelled,
    Funding,
    ItemDelivered,
    ItemLost,
    Lapsed,
    Paid,
)
from statemachine.entries import Asset
from tests.stories.telling import Law, Story, story

LAW = Law(batch.BATCH, batch.decide, get_args(batch.Event))
# Two sats for three items: 668, 666 and 666 msat.
UNPAID = BatchFacts("b", BatchState.AWAITING_PAYMENT, Funding.INVOICE, 2_000, 3)
QUEUED = replace(UNPAID, state=BatchState.QUEUED)
AT_WORK = replace(UNPAID, state=BatchState.PROCESSING)
LAST = replace(AT_WORK, delivered=2, charged_amount=1_334)
LOSING = replace(AT_WORK, failed=2)
OF_SESSION = replace(QUEUED, funding=Funding.SESSION, session_id="s")
OWED, ROUNDED = "payout:b:undelivered:owed", "batch:b:rounded"
USDC = Asset.MICROUSDC
PAID = replace(QUEUED, funding=Funding.X402, asset=USDC, price_amount=30_000, paid_by="n:p:1")
LOST_ONE = replace(PAID, state=BatchState.PROCESSING, delivered=1, charged_amount=10_001, failed=1)

STORIES: tuple[Story, ...] = (
    story("A batch that delivers all of it is charged its price", LAW)
    .begins(BatchState.AWAITING_PAYMENT, batch.begin("b", 2_000, 3))
    .wants("batch", 2_000, "b:batch")
    .refuses(Begun())
    .hears(Paid())
    .becomes(BatchState.QUEUED)
    .refuses(Paid())
    .hears(Begun())
    .becomes(BatchState.PROCESSING)
    .refuses(Begun())
    .hears(ItemDelivered(668))
    .has(delivered=1, charged_amount=668)
    .hears(ItemDelivered(666))
    .has(delivered=2, charged_amount=1_334)
    .hears(ItemDelivered(666))
    .passes(BatchState.PROCESSING, BatchEvent.COMPLETED)
    .becomes(BatchState.COMPLETED)
    .has(delivered=3, charged_amount=2_000)
    .refuses(ItemDelivered(1))
    .refuses(Cancelled(0)),
    story("What was not delivered is owed back at the end, as one payout", LAW)
    .given(AT_WORK)
    .hears(ItemLost())
    .has(failed=1)
    .hears(ItemDelivered(666))
    .has(delivered=1, charged_amount=666)
    .hears(ItemLost())
    .passes(BatchState.PROCESSING, BatchEvent.COMPLETED)
    .becomes(BatchState.COMPLETED)
    .has(failed=2, charged_amount=1_000)  # of a payout in msat no wallet makes an invoice
    .moves(334, "batch:b", "revenue:media", ROUNDED)
    .moves(1_000, "batch:b", "refund:b:undelivered", OWED)
    .owes("undelivered", 1_000, "b:undelivered"),
    story("What is charged in USDC is exact", LAW)
    .given(replace(AT_WORK, asset=Asset.MICROUSDC, failed=1, delivered=1, charged_amount=666))
    .hears(ItemLost())
    .passes(BatchState.PROCESSING, BatchEvent.COMPLETED)
    .becomes(BatchState.COMPLETED)
    .has(failed=2)
    .moves(1_334, "batch:b", "refund:b:undelivered", OWED, USDC)
    .owes("undelivered", 1_334, "b:undelivered", USDC),
    story("A batch that delivers nothing fails, and all of it is owed back", LAW)
    .given(LOSING)
    .hears(ItemLost())
    .passes(BatchState.PROCESSING, BatchEvent.FELL_THROUGH)
    .becomes(BatchState.FAILED)
    .has(failed=3)
    .moves(2_000, "batch:b", "refund:b:undelivered", OWED)
    .owes("undelivered", 2_000, "b:undelivered"),
    story("Never more is charged than the price", LAW)
    .given(LAST)
    .refuses(ItemDelivered(667), ValueError),
    story("A batch that nobody pays in time is over, and cost nothing", LAW)
    .given(UNPAID)
    .hears(Lapsed())
    .becomes(BatchState.CANCELLED)
    .has(cancelled=3)
    .refuses(Paid()),
    story("A batch that is given up before it is paid drops its invoice", LAW)
    .given(UNPAID)
    .hears(Cancelled(3))
    .becomes(BatchState.CANCELLED)
    .has(called_off=True, cancelled=3)
    .drops("b:batch"),
    story("A batch that is given up before anybody has begun goes back whole", LAW)
    .given(QUEUED)
    .hears(Cancelled(3))
    .becomes(BatchState.CANCELLED)
    .has(called_off=True, cancelled=3)
    .moves(2_000, "batch:b", "refund:b:undelivered", OWED)
    .owes("undelivered", 2_000, "b:undelivered"),
    story("What is being made when a batch is given up is made, and charged", LAW)
    .given(AT_WORK)
    .hears(Cancelled(2))
    .has(called_off=True, cancelled=2)
    .hears(ItemDelivered(668))
    .passes(BatchState.PROCESSING, BatchEvent.EMPTIED)
    .becomes(BatchState.CANCELLED)
    .has(delivered=1, charged_amount=1_000)
    .moves(332, "batch:b", "revenue:media", ROUNDED)
    .moves(1_000, "batch:b", "refund:b:undelivered", OWED)
    .owes("undelivered", 1_000, "b:undelivered"),
    story("A batch is given up while its last items run, and all is delivered: it is complete", LAW)
    .given(LAST)
    .hears(Cancelled(0))
    .has(called_off=True)
    .hears(ItemDelivered(666))
    .passes(BatchState.PROCESSING, BatchEvent.COMPLETED)
    .becomes(BatchState.COMPLETED)
    .has(delivered=3, charged_amount=2_000),
    story("A step that is lost takes with it what is made from it, and the rest goes back", LAW)
    .given(replace(OF_SESSION, state=BatchState.PROCESSING, items=3))
    .hears(ItemDelivered(1_000))
    .has(delivered=1, charged_amount=1_000)
    .hears(ItemLost(with_it=1))
    .passes(BatchState.PROCESSING, BatchEvent.COMPLETED)
    .becomes(BatchState.COMPLETED)
    .has(failed=1, cancelled=1)
    .moves(1_000, "batch:b", "session:s", "batch:b:ended"),
    story("A batch whose first step is lost with all others falls through", LAW)
    .given(replace(OF_SESSION, state=BatchState.PROCESSING, items=3))
    .hears(ItemLost(with_it=2))
    .passes(BatchState.PROCESSING, BatchEvent.FELL_THROUGH)
    .becomes(BatchState.FAILED)
    .has(failed=1, cancelled=2)
    .moves(2_000, "batch:b", "session:s", "batch:b:ended"),
    story("The last item of a batch that is given up comes back, and is not tried again", LAW)
    .given(replace(LAST, called_off=True))
    .hears(ItemLost(called_off=True))
    .passes(BatchState.PROCESSING, BatchEvent.EMPTIED)
    .becomes(BatchState.CANCELLED)
    .has(cancelled=1, charged_amount=2_000)
    .moves(666, "batch:b", "revenue:media", ROUNDED),
    story("A batch is given up when nobody holds what is left of it", LAW)
    .given(LAST)
    .hears(Cancelled(1))
    .passes(BatchState.PROCESSING, BatchEvent.EMPTIED)
    .becomes(BatchState.CANCELLED)
    .has(called_off=True, cancelled=1, charged_amount=2_000)
    .moves(666, "batch:b", "revenue:media", ROUNDED),
    story("A session sets the price of a batch aside, and has back what was not delivered", LAW)
    .begins(BatchState.QUEUED, batch.begin_reserved("b", "s", 2_000, 3))
    .has(funding=Funding.SESSION, session_id="s")
    .moves(2_000, "session:s", "batch:b", "batch:b:reserved")
    .hears(Begun())
    .becomes(BatchState.PROCESSING)
    .hears(ItemDelivered(668))
    .has(delivered=1, charged_amount=668)
    .hears(ItemLost())
    .has(failed=1)
    .hears(ItemLost())
    .passes(BatchState.PROCESSING, BatchEvent.COMPLETED)
    .becomes(BatchState.COMPLETED)
    .has(failed=2, charged_amount=1_000)
    .moves(332, "batch:b", "revenue:media", ROUNDED)
    .moves(1_000, "batch:b", "session:s", "batch:b:ended"),
    story("A session has all of it back when its batch is given up in time", LAW)
    .given(OF_SESSION)
    .hears(Cancelled(3))
    .becomes(BatchState.CANCELLED)
    .has(called_off=True, cancelled=3)
    .moves(2_000, "batch:b", "session:s", "batch:b:ended"),
    story("An account sets the price of a batch aside, and has back what was not delivered", LAW)
    .begins(BatchState.QUEUED, batch.begin_from_account("b", "u", Asset.MSAT, 2_000, 3))
    .has(funding=Funding.ACCOUNT, account_id="u")
    .moves(2_000, "user:u", "batch:b", "batch:b:reserved")
    .hears(Cancelled(3))
    .becomes(BatchState.CANCELLED)
    .has(called_off=True, cancelled=3)
    .moves(2_000, "batch:b", "user:u", "batch:b:ended"),
    story("What an account has in USDC pays in USDC, and comes back in it", LAW)
    .begins(BatchState.QUEUED, batch.begin_from_account("b", "u", USDC, 30_000, 3))
    .has(funding=Funding.ACCOUNT, account_id="u", asset=USDC)
    .moves(30_000, "user:u", "batch:b", "batch:b:reserved", USDC)
    .hears(Cancelled(3))
    .becomes(BatchState.CANCELLED)
    .has(called_off=True, cancelled=3)
    .moves(30_000, "batch:b", "user:u", "batch:b:ended", USDC),
    story("A batch of somebody's that an invoice pays for owes its rest like any other", LAW)
    .given(replace(AT_WORK, account_id="u", failed=2))
    .hears(ItemLost())
    .passes(BatchState.PROCESSING, BatchEvent.FELL_THROUGH)
    .becomes(BatchState.FAILED)
    .has(failed=3)
    .moves(2_000, "batch:b", "refund:b:undelivered", OWED)
    .owes("undelivered", 2_000, "b:undelivered"),
    story("What an authorization has paid in USDC is owed back in USDC", LAW)
    .begins(BatchState.AWAITING_PAYMENT, batch.begin_claimed("b", "n:p:1", 30_000, 3, "u"))
    .has(funding=Funding.X402, asset=USDC, paid_by="n:p:1", account_id="u")
    .hears(Paid())
    .becomes(BatchState.QUEUED)
    .hears(Begun())
    .becomes(BatchState.PROCESSING)
    .hears(ItemDelivered(10_000))
    .has(delivered=1, charged_amount=10_000)
    .hears(ItemLost())
    .has(failed=1)
    .hears(ItemLost())
    .passes(BatchState.PROCESSING, BatchEvent.COMPLETED)
    .becomes(BatchState.COMPLETED)
    .has(failed=2)
    .moves(20_000, "batch:b", "refund:b:undelivered", OWED, USDC)
    .owes("undelivered", 20_000, "b:undelivered", USDC),
    story("Less than a cent of it goes to the balance of its payer's account", LAW)
    .given(replace(LOST_ONE, charged_amount=20_001, account_id="u"))
    .hears(ItemLost())
    .passes(BatchState.PROCESSING, BatchEvent.COMPLETED)
    .becomes(BatchState.COMPLETED)
    .has(failed=2)
    .moves(9_999, "batch:b", "user:u", "batch:b:ended", USDC),
    story("A cent of it is sent", LAW)
    .given(replace(LOST_ONE, charged_amount=20_000, account_id="u"))
    .hears(ItemLost())
    .passes(BatchState.PROCESSING, BatchEvent.COMPLETED)
    .becomes(BatchState.COMPLETED)
    .has(failed=2)
    .moves(10_000, "batch:b", "refund:b:undelivered", OWED, USDC)
    .owes("undelivered", 10_000, "b:undelivered", USDC),
    story("Of a payer who has no account, less than a cent is owed like any other", LAW)
    .given(replace(LOST_ONE, charged_amount=20_001))
    .hears(ItemLost())
    .passes(BatchState.PROCESSING, BatchEvent.COMPLETED)
    .becomes(BatchState.COMPLETED)
    .has(failed=2)
    .moves(9_999, "batch:b", "refund:b:undelivered", OWED, USDC)
    .owes("undelivered", 9_999, "b:undelivered", USDC),
    story("What the house orders of a worker is the house's expense", LAW)
    .begins(BatchState.PROCESSING, batch.begin_for_house("b", 2_000))
    .has(funding=Funding.HOUSE, called_off=True)
    .moves(2_000, "expense:canaries", "batch:b", "batch:b:reserved")
    .hears(ItemDelivered(2_000))
    .passes(BatchState.PROCESSING, BatchEvent.COMPLETED)
    .becomes(BatchState.COMPLETED)
    .has(delivered=1, charged_amount=2_000),
    story("And costs nothing where that worker does not bring it: nobody else is asked", LAW)
    .begins(BatchState.PROCESSING, batch.begin_for_house("b", 2_000))
    .has(funding=Funding.HOUSE, called_off=True)
    .moves(2_000, "expense:canaries", "batch:b", "batch:b:reserved")
    .hears(ItemLost(True))
    .passes(BatchState.PROCESSING, BatchEvent.EMPTIED)
    .becomes(BatchState.CANCELLED)
    .has(cancelled=1)
    .moves(2_000, "batch:b", "expense:canaries", "batch:b:ended"),
)
