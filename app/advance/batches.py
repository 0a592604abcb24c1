"""Batches: from being ordered to the last msat, and what their end means to who pays for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.advance import keys, notices
from app.advance.act import Act
from app.advance.casts import CastOf
from app.advance.outcome import (
    Applied,
    Missing,
    Outcome,
    Payer,
    Replayed,
    Short,
    Spending,
)
from app.advance.sessions import released, releasing, reserve
from app.advance.writing import Payee, perform, write_first
from db import artifacts, balances, batches, casts, items, lanes, ledger
from db.artifacts import Artifact
from db.batches import BatchRow
from db.invoices import MadeInvoice
from db.items import NewItem
from db.lapsed_tables import LapsedInvoice
from db.webhooks import NewWebhook
from payments import rail
from statemachine import batch as law
from statemachine.batch import BATCH, BatchState, Funding
from statemachine.decision import Decision
from statemachine.entries import Asset
from statemachine.machine import IllegalTransition
from statemachine.owner import Owner, OwnerKind


@dataclass(frozen=True, slots=True)
class Ordered:
    """What is bought: its items, whose turn they are, and the quote that its buyer was told."""

    items: Sequence[NewItem]
    payer: str
    quote: dict[str, Any]
    refund_to: str | None = None
    account_id: str | None = None  # whose it is, whoever pays
    cast: CastOf | None = None  # whose steps the items are
    files: Sequence[Artifact] = ()  # that its items are made from; their bytes are stored
    webhook: NewWebhook | None = None  # who is told of its end


async def begin(
    act: Act, batch_id: str, ordered: Ordered, price_msat: int, opened: rail.Opened
) -> MadeInvoice:
    """Create a batch with its invoice, which the rail has made before, and return that one."""
    begun = law.begin(batch_id, price_msat, len(ordered.items), ordered.account_id)
    await _insert(act, begun, ordered, None)
    return await write_first(act, _owner(batch_id), begun, opened)


async def begin_reserved(
    act: Act,
    batch_id: str,
    ordered: Ordered,
    price_msat: int,
    session_id: str,
    spending: Spending,
) -> Outcome | Short:
    """Create a batch that a session pays for; Replayed when the session is not active."""
    told = await reserve(act, session_id, spending, price_msat)
    if not isinstance(told, Applied):
        return told
    begun = law.begin_reserved(
        batch_id, session_id, price_msat, len(ordered.items), ordered.account_id
    )
    await ledger.post(act.tx, begun.entries, act.now)
    await _insert_queued(act, begun, ordered, spending)
    return told


async def begin_from_account(
    act: Act, batch_id: str, ordered: Ordered, asset: Asset, amount: int, payer: Payer
) -> Applied | Short:
    """Create a batch that a person's account pays for, out of what it has in one asset.

    A key that has it pay spends of its own limit, of which it gets back what is not charged.
    """
    begun = law.begin_from_account(batch_id, payer.account_id, asset, amount, len(ordered.items))
    told = await keys.debit(act, payer, amount, asset, begun.entries)
    if not isinstance(told, Applied):
        return told
    key_id = payer.key_id
    spends = None if key_id is None else Spending((key_id,), ((key_id, amount),))
    await _insert_queued(act, begun, ordered, spends)
    return told


async def begin_claimed(
    act: Act, batch_id: str, ordered: Ordered, price_microusdc: int, authorization: str
) -> None:
    """Create a batch that an authorization in USDC is claimed for, in the same transaction: nobody
    makes any of it before that has settled.
    """
    items, account_id = len(ordered.items), ordered.account_id
    begun = law.begin_claimed(batch_id, authorization, price_microusdc, items, account_id)
    await _insert(act, begun, ordered, None)


async def _insert_queued(
    act: Act, begun: Decision[law.BatchFacts], ordered: Ordered, spending: Spending | None
) -> None:
    await _insert(act, begun, ordered, spending)
    if ordered.cast is not None:
        await casts.paid(act.tx, ordered.cast.id_of(begun.facts), act.now)
    await lanes.give_turns(act.tx, begun.facts.id, ordered.payer)


async def _insert(
    act: Act, begun: Decision[law.BatchFacts], ordered: Ordered, spending: Spending | None
) -> None:
    if ordered.cast is not None:
        for unpaid in await batches.lock_unpaid(act.tx, ordered.cast.id_of(begun.facts)):
            cancelled = await items.cancel(act.tx, unpaid.id, act.now)
            await step(act, unpaid, law.Cancelled(cancelled))
        await ordered.cast.write(act, begun.facts)
    await batches.insert(
        act.tx,
        begun.facts,
        ordered.payer,
        ordered.quote,
        ordered.refund_to,
        act.now,
        credential=spending.links if spending else None,
        budgets=[link for link, _ in spending.budgets] if spending else None,
        cast=ordered.cast.of(begun.facts) if ordered.cast else None,
    )
    await items.insert(act.tx, begun.facts.id, ordered.items, act.now)
    for file in ordered.files:
        await artifacts.insert(act.tx, file._replace(batch_id=begun.facts.id))
    await notices.register(act, _owner(begun.facts.id), ordered.webhook)


async def cancel(act: Act, batch_id: str) -> Outcome:
    """Cancel a batch: what nobody holds of it is not made. Replayed: it has ended, or was before.

    Items that are held run to their end, and are charged if they are delivered.
    """
    await items.lock_unbegun(act.tx, batch_id)
    row = await batches.lock(act.tx, batch_id)
    if row is None:
        return Missing()
    if row.called_off or not BATCH.allows(row.state, law.BatchEvent.CANCELLED):
        return Replayed()
    return await step(act, row, law.Cancelled(await items.cancel(act.tx, batch_id, act.now)))


async def step(act: Act, row: BatchRow, event: law.Event) -> Outcome:
    """Apply an event to a locked batch."""
    try:
        decision = law.decide(batches.facts_of(row), event)
    except IllegalTransition:
        return Replayed()
    match event:
        case law.Paid():
            await lanes.give_turns(act.tx, row.id, row.payer)
            if row.cast_id is not None:
                await casts.paid(act.tx, row.cast_id, act.now)
        case law.Lapsed():
            await items.cancel(act.tx, row.id, act.now)
    await write(act, row, decision)
    return Applied()


async def write(act: Act, row: BatchRow, decision: Decision[law.BatchFacts]) -> None:
    """Write what was decided about a locked batch; at its end, its session has the rest."""
    after = decision.facts
    await batches.move(act.tx, row, after, act.now)
    if row.session_id is None or not BATCH.final(after.state):
        await perform(act, payee_of(row), decision)
        if row.funding is Funding.ACCOUNT and BATCH.final(after.state):
            await keys.unspend(act, row.budgets or (), after.rest_amount, row.asset)
    else:
        await _release(act, row, row.session_id, decision)
    # What nobody ever paid for is told to nobody: it would cost its buyer nothing.
    if BATCH.final(after.state) and row.state is not BatchState.AWAITING_PAYMENT:
        await notices.tell(act, _owner(row.id), _as_told(row, after))


def _as_told(row: BatchRow, after: law.BatchFacts) -> BatchState:
    """Return how the end of a batch is told: a cast is complete when all of its steps are."""
    if row.cast_id is not None and after.delivered < after.items:
        return BatchState.FAILED
    return after.state


async def _release(
    act: Act, row: BatchRow, session_id: str, decision: Decision[law.BatchFacts]
) -> None:
    after = decision.facts
    payer = await balances.lock_to_spend(act.tx, session_id)
    assert payer is not None, "a batch outlives its session's row"
    rest = releasing(payer, after.price_amount, after.rest_amount)
    await perform(act, payee_of(row), decision)
    await released(act, payer.row, rest, row.budgets, after.rest_amount)


def _owner(batch_id: str) -> Owner:
    return Owner(OwnerKind.BATCH, batch_id)


def payee_of(row: BatchRow) -> Payee:
    """Return who is paid what is owed by a batch."""
    return Payee(_owner(row.id), row.refund_to)


async def touch(act: Act, row: BatchRow, _: str) -> None:
    """Count a change of a locked batch that others can see, and tell whoever waits for one."""
    await batches.touch(act.tx, row.id, act.now)


async def restore(act: Act, batch_id: str, kept: LapsedInvoice) -> None:
    """Have a batch there again that was purged, without its items: nobody had paid in time."""
    facts = law.BatchFacts(
        batch_id, BatchState.CANCELLED, Funding.INVOICE, kept.amount_msat, items=0
    )
    await batches.insert(act.tx, facts, batch_id, {}, kept.refund_to, act.now)
    row = await batches.lock(act.tx, batch_id)
    assert row is not None, "it was just written"
    await batches.move(act.tx, row, facts, act.now)
