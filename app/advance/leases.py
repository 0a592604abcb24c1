"""Leases: an item is claimed, its holder is heard of, and it is delivered or comes back.

One path for all who make things: the house's own executors, and workers on other continents.
Whatever ends an item is counted on its batch in the same transaction; rows are locked in the order
batch, item, lease.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.advance import batches, casts, looks, workers
from app.advance.act import Act
from app.advance.outcome import Applied, Lost, Missing, Otherwise, Outcome, Replayed, Reused, Stale
from app.advance.shell import in_one_statement
from db import batches as batch_rows
from db import claims, items, leases, ledger, shared_claims
from db.artifacts import Artifact
from db.batches import BatchRow
from db.claims import NOBODY, Claim, Hired
from db.items import ItemRow, Output
from db.leases import LeaseRow
from db.shared_claims import Claimer, Dealt
from db.workers import facts_of
from pricing.batch_quote import price_in
from pricing.money import part_of, usd_in_usdc, with_author
from statemachine import batch as batch_law
from statemachine import item as item_law
from statemachine import lease as law
from statemachine.entries import Asset
from statemachine.item import ITEM, ItemState
from statemachine.lease import LeaseState
from statemachine.machine import IllegalTransition
from statemachine.worker import pay_of

GIVEN_UP = "Whoever made it gave it up."
FRESH = timedelta(hours=1)  # after its bytes were stored: long before they are swept as nobody's


@dataclass(frozen=True, slots=True)
class Held:
    """The lease is its holder's, until then."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Enough:
    """The worker has given back as many items as it may within an hour: nothing changed."""


@in_one_statement
async def claim(
    act: Act, worker: str, lanes: Sequence[str], most: int, hired: Hired = NOBODY
) -> list[Claim]:
    """Claim up to so many items for a worker, whose turn it is in one of these lanes."""
    return await claims.claim(act.tx, worker, lanes, most, _begun(act), act.now, hired)


@in_one_statement
async def claim_each(
    act: Act, claimers: Sequence[Claimer], pay_pct: Mapping[str, int]
) -> dict[str, Dealt]:
    """Claim an item for each of some workers of the network; return what each is given, by the name
    of its lease. Who isn't among these claims by himself.
    """
    return await shared_claims.claim_each(act.tx, claimers, pay_pct, _begun(act), act.now)


def _begun(act: Act) -> law.LeaseFacts:
    """Return a lease that begins now, of no item yet."""
    holds, longest = timedelta(seconds=act.terms.lease_s), timedelta(seconds=act.terms.lease_most_s)
    return law.begin("", 0, act.now, holds, longest)


async def beat(
    act: Act,
    item_id: str,
    number: int,
    worker: str,
    progress: int,
    preview: str | None = None,
    holds_s: int | None = None,
) -> Held | Lost | Missing:
    """Hear of a lease's holder, who has come so far (in percent); Lost: he is to stop.

    `preview`: the name by which it is stored how the item looks by now. `holds_s`: he holds it for
    so long without a word; None: for as long as everybody does.
    """
    is_first = await items.state_of(act.tx, item_id) is ItemState.CLAIMED
    item = await items.lock(act.tx, item_id) if is_first else None  # before the lease's row
    row = await _lease_of(act, item_id, number, worker)
    if row is None:
        return Missing()
    beaten = law.Beat(act.now, timedelta(seconds=holds_s or act.terms.lease_s))
    try:
        after = law.decide(leases.facts_of(row), beaten).facts
    except IllegalTransition:
        return Lost()
    if act.now >= row.deadline:
        return Lost()
    if item is not None and item.state is ItemState.CLAIMED:
        started = item_law.decide(items.facts_of(item, None), item_law.Started()).facts
        await items.move(act.tx, item, started, act.now)
    await leases.beat(act.tx, after, progress, preview)
    return Held(after.until)


async def submit(
    act: Act,
    item_id: str,
    number: int,
    worker: str,
    sha256: str,
    made: Artifact | Output,
    used_microusd: int | None = None,
    cost_microusd: int = 0,
) -> Outcome | Lost | Otherwise | Reused | Stale:
    """Take the first result of an item, of the lease that holds it or of one that had lapsed.

    `sha256` is of the bytes that were brought, `made` what has become of them in the store.
    `used_microusd`: what its making came to, where it is less than its price.
    Replayed: this lease has brought these bytes before, and they were taken. Stale: its bytes were
    stored long ago, by a process that stood still since, and may be gone. Reused: a worker of the
    network has brought what was given before, for something else.
    """
    locked = await _lock(act, item_id, number, worker)
    if locked is None:
        return Missing()
    if law.replays(leases.facts_of(locked.lease), sha256):
        return Replayed()
    if locked.lease.state is LeaseState.DONE:
        return Otherwise()
    if isinstance(made, Artifact) and act.now - made.created_at > FRESH:
        return Stale()
    if isinstance(made, Artifact) and await _is_reused(act, locked, made):
        return Reused()
    delivered = item_law.Delivered(_charged(locked, used_microusd))
    told = await _end(act, locked, law.Submitted(sha256), delivered, made)
    await _spend(act, locked, cost_microusd, was_delivered=told)
    return Applied() if told else Lost()


