"""Bugs planted on purpose where others lend machines; see `planted`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from app import advance
from app.advance import Act, Applied, Shell
from app.advance.leases import Held
from db import items, leases, ledger, workers
from db.leases import LeaseRow
from db.workers import Earned
from pricing.money import worker_share
from statemachine import canary as canary_law
from statemachine import entries
from statemachine import worker as law
from statemachine.entries import Asset
from statemachine.worker import NEW_FOR, NEW_ITEMS
from tests.simulation.planted import BuggyShell, Statement
from tests.simulation.process import Make

Event = Callable[..., Awaitable[Any]]
DONE_PCT, EARLY = 90, 2


@dataclass(frozen=True)
class OtherShell(Shell):
    """A shell that does something else in the place of some functions."""

    instead: Mapping[Any, Event] = field(kw_only=True)

    async def do(self, event: Event, *args: Any, **kwargs: Any) -> Any:
        """See Shell.do."""
        return await super().do(self.instead.get(event, event), *args, **kwargs)


async def takes_from_anybody(act: Act, item_id: str, number: int, worker: str, *more: Any) -> Any:
    """Takes whatever is brought for an item as if its holder brought it: no lease is a fence."""
    held = await leases.lock_held(act.tx, item_id)
    if held is not None:
        number, worker = held.number, held.worker
    return await advance.leases.submit(act, item_id, number, worker, *more)


async def pays_for_words(
    act: Act, item_id: str, number: int, worker: str, progress: int, *more: Any
) -> Any:
    """Pays a worker that says that it is all but done; nobody has looked at what it has made."""
    told = await advance.leases.beat(act, item_id, number, worker, progress, *more)
    lease = await leases.lock(act.tx, item_id, number)
    assert lease is not None
    if isinstance(told, Held) and progress >= DONE_PCT and lease.id is not None:
        await _pay(act, lease)
    return told


async def _pay(act: Act, lease: LeaseRow) -> None:
    item, hand = await items.lock(act.tx, lease.item_id), await workers.lock(act.tx, lease.worker)
    assert item is not None and hand is not None
    pay = worker_share(item.share_amount, lease.pay_pct)
    if not pay:
        return
    earned = Earned(item.id, hand.id, item.lane, Asset.MSAT, pay, 0, 1, item.weight)
    await workers.earn(act.tx, earned, act.now)
    legs = (
        entries.Posting(entries.REVENUE_MEDIA, pay),
        entries.Posting(entries.of_user(hand.account_id), -pay),
    )
    entry = entries.Entry(f"item:{item.id}:said", Asset.MSAT, legs)
    await ledger.post(act.tx, [entry], act.now)


async def frees_early(act: Act, item_id: str, number: int, worker: str, *more: Any) -> Any:
    """Frees what is held back of a worker's pay with its second item, and books that as it should
    be booked: what the law would have said of one that is new no more."""
    told = await advance.leases.submit(act, item_id, number, worker, *more)
    hand = await workers.lock(act.tx, worker)
    if isinstance(told, Applied) and hand is not None and hand.delivered >= EARLY:
        facts = workers.facts_of(hand)
        old = replace(facts, delivered=NEW_ITEMS, since=act.now - NEW_FOR)
        decision = law.decide(old, law.Matured(act.now))
        await workers.move(
            act.tx, replace(decision.facts, delivered=facts.delivered, since=facts.since), act.now
        )
        await ledger.post(act.tx, decision.entries, act.now)
    return told


async def fails_who_brought_nothing(act: Act, canary_id: str, event: canary_law.Event) -> Any:
    """Takes a canary that was given back, or lost by silence, for one that shows something else."""
    if isinstance(event, canary_law.Voided):
        event = canary_law.Failed(100)
    return await advance.canaries.judge(act, canary_id, event)


def looks_before(query: str, values: dict[str, Any]) -> Statement:
    """Gives a worker as many items as it might have had before another claim of its own."""
    query = query.replace("room_of_worker(%(worker)s, %(at_once)s)", "%(most)s")
    return query.replace("rooms.room\n", "CAST(1 AS bigint) AS room\n"), values


def _instead(of: Any, other: Event) -> Make:
    return Make(shell=partial(OtherShell, instead={of: other}))


PLANTED_ON_WORKERS = {
    "a lease without fencing": _instead(advance.leases.submit, takes_from_anybody),
    "pay without acceptance": _instead(advance.leases.beat, pays_for_words),
    "holdback released early": _instead(advance.leases.submit, frees_early),
    "a canary that nobody has brought": _instead(advance.canaries.judge, fails_who_brought_nothing),
    "a limit that is looked at too early": Make(shell=partial(BuggyShell, bug=looks_before)),
}
