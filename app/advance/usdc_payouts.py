"""Payouts in USDC: in flight with our own order, until the chain says what became of that.

The token takes one order of a payout, however many we sign: so the call is not claimed apart.
"""

from datetime import UTC, datetime, timedelta

from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Replayed
from app.advance.owners import lock_payout
from app.advance.writing import perform
from db import payouts, usdc_attempts
from db.usdc_tables import UsdcAttempt
from payments.usdc.payment import Payment
from payments.usdc.refund import refund_to_of
from statemachine import attempt as attempts
from statemachine import payout as law
from statemachine.attempt import AttemptFacts, AttemptState
from statemachine.entries import Asset
from statemachine.machine import IllegalTransition


async def order(act: Act, payout_id: str, signed: Payment) -> Outcome:
    """Begin an attempt with an order that is handed over next: in flight from this commit on.

    Replayed: it is in flight, or goes to another address by now. A second order in hand on its
    network fails the transaction on a unique index.
    """
    found = await lock_payout(act, payout_id)
    if found is None:
        return Missing()
    owner, payout = found
    told, network = signed.authorization, signed.network.caip2
    if payout.refund_to != refund_to_of(network, told.payee):
        return Replayed()
    if (payout.asset, payout.amount) != (Asset.MICROUSDC, told.amount_microusdc):
        raise ValueError(f"the order for {payout_id} is one of another amount")
    try:
        decision = law.decide(payouts.facts_of(payout), law.Sent())
    except IllegalTransition:
        return Replayed()
    await usdc_attempts.insert(
        act.tx,
        UsdcAttempt(
            payout_id=payout_id,
            number=decision.facts.attempts,
            network=network,
            payer=told.payer,
            payee=told.payee,
            amount_microusdc=told.amount_microusdc,
            expires_at=datetime.fromtimestamp(told.valid_before_s, UTC),
            outcome=AttemptState.LIVE,
            check_at=act.now + timedelta(seconds=act.terms.payout_check_s),
        ),
    )
    await payouts.move(act.tx, payout, decision.facts, "The payment is on its way.", act.now)
    await perform(act, owner.payee, decision)
    await owner.touch(act, "refund_sent")
    return Applied()


async def acknowledge(act: Act, payout_id: str, number: int, txid: str) -> Outcome:
    """Note that a facilitator says that an order was sent. The chain has the last word."""
    attempt = await usdc_attempts.lock_live(act.tx, payout_id, number)
    if attempt is None:
        return Missing()
    if attempt.txid == txid:
        return Replayed()
    await usdc_attempts.acknowledge(act.tx, attempt, txid)
    return Applied()


async def take_hand(act: Act, payout_id: str, number: int) -> Outcome:
    """Note that an attempt is handed over once more. Another one in hand on its network fails the
    transaction on a unique index."""
    return await _hold(act, payout_id, number, True)


async def let_go(act: Act, payout_id: str, number: int) -> Outcome:
    """Note that whoever was handed an attempt has kept silent: others go on, and this one is asked
    about still."""
    return await _hold(act, payout_id, number, False)


async def _hold(act: Act, payout_id: str, number: int, in_hand: bool) -> Outcome:
    attempt = await usdc_attempts.lock_live(act.tx, payout_id, number)
    if attempt is None:
        return Missing()
    if attempt.in_hand is in_hand or attempt.txid is not None:
        return Replayed()
    await usdc_attempts.hold(act.tx, attempt, in_hand)
    return Applied()


async def settle(act: Act, payout_id: str, number: int, txid: str) -> Outcome:
    """Mark an attempt as arrived, by this transaction of the chain, and its payout as paid."""
    return await _end(act, payout_id, number, law.Settled(0), txid, "Paid.")


async def take_back(act: Act, payout_id: str, number: int, reason: str) -> Outcome:
    """Mark an attempt as failed, for good: its payout is owed again."""
    return await _end(act, payout_id, number, law.Returned(), None, reason)


async def _end(
    act: Act, payout_id: str, number: int, event: law.Event, txid: str | None, note: str
) -> Outcome:
    found = await lock_payout(act, payout_id)
    attempt = await usdc_attempts.lock_live(act.tx, payout_id, number)
    if found is None or attempt is None:
        return Replayed()
    owner, payout = found
    became = attempts.FellThrough() if txid is None else attempts.Arrived(0)
    called = AttemptFacts(payout_id, AttemptState.CALLED, 0, called_by=attempt.payer)
    ended = attempts.decide(called, became).facts
    decision = law.decide(payouts.facts_of(payout), event)
    await payouts.move(act.tx, payout, decision.facts, note, act.now)
    await perform(act, owner.payee, decision, anew=True)
    await owner.touch(act, f"refund_{event.kind.value}")
    await usdc_attempts.end(act.tx, attempt, ended.state, txid)
    return Applied()