async def _is_reused(act: Act, locked: "_Locked", made: Artifact) -> bool:
    """Say whether a worker of the network brings what was given before, for something else."""
    lease, item = locked.lease, locked.item
    taken = law.LEASE.allows(lease.state, law.LeaseEvent.SUBMITTED) and not ITEM.final(item.state)
    hired = await workers.hirer(act, lease) if taken else None  # locked: it brings one at a time
    return hired is not None and await looks.is_reused(act, item.id, made)


def _charged(locked: "_Locked", used_microusd: int | None) -> int | None:
    """Return what of its share an item is charged that used so much of its price."""
    if used_microusd is None:
        return None
    item, used = locked.item, with_author(max(0, used_microusd), locked.batch.author_pct)
    if used >= item.weight:
        return None
    return part_of(item.share_amount, used, item.weight)


async def decline(
    act: Act, item_id: str, number: int, worker: str, reason: str, cost_microusd: int = 0
) -> Outcome | Lost:
    """Hear that an item can't be made, whoever tries."""
    whose, meaning = (item_id, number, worker), item_law.Declined(reason)
    return await _give(act, *whose, law.Declined(), meaning, cost_microusd)


async def fail(
    act: Act, item_id: str, number: int, worker: str, reason: str, cost_microusd: int = 0
) -> Outcome | Lost:
    """Hear that its holder can't make an item: another may."""
    whose, meaning = (item_id, number, worker), item_law.Broke(reason)
    return await _give(act, *whose, law.Released(), meaning, cost_microusd)


async def release(
    act: Act, item_id: str, number: int, worker: str, cost_microusd: int = 0
) -> Outcome | Lost:
    """Take an item back from a holder who is not to blame."""
    whose = item_id, number, worker
    return await _give(act, *whose, law.Released(), item_law.Released(), cost_microusd)


async def hand_back(act: Act, item_id: str, number: int, worker: str) -> Outcome | Lost | Enough:
    """Take an item back that a worker of the network has not begun; Enough: it does so too often.

    Blame is counted where it has begun: then it has failed.
    """
    locked = await _lock(act, item_id, number, worker)
    if locked is None:
        return Missing()
    hired, is_begun = await workers.hirer(act, locked.lease), locked.lease.progress > 0
    if locked.lease.state is not LeaseState.HELD:
        return Lost()
    if not is_begun and hired is not None and not await workers.gives_back(act, hired):
        return Enough()
    event = item_law.Broke(GIVEN_UP) if is_begun else item_law.Released()
    told = await _end(act, locked, law.Released(), event)
    if told and is_begun:
        await _blame(act, locked)
    return Applied() if told else Lost()


async def lapse(act: Act, item_id: str, number: int) -> Outcome | Lost:
    """Take an item back whose holder was not heard of in time, if that is so."""
    locked = await _lock(act, item_id, number, None)
    if locked is None:
        return Missing()
    if locked.lease.until > act.now:
        return Replayed()  # he was heard of at the last moment
    told = await _end(act, locked, law.Lapsed(), item_law.Recovered())
    if told and (hired := await workers.hirer(act, locked.lease)) is not None:
        await workers.fell_silent(act, hired)
    return Applied() if told else Replayed()


async def abandon(act: Act, item_id: str) -> Outcome:
    """Give up an item that nobody holds, and that nobody comes for who could make it; Replayed:
    somebody has come after all. What was paid for it goes back at its batch's end.
    """
    await items.lock_if_unbegun(act.tx, item_id)
    batch = await batch_rows.lock_of_item(act.tx, item_id)
    item = await items.lock(act.tx, item_id)
    if batch is None or item is None:
        return Missing()
    try:
        after = item_law.decide(items.facts_of(item, batch), item_law.Abandoned()).facts
    except IllegalTransition:
        return Replayed()
    await items.move(act.tx, item, after, act.now)
    facts = batch_rows.facts_of(batch)
    if facts.state is batch_law.BatchState.QUEUED:  # it is the first thing that happens to it
        facts = batch_law.decide(facts, batch_law.Begun()).facts
    [lost] = await _counts(act, batch, after)
    await batches.write(act, batch, batch_law.decide(facts, lost))
    return Applied()


@dataclass(frozen=True, slots=True)
class _Locked:
    """A lease whose batch, item and own row are locked."""

    batch: BatchRow
    item: ItemRow
    lease: LeaseRow


