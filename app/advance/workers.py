"""Workers of the network: registered, paused, paid for what they bring, and stopped.

A worker's pay is written in the transaction that takes its result, and so is a payout of it where
that is enough to be sent. Its row is locked after its lease's, and before the balance.
"""

from dataclasses import dataclass
from datetime import timedelta

from app.advance import accounts, pay_destinations
from app.advance.act import Act
from app.advance.outcome import (
    Applied,
    Disproved,
    Missing,
    Outcome,
    Purse,
    Replayed,
    Short,
    Unproven,
)
from app.advance.pay_destinations import Named, Unsigned
from app.advance.shell import in_one_statement
from db import balances, canaries, ledger, people, seen, workers
from db.items import ItemRow
from db.leases import LeaseRow
from db.seen import Seen
from db.workers import Earned, NewWorker, WorkerRow
from pricing.money import whole_sats_down
from statemachine import canary as canary_law
from statemachine import worker as law
from statemachine.batch import LEAST_REFUND_MICROUSDC, Funding
from statemachine.decision import Decision
from statemachine.entries import Asset
from statemachine.item import ItemFacts
from statemachine.lease import LeaseState
from statemachine.machine import IllegalTransition
from statemachine.worker import WORKER, WorkerFacts, WorkerState

NUMBERS = 10**15  # a payout that nobody has named has one of these
MOST_GIVEN_BACK, GIVEN_BACK_WITHIN = 5, timedelta(hours=1)


async def register(act: Act, new: NewWorker) -> None:
    """Write a new worker, with the account that its pay is on."""
    await people.insert(act.tx, new.account_id, act.now)
    facts = law.begin(new.id, new.account_id, act.now)
    await workers.insert(act.tx, new, facts, act.now)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be another about a worker; None: it stays."""

    name: str | None = None
    pay: Named | None = None
    event: law.Resumed | law.Drained | law.Paused | None = None


async def change(act: Act, worker_id: str, asked: Change) -> Outcome | Unsigned:
    """Change what a worker is called, where its pay goes, or whether it is given items.

    Replayed: its state does not allow that, and nothing has changed; nor has it for Unsigned.
    """
    row = await workers.lock(act.tx, worker_id)
    if row is None:
        return Missing()
    if asked.event is not None and not WORKER.allows(row.state, asked.event.kind):
        return Replayed()
    if asked.pay is not None:
        redirected = await pay_destinations.redirect(act, row, asked.pay)
        if isinstance(redirected, Unsigned):
            return redirected
    if asked.event is not None:
        await _tell(act, row, asked.event)
    await workers.describe(act.tx, row.id, asked.name or row.name)
    return Applied()


async def ban(act: Act, worker_id: str) -> Outcome:
    """Give a worker nothing more, and take nothing from it. What is free of its pay stays its."""
    row = await workers.lock(act.tx, worker_id)
    return Missing() if row is None else await _tell(act, row, law.Banned())


async def readmit(act: Act, worker_id: str) -> Outcome:
    """Have a banned worker be one again that is paused."""
    row = await workers.lock(act.tx, worker_id)
    return Missing() if row is None else await _tell(act, row, law.Readmitted())


async def mature(act: Act, worker_id: str) -> Outcome:
    """Free what is held back of the pay of a worker that is new no more, unless a canary of it is
    not judged yet."""
    row = await workers.lock(act.tx, worker_id)
    if row is None:
        return Missing()
    told = await _tell(act, row, law.Matured(act.now, await _is_open(act, row)))
    await _send(act, row)
    return told


@in_one_statement
async def see(act: Act, *heard_of: Seen) -> None:
    """Note that workers were heard of, none of them twice, and what each makes."""
    await seen.see(act.tx, heard_of, act.now)


@in_one_statement
async def hear(act: Act, worker_id: str) -> None:
    """Note that a worker is at work."""
    await workers.hear(act.tx, worker_id, act.now)


async def hirer(act: Act, lease: LeaseRow) -> WorkerRow | None:
    """Return the worker of the network that a locked lease is of, locked; None: it is the house's.

    What is no worker's part of a lease's cost is no worker's lease.
    """
    return await workers.lock(act.tx, lease.worker) if lease.id is not None else None


def takes_from(row: WorkerRow) -> bool:
    """Say whether a worker's result may be taken."""
    return row.state is not WorkerState.BANNED


async def is_checked(act: Act, row: WorkerRow) -> bool:
    """Say whether a worker that has passed no canary yet makes something of which there are any."""
    if not act.terms.canary_every or not workers.facts_of(row).is_unproven:
        return False
    return await canaries.are_of(act.tx, row.id, act.terms.canary_lanes)


