"""Holds: money set aside, from a session's balance or by the house, for a call that streams.

Nearly always, setting aside and giving back move two sums of an active session, whatever else it
is: then one call into Postgres sees that this is so, and writes it. Else the session is read, and
the law decides.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Purse, Replayed, Short, Spending
from app.advance.sessions import idle_from, released, releasing, why_not
from app.advance.shell import has_shortcut, in_one_statement
from db import holds, ledger
from statemachine import hold as law
from statemachine import session as session_law
from statemachine.machine import IllegalTransition


async def _begin_alone(
    act: Act,
    hold_id: str,
    purpose: str,
    amount_msat: int,
    session_id: str,
    spending: Spending,
    shown: holds.Shown | None = None,
) -> Applied | None:
    decision, until = law.begin(hold_id, amount_msat, session_id), _until(act)
    grounds = session_law.grounds(session_law.Reserved(amount_msat))
    idle_at, budgets = idle_from(act), spending.budgets
    is_done = await holds.begin_at_once(
        act.tx, decision, grounds, budgets, purpose, until, idle_at, act.now, shown
    )
    return Applied() if is_done else None


@has_shortcut(_begin_alone)
async def begin(
    act: Act, hold_id: str, purpose: str, amount_msat: int, session_id: str, spending: Spending
) -> Outcome | Short:
    """Set money of a session aside; Replayed when the session is not active."""
    no = await why_not(act, session_id, spending, amount_msat)
    if no is not None:
        return no
    done = await _begin_alone(act, hold_id, purpose, amount_msat, session_id, spending)
    assert done is not None, "the law and its grounds are at odds"
    return done


@in_one_statement
async def begin_shown(
    act: Act,
    hold_id: str,
    purpose: str,
    amount_msat: int,
    session_id: str,
    spending: Spending,
    nonce: str,
) -> Applied | None:
    """Set money of a session aside where it takes the credential that is shown, which nobody has
    looked up before. None where anything is against that, of whatever kind: nothing is written,
    and it is looked up, and begun, as all others are.
    """
    shown = holds.Shown(nonce, spending.links)
    return await _begin_alone(act, hold_id, purpose, amount_msat, session_id, spending, shown)


async def begin_free(act: Act, hold_id: str, purpose: str, amount_msat: int) -> Outcome | Short:
    """Set money of the house aside, within what it gives away on one day."""
    cap_msat, day = act.terms.free_msat_a_day, act.now.date()
    used_msat = await holds.give(act.tx, day, amount_msat, cap_msat)
    if used_msat is not None:
        return Short(Purse.HOUSE, amount_msat, max(0, cap_msat - used_msat))
    decision = law.begin(hold_id, amount_msat, None)
    await holds.insert_free(act.tx, decision.facts, purpose, day, act.now, _until(act))
    await ledger.post(act.tx, decision.entries, act.now)
    return Applied()


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose money a hold is, and how much: what never changes of one that is on a session."""

    session_id: str
    amount_msat: int
    links: tuple[str, ...]  # of the budgets that it was begun with


async def end(act: Act, hold_id: str, event: law.Event, known: Payer | None = None) -> Outcome:
    """End a hold: its call has ended, or its process is gone. `known`: by whoever began it."""
    tx, now = act.tx, act.now
    if known is not None and await _end_at_once(act, hold_id, event, known):
        return Applied()
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


async def _end_at_once(act: Act, hold_id: str, event: law.Event, known: Payer) -> bool:
    facts = law.HoldFacts(hold_id, law.HoldState.HELD, known.amount_msat, known.session_id)
    decision = law.decide(facts, event)
    back_msat = known.amount_msat - decision.facts.charge_msat
    grounds = session_law.grounds(session_law.Released(known.amount_msat, back_msat))
    return await holds.end_at_once(act.tx, decision, grounds, known.links, act.now)


async def _end_alone(act: Act, hold_id: str, event: law.Event, known: Payer) -> Outcome | None:
    return Applied() if await _end_at_once(act, hold_id, event, known) else None


@has_shortcut(_end_alone)
async def end_known(act: Act, hold_id: str, event: law.Event, known: Payer) -> Outcome:
    """End a hold, as whoever began it does, and nothing beside it."""
    return await end(act, hold_id, event)


async def let_go(act: Act, hold_id: str) -> Outcome:
    """Release a hold that has timed out without a cost."""
    return await end(act, hold_id, law.LetGo())


def _until(act: Act) -> datetime:
    return act.now + timedelta(seconds=act.terms.hold_s)
