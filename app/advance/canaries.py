"""Canaries: given to a worker as an item that it holds, and judged when they are brought.

What a failed one takes from its worker, and what that is to each buyer, is written at once; they
have it by `app.advance.amends`. Rows are locked in the order canary, worker.
"""

from datetime import timedelta

from app.advance import workers
from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Replayed
from db import amends, batches, canaries, ledger
from db import workers as worker_rows
from db.canaries import CanaryRow, NewCanary
from db.claims import Claim
from pricing.money import worker_share
from statemachine import amends as amends_law
from statemachine import batch as batch_law
from statemachine import canary as law
from statemachine import lease as lease_law
from statemachine import speed
from statemachine import worker as worker_law
from statemachine.entries import Asset
from statemachine.machine import IllegalTransition
from statemachine.reputation import at_once

HOUSE = "house"  # who pays


async def give(act: Act, worker_id: str, new: NewCanary) -> Claim | None:
    """Have a worker hold an item that the house orders; None: it is given none now."""
    row = await worker_rows.lock(act.tx, worker_id)
    in_hand = await canaries.in_hand(act.tx, worker_id, new.lane)
    if row is None or not row.canary_due or in_hand.items >= at_once(_facts(row)):
        return None
    try:
        await workers.write(act, worker_law.decide(_facts(row), worker_law.CanaryGiven()))
    except IllegalTransition:
        return None
    begun = batch_law.begin_for_house(new.batch_id, new.share_amount)
    await batches.insert(act.tx, begun.facts, HOUSE, new.quote, None, act.now)
    holds, house = timedelta(seconds=act.terms.lease_s), timedelta(seconds=act.terms.lease_most_s)
    expected_ms = in_hand.speed.expected_ms(new.weight)
    longest = speed.longest(house, expected_ms, in_hand.items + 1)
    lease = lease_law.begin(new.item_id, 1, act.now, holds, longest)
    await canaries.insert(act.tx, new, law.begin(new.item_id, worker_id), lease, act.now)
    await ledger.post(act.tx, begun.entries, act.now)
    return Claim(
        new.item_id, 1, new.lane, new.asked, new.share_amount, begun.facts.asset, new.batch_id,
        new.lease_id, new.pay_pct, worker_share(new.share_amount, new.pay_pct), lease.until,
        lease.deadline,
    )  # fmt: skip


async def judge(act: Act, canary_id: str, event: law.Event) -> Outcome:
    """Write how a canary was judged, and what that is to its worker and to those it has worked for.

    Replayed: it was judged before.
    """
    row = await canaries.lock(act.tx, canary_id)
    worker = await worker_rows.lock(act.tx, row.worker_id) if row is not None else None
    if row is None or worker is None:
        return Missing()
    try:
        after = law.decide(canaries.facts_of(row), event).facts
    except IllegalTransition:
        return Replayed()
    lost, shares = dict.fromkeys(Asset, 0), dict.fromkeys(Asset, amends_law.NOTHING)
    match event:
        case law.Passed():
            await workers.write(act, worker_law.decide(_facts(worker), worker_law.CanaryPassed()))
        case law.Failed():
            facts = _facts(worker)
            for asset in Asset:
                lost[asset] = facts.held(asset)
                charges = await canaries.charges(act.tx, row, asset)
                shares[asset] = amends_law.shared(lost[asset], asset, charges)
            added = shares[Asset.MSAT].added, shares[Asset.MICROUSDC].added
            failed = worker_law.CanaryFailed(canary_id, *added)
            await workers.write(act, worker_law.decide(facts, failed))
    await canaries.move(act.tx, after, lost, shares, act.now)
    for asset, shared in shares.items():
        await _share(act, row, asset, shared)
    return Applied()


async def _share(act: Act, canary: CanaryRow, asset: Asset, shares: amends_law.Shares) -> None:
    """Write what each buyer has of what was forfeited."""
    for share in shares.each:
        facts = amends_law.begin(act.new_id(), asset, share)
        await amends.insert(act.tx, canary.item_id, facts, act.now)


_facts = worker_rows.facts_of