async def paid(
    act: Act, row: WorkerRow, lease: LeaseRow, item: ItemRow, after: ItemFacts, by: Funding
) -> Decision[WorkerFacts]:
    """Write what a worker has earned by an item that it has delivered, and what it is then.

    The item's own entry has brought it the pay; what that frees of its pay is posted here. What the
    house itself has ordered (`by`) is followed by no canary.
    """
    assert after.pay is not None, "it is paid for"
    free, held = after.pay.of(after.paid_charge_amount)
    asset, took = after.asset, act.now - lease.created_at
    took_ms = max(0, took // timedelta(milliseconds=1))
    earned = free + held
    whole = Earned(item.id, row.id, item.lane, asset, earned, held, took_ms, item.weight)
    await workers.earn(act.tx, whole, act.now)
    draws, is_late = by is not Funding.HOUSE and _draws(act, row), lease.state is LeaseState.LAPSED
    is_open = await _is_open(act, row)
    brought = law.Delivered(act.now, asset, held, draws, is_late, is_open)
    decision = law.decide(workers.facts_of(row), brought)
    await write(act, decision)
    await _send(act, row)
    return decision


async def _is_open(act: Act, row: WorkerRow) -> bool:
    """Say whether a canary that is not judged yet keeps a worker from being trusted; who can't be
    trusted yet is not looked up."""
    if row.trusted_at is not None or act.now - row.created_at < law.NEW_FOR:
        return False
    return await canaries.is_open(act.tx, row.id)


def _draws(act: Act, row: WorkerRow) -> bool:
    """Say whether the dice want a worker to be given a canary next."""
    every, passed = act.terms.canary_every, row.canaries_passed
    return canary_law.draws(int(act.new_id(), 16), every, passed) if every else False


async def failed_item(act: Act, row: WorkerRow) -> None:
    """Count an item that a worker has given up, or can't make."""
    await write(act, law.decide(workers.facts_of(row), law.ItemFailed()))


async def fell_silent(act: Act, row: WorkerRow) -> None:
    """Count a lease that a worker has lost by silence."""
    await write(act, law.decide(workers.facts_of(row), law.FellSilent(act.now)))


async def gives_back(act: Act, row: WorkerRow) -> bool:
    """Count an item that a worker gives back without blame; False: it does so too often."""
    since = row.given_back_since
    if since is None or act.now - since >= GIVEN_BACK_WITHIN:
        await workers.count_given_back(act.tx, row.id, 1, act.now)
        return True
    if row.given_back >= MOST_GIVEN_BACK:
        return False
    await workers.count_given_back(act.tx, row.id, row.given_back + 1, since)
    return True


@dataclass(frozen=True, slots=True)
class Nowhere:
    """Nobody has said where pay in this asset goes: nothing changed."""


async def pay_out(
    act: Act, worker_id: str, number: int, amount: int | None, asset: Asset = Asset.MSAT
) -> Applied | Short | Missing | Unproven | Disproved | Nowhere:
    """Owe a worker so much of its pay, in the smallest unit of an asset, and send it by itself.

    None: all that is free; of msat the whole sats. What was owed to it before, and went nowhere,
    is sent with it, or without.
    """
    row = await workers.lock(act.tx, worker_id)
    if row is None:
        return Missing()
    row = await pay_destinations.current(act, row)
    to = row.pay_to if asset is Asset.MSAT else row.usdc_to
    if to is None:
        return Nowhere()
    followed = await pay_destinations.follow(act, row)
    is_all, least = amount is None, 1_000 if asset is Asset.MSAT else LEAST_REFUND_MICROUSDC
    if amount is None:
        amount = await _free(act, row, asset)
    if amount < least:
        return Applied() if is_all and followed else Short(Purse.ACCOUNT, least, amount, asset)
    return await accounts.withdraw(act, row.account_id, number, amount, to, asset)


async def _tell(act: Act, row: WorkerRow, event: law.Event) -> Outcome:
    try:
        decision = law.decide(workers.facts_of(row), event)
    except IllegalTransition:
        return Replayed()
    await write(act, decision)
    return Applied()


async def write(act: Act, decision: Decision[WorkerFacts]) -> None:
    """Write what was decided about a locked worker."""
    await workers.move(act.tx, decision.facts, act.now)
    await ledger.post(act.tx, decision.entries, act.now)


async def _free(act: Act, row: WorkerRow, asset: Asset) -> int:
    """Return what is free of a worker's pay; of msat the whole sats, in msat."""
    free = await balances.lock_of_user(act.tx, row.account_id, asset)
    return whole_sats_down(free) if asset is Asset.MSAT else free


async def _send(act: Act, row: WorkerRow) -> None:
    """Have a worker's pay sent to it, where that is enough by now."""
    row = await pay_destinations.current(act, row)  # its payouts are locked before the balance
    over_msat, over_microusdc = act.terms.pay_over_msat, act.terms.pay_over_microusdc
    for asset, to, least in (
        (Asset.MSAT, row.pay_to, over_msat),
        (Asset.MICROUSDC, row.usdc_to, over_microusdc),
    ):
        if not least or to is None:
            continue
        free = await _free(act, row, asset)
        if free >= least:
            number = int(act.new_id(), 16) % NUMBERS
            await accounts.withdraw(act, row.account_id, number, free, to, asset)
