"""Holds: money set aside, from a session's balance or by the house, for a call that streams."""

from datetime import datetime, timedelta

from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Purse, Replayed, Short, Spending
from app.advance.sessions import released, releasing, reserve
from db import holds, ledger
from statemachine import hold as law
from statemachine.machine import IllegalTransition


async def begin(
    act: Act, hold_id: str, purpose: str, amount_msat: int, session_id: str, spending: Spending
) -> Outcome | Short:
    """Set money of a session aside; Replayed when the session is not active."""
    told = await reserve(act, session_id, spending, amount_msat)
    if not isinstance(told, Applied):
        return told
    decision = law.begin(hold_id, amount_msat, session_id)
    budgets = [link for link, _ in spending.budgets] or None
    until = _until(act)
    await holds.insert(act.tx, decision.facts, purpose, budgets, None, act.now, until)
    await ledger.post(act.tx, decision.entries, act.now)
    return told


async def begin_free(act: Act, hold_id: str, purpose: str, amount_msat: int) -> Outcome | Short:
    """Set money of the house aside, within what it gives away on one day."""
    cap_msat, day = act.terms.free_msat_a_day, act.now.date()
    used_msat = await holds.give(act.tx, day, amount_msat, cap_msat)
    if used_msat is not None:
        return Short(Purse.HOUSE, amount_msat, max(0, cap_msat - used_msat))
    decision = law.begin(hold_id, amount_msat, None)
    await holds.insert(act.tx, decision.facts, purpose, None, day, act.now, _until(act))
    await ledger.post(act.tx, decision.entries, act.now)
    return Applied()


async def end(act: Act, hold_id: str, event: law.Event) -> Outcome:
    """End a hold: its call has ended, or its process is gone."""
    tx, now = act.tx, act.now
    locked = await holds.lock(tx, hold_id)
    if locked is None:
        return Missing()
    row, payer = locked
    try:
        decision = law.decide(holds.facts_of(row), event)
    except IllegalTransition:
        return Replayed()
    back_msat = row.amount_msat - decision.facts.charge_msat
    await holds.move(tx, decision.facts, now)
    if payer is None:
        # The day before the accounts, as in `begin_free`: else two of these wait for each other.
        if row.day is not None and back_msat:
            await holds.take_back(tx, row.day, back_msat)
        await ledger.post(tx, decision.entries, now)
        return Applied()
    rest = releasing(payer, row.amount_msat, back_msat)
    await ledger.post(tx, decision.entries, now)
    await released(act, payer.row, rest, row.budgets, back_msat)
    return Applied()


async def let_go(act: Act, hold_id: str) -> Outcome:
    """Release a hold that has timed out without a cost."""
    return await end(act, hold_id, law.LetGo())


def _until(act: Act) -> datetime:
    return act.now + timedelta(seconds=act.terms.hold_s)
