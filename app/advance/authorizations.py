"""Buyers' orders in USDC: claimed for one purchase, and what their end means to it."""

from datetime import datetime, timedelta
from typing import Any

from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Replayed
from app.advance.owners import Locked, lock_authorization
from app.advance.writing import perform
from db import authorizations, deposits
from db.authorizations import AuthorizationRow
from statemachine import authorization as law
from statemachine.machine import IllegalTransition
from statemachine.owner import Owner

TAKEN_IN = "it was sent before, and is a deposit of its sender's"
LEAST_PAUSE_S, LONGEST_PAUSE_S = 2, 60  # between two looks at one of which nobody knows


async def claim(
    act: Act, owner: Owner, told: dict[str, Any], is_named: bool
) -> AuthorizationRow | None:
    """Claim an order for what is written after it in this transaction, and take it on.

    None, and nothing is written: it was claimed or answered before, or another one was claimed for
    the same purchase, whose buyer has had no answer, or has named it.
    """
    until = act.now + timedelta(seconds=act.terms.settling_s)
    return await authorizations.claim(act.tx, owner, told, is_named, act.now, until)


async def present(act: Act, shown: str, authorization: str, valid_before_s: int) -> None:
    """Write that an order is answered with what another one has bought: it buys nothing else, also
    when it is sent again after its buyer has had that answer.
    """
    await authorizations.present(act.tx, shown, authorization, valid_before_s)


async def settle(act: Act, authorization: str, txid: str) -> Outcome:
    """Settle an order whose money we hold, and apply that to what it was claimed for.

    What came in before its order was handed to us is a deposit by now, and pays for nothing else.
    """
    found = await lock_authorization(act, authorization)
    if found is None:
        return Missing()
    owner, row = found
    await deposits.lock_name(act.tx, authorization)
    if await deposits.of_order(act.tx, authorization) is not None:
        return await _failed(act, owner, row, TAKEN_IN)
    event = owner.settled(row.purpose)
    try:
        decision = law.decide(authorizations.facts_of(row), law.Settled(awaited=event is not None))
    except IllegalTransition:
        return Replayed()
    await authorizations.move(act.tx, decision.facts, act.now, txid=txid, reason=None)
    await perform(act, owner.payee, decision)
    if event is None:
        await owner.touch(act, "unawaited_payment")
    else:
        await owner.step(act, event)
    return Applied()


async def fail(act: Act, authorization: str, reason: str) -> Outcome:
    """End an order that moved nothing and never will, and what nobody else has paid for."""
    found = await lock_authorization(act, authorization)
    if found is None:
        return Missing()
    return await _failed(act, *found, reason)


async def _failed(act: Act, owner: Locked, row: AuthorizationRow, reason: str) -> Outcome:
    try:
        decision = law.decide(authorizations.facts_of(row), law.Failed())
    except IllegalTransition:
        return Replayed()
    await authorizations.move(act.tx, decision.facts, act.now, txid=None, reason=reason)
    await _lapse(act, owner, row)
    return Applied()


async def decline(act: Act, authorization: str, reason: str) -> Outcome:
    """Write that an order was refused before it was sent: its buyer may sign another one.

    The chain is asked about it all the same: what it paid after all is owed back.
    """
    found = await lock_authorization(act, authorization)
    if found is None:
        return Missing()
    owner, row = found
    if row.state is not law.AuthorizationState.CLAIMED:
        return Replayed()
    await authorizations.decline(act.tx, row.id, reason, act.now, _next_look(act, row))
    await _lapse(act, owner, row)
    return Applied()


async def note(act: Act, authorization: str, reason: str) -> None:
    """Write why nobody knows yet what became of an order, and when to look again."""
    row = await authorizations.lock(act.tx, authorization)
    if row is not None:
        await authorizations.note(act.tx, row.id, reason, _next_look(act, row))


async def answered(act: Act, authorization: str) -> None:
    """Write that its buyer has had an answer."""
    await authorizations.answered(act.tx, authorization, act.now)


async def _lapse(act: Act, owner: Locked, row: AuthorizationRow) -> None:
    event = owner.lapsed(row.purpose)
    if event is not None:
        await owner.step(act, event)


def _next_look(act: Act, row: AuthorizationRow) -> datetime:
    pause_s = min(LEAST_PAUSE_S * 2 ** min(row.tries - 1, 10), LONGEST_PAUSE_S)
    return act.now + timedelta(seconds=pause_s)