async def _lock(act: Act, item_id: str, number: int, worker: str | None) -> _Locked | None:
    batch = await batch_rows.lock_of_item(act.tx, item_id)
    item = await items.lock(act.tx, item_id)
    lease = await _lease_of(act, item_id, number, worker)
    if batch is None or item is None or lease is None:
        return None
    return _Locked(batch, item, lease)


async def _lease_of(act: Act, item_id: str, number: int, worker: str | None) -> LeaseRow | None:
    """Return a lease of this worker's, locked: another's does not exist for him."""
    row = await leases.lock(act.tx, item_id, number)
    return row if row is not None and worker in (None, row.worker) else None


async def _give(
    act: Act,
    item_id: str,
    number: int,
    worker: str,
    event: law.Event,
    meaning: item_law.Event,
    cost_microusd: int,
) -> Outcome | Lost:
    locked = await _lock(act, item_id, number, worker)
    if locked is None:
        return Missing()
    told = await _end(act, locked, event, meaning)
    if told and not isinstance(meaning, item_law.Released):
        await _blame(act, locked)
    await _spend(act, locked, cost_microusd, was_delivered=False)
    return Applied() if told else Lost()


async def _blame(act: Act, locked: _Locked) -> None:
    """Count what a worker of the network has not made, or can't."""
    if (hired := await workers.hirer(act, locked.lease)) is not None:
        await workers.failed_item(act, hired)


async def _spend(act: Act, locked: _Locked, cost_microusd: int, *, was_delivered: bool) -> None:
    """Book what a holder's call has cost the house, once: in what its batch was paid in, at the
    bitcoin price that its buyer was told."""
    item, lease, asset = locked.item, locked.lease, locked.batch.asset
    if not cost_microusd:
        return
    if asset is Asset.MSAT:
        price = price_in(await batch_rows.quote_of(act.tx, locked.batch.id))
        cost_amount: int = price.to_msat(cost_microusd)
    else:
        cost_amount = usd_in_usdc(cost_microusd)
    if await leases.spend(act.tx, item.id, lease.number, cost_amount):
        facts = leases.facts_of(lease)
        decision = law.spent(facts, asset, cost_amount, was_delivered=was_delivered)
        await ledger.post(act.tx, decision.entries, act.now)


async def _end(
    act: Act,
    locked: _Locked,
    event: law.Event,
    meaning: item_law.Event,
    made: Artifact | Output | None = None,
) -> bool:
    """End a lease, with what that means to its item and its batch; False: it is too late for it."""
    item, lease = locked.item, locked.lease
    hired = await workers.hirer(act, lease) if made is not None else None
    if hired is not None and not workers.takes_from(hired):
        return False
    facts_of_item = items.facts_of(item, locked.batch)
    if hired is not None:
        checked, worker = await workers.is_checked(act, hired), facts_of(hired)
        pay = pay_of(worker, lease.pay_pct, is_checked=checked)
        facts_of_item = replace(facts_of_item, pay=pay)
    try:
        ended = law.decide(leases.facts_of(lease), event).facts
        decision = item_law.decide(facts_of_item, meaning)
    except IllegalTransition:
        return False
    after = decision.facts
    if made is not None and lease.number != item.number:
        await _overtake(act, item.id)
    await leases.end(act.tx, ended, act.now)
    tried_by = lease.worker if not ITEM.final(after.state) else None
    await items.move(act.tx, item, after, act.now, made, tried_by)
    if not ITEM.final(after.state):
        return True
    facts, entries, counted = batch_rows.facts_of(locked.batch), decision.entries, None
    for told in await _counts(act, locked.batch, after):
        counted = batch_law.decide(facts, told)
        facts, entries = counted.facts, (*entries, *counted.entries)
    assert counted is not None, "an item that has ended counts"
    await batches.write(act, locked.batch, replace(counted, entries=entries))
    if hired is not None:
        await workers.paid(act, hired, lease, item, after, locked.batch.funding)
        if isinstance(made, Artifact):
            await looks.keep(act, item.id, made)
    return True


async def _overtake(act: Act, item_id: str) -> None:
    """Tell the lease that holds an item now that an older one has brought its result."""
    row = await leases.lock_held(act.tx, item_id)
    if row is not None:
        overtaken = law.decide(leases.facts_of(row), law.Overtaken()).facts
        await leases.end(act.tx, overtaken, act.now)


async def _counts(act: Act, batch: BatchRow, after: item_law.ItemFacts) -> list[batch_law.Event]:
    """Return what the end of an item is to its batch; and of those that were to be made from it."""
    if after.state is ItemState.COMPLETED:
        of_it: list[batch_law.Event] = [batch_law.ItemDelivered(after.charge_amount)]
        return of_it + await casts.follow(act, batch, after.id)
    with_it = await casts.forsake(act, batch, after.id)
    return [batch_law.ItemLost(after.state is ItemState.CANCELLED, with_it)]
