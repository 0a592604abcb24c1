"""Receiving wallets of the rail: wanted, in use, retired, closed, deleted. Nothing else moves one.

All of a rail's are locked together, so that two processes open no two at once.
"""

from datetime import datetime

from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Replayed
from db import receiving_wallets as rows
from db.receiving_tables import ReceivingWallet
from statemachine import wallet as law
from statemachine.machine import IllegalTransition


async def offer_first(act: Act, rail: str) -> None:
    """Write the wallet that the settings name, unless it is there."""
    await rows.insert(act.tx, rail, law.begin(law.FIRST).facts, act.now, rail)


async def want(act: Act, rail: str, number: int, lost_before: datetime) -> Outcome:
    """Note that the caller opens the wallet of this number; Replayed: another process is about to.

    A process that set out before `lost_before`, and has not opened it, is not waited for.
    """
    if await rows.insert(act.tx, rail, law.begin(number).facts, act.now):
        return Applied()
    [row] = [one for one in await rows.lock(act.tx, rail) if one.number == number]
    if row.wanted_at >= lost_before:
        return Replayed()
    return await _turn(act, row, law.Sought())


async def open_next(act: Act, rail: str, number: int, identity: str, sealed: str) -> Outcome:
    """Write a wallet that exists now, and retire those before it; Replayed: one was open already.

    `sealed` is its key, closed with the operator's secret.
    """
    locked = await rows.lock(act.tx, rail)
    for row in locked:
        if row.number == number:
            row.identity, row.sealed = identity, sealed
            opened = await _turn(act, row, law.Opened())
            if isinstance(opened, Applied):
                for older in locked:
                    if older.number < number:
                        await _turn(act, older, law.Replaced())
            return opened
    return Missing()


async def close(act: Act, rail: str, identity: str, left_msat: int) -> Outcome:
    """Close a retired wallet; Replayed: something may still come to it or leave it.

    The rail is not asked about its invoices after that.
    """
    closed = await _hear(act, rail, identity, law.Closed(left_msat))
    if isinstance(closed, Applied):
        await rows.watch_no_more(act.tx, identity)
    return closed


async def note_deleted(act: Act, rail: str, identity: str) -> Outcome:
    """Note that a closed wallet is not in the rail any more."""
    return await _hear(act, rail, identity, law.Deleted())


async def _hear(act: Act, rail: str, identity: str, event: law.Event) -> Outcome:
    for row in await rows.lock(act.tx, rail):
        if row.identity == identity:
            return await _turn(act, row, event)
    return Missing()


async def _turn(act: Act, row: ReceivingWallet, event: law.Event) -> Outcome:
    awaited = row.identity is not None and await rows.is_awaited(act.tx, row.identity)
    facts = law.WalletFacts(row.number, rows.state_of(row), awaited, row.left_msat)
    try:
        decision = law.decide(facts, event)
    except IllegalTransition:
        return Replayed()
    await rows.move(act.tx, row, decision.facts, act.now)
    return Applied()
