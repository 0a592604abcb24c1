"""Payouts: money that leaves us, in flight before the rail is called, and never sent twice."""

from dataclasses import replace
from datetime import datetime, timedelta

from app.advance.act import Act
from app.advance.outcome import Applied, Dear, Missing, Outcome, Replayed, Terms
from app.advance.owners import Locked, lock_payout
from app.advance.writing import perform
from db import payouts, routing
from db.payouts import PayoutRow
from db.rows import Reads
from db.tables import Payout, PayoutAttempt
from payments import rail
from payments.bolt11 import Invoice as Bolt11
from pricing.money import margin_in
from statemachine import attempt as attempts
from statemachine import payout as law
from statemachine.attempt import AttemptState
from statemachine.machine import IllegalTransition
from statemachine.routing import Means, Share, share


async def share_of(
    reads: Reads, terms: Terms, payout: Payout | PayoutRow, limit_msat: int, now: datetime
) -> Share:
    """Return who would bear the routing of a payout now, where that may cost so much."""
    if not payout.reason.only_passed:
        return share(payout.reason, payouts.msat_of(payout), limit_msat, None)
    whose = payout.job_id, payout.session_id, payout.batch_id, payout.account_id
    account = await routing.account_of(reads, *whose, now.date())
    earned_msat = margin_in(account.charged_msat, terms.margin_pct)
    given_msat = max(0, account.borne_msat - earned_msat)
    free_msat = min(
        terms.routing_free_msat - given_msat,
        terms.routing_free_msat_a_day - account.given_msat,
    )
    means = Means(max(0, earned_msat - account.borne_msat), max(0, free_msat))
    return share(payout.reason, payouts.msat_of(payout), limit_msat, means)


async def send(
    act: Act, payout_id: str, to: Bolt11, fee_limit_msat: int, asked_of: str | None = None
) -> Outcome | Dear:
    """Begin an attempt to a checked destination: in flight from this commit on.

    `asked_of` is the destination that made the invoice by itself: when somebody has named another
    one in the meantime, nothing is sent there any more.

    A payment_hash that was used before, or a second live attempt, fails the transaction on a
    unique index.
    """
    tx, now, terms = act.tx, act.now, act.terms
    found = await lock_payout(act, payout_id)
    if found is None:
        return Missing()
    owner, payout = found
    if asked_of is not None and payout.refund_to != asked_of:
        return Replayed()
    try:
        decision = law.decide(payouts.facts_of(payout), law.Sent())
    except IllegalTransition:
        return Replayed()
    sent_msat, day = int(to.amount_msat or 0), now.date()
    bears = await share_of(tx, terms, payout, fee_limit_msat, now)
    if sent_msat > bears.sendable_msat:
        return Dear(bears.sendable_msat)
    bears = bears.of(sent_msat)
    most_msat = terms.routing_free_msat_a_day
    if bears.free_msat and not await routing.give(tx, day, bears.free_msat, most_msat):
        return Dear(bears.least_msat)  # another one was given it at this moment
    await payouts.insert_attempt(
        tx,
        PayoutAttempt(
            payment_hash=to.payment_hash,
            payout_id=payout_id,
            number=decision.facts.attempts,
            bolt11=to.bolt11,
            fee_limit_msat=fee_limit_msat,
            sent_msat=sent_msat,
            borne_msat=bears.borne_msat,
            free_msat=bears.free_msat,
            free_day=day if bears.free_msat else None,
            expires_at=to.expires_at,
            outcome=AttemptState.LIVE,
            check_at=now + timedelta(seconds=terms.payout_check_s),
        ),
    )
    await payouts.move(tx, payout, decision.facts, "The payment is on its way.", now)
    await perform(act, owner.payee, decision)
    await owner.touch(act, "refund_sent")
    return Applied()


async def call(act: Act, payout_id: str, number: int, by: str) -> Outcome:
    """Claim the one call that has this wallet of the rail pay an attempt.

    After this commit nobody but the rail can say that nothing was sent. Replayed: it is claimed.
    """
    return await _turn_attempt(act, payout_id, number, attempts.Called(by))


async def uncall(act: Act, payout_id: str, number: int) -> Outcome:
    """Give the call of an attempt back: it is certain that nothing was sent."""
    return await _turn_attempt(act, payout_id, number, attempts.Unsent())


async def _turn_attempt(act: Act, payout_id: str, number: int, event: attempts.Event) -> Outcome:
    attempt = await payouts.lock_attempt(act.tx, payout_id, number)
    if attempt is None:
        return Missing()
    try:
        decision = attempts.decide(payouts.attempt_facts(attempt), event)
    except IllegalTransition:
        return Replayed()
    await payouts.move_attempt(act.tx, decision.facts, act.now)
    return Applied()


async def settle(act: Act, payout_id: str, number: int, settled: rail.Settled) -> Outcome:
    """Mark an attempt as arrived, and its payout as paid."""
    return await _end_attempt(act, payout_id, number, settled, "Paid.")


async def record(
    act: Act, payout_id: str, to: Bolt11, number: int, by: str, settled: rail.Settled
) -> Outcome | Dear:
    """Write an attempt that the rail says has settled, and that is missing in the books."""
    sent = await send(act, payout_id, to, settled.fee_msat)
    if not isinstance(sent, Applied):
        return sent
    await call(act, payout_id, number, by)
    return await settle(act, payout_id, number, settled)


async def take_back(act: Act, payout_id: str, number: int, reason: str) -> Outcome:
    """Mark an attempt as failed, for good: its payout is owed again."""
    return await _end_attempt(act, payout_id, number, None, reason)


async def refuse(act: Act, payout_id: str, failures: int, asked_of: str, reason: str) -> Outcome:
    """Count a failure of a payout's destination, which gave no invoice; `failures` names the try.

    Replayed when that was counted before, or another destination was named since.
    """
    found = await lock_payout(act, payout_id)
    if found is None:
        return Missing()
    owner, payout = found
    if payout.refund_to != asked_of or payout.failures != failures:
        return Replayed()
    return await _turn(act, owner, payout, law.Refused(), reason)


async def redirect(act: Act, payout_id: str, refund_to: str) -> Outcome:
    """Give a payout another destination."""
    found = await lock_payout(act, payout_id)
    if found is None:
        return Missing()
    note = "Another destination was named."
    return await _turn(act, *found, law.Redirected(refund_to), note)


async def _turn(act: Act, owner: Locked, payout: Payout, event: law.Event, note: str) -> Outcome:
    try:
        decision = law.decide(payouts.facts_of(payout), event)
    except IllegalTransition:
        return Replayed()
    await payouts.move(act.tx, payout, decision.facts, note, act.now)
    await perform(act, owner.payee, decision, anew=True)
    await owner.touch(act, f"refund_{event.kind.value}")
    return Applied()


async def _end_attempt(
    act: Act, payout_id: str, number: int, settled: rail.Settled | None, note: str
) -> Outcome:
    found = await lock_payout(act, payout_id)
    attempt = await payouts.lock_attempt(act.tx, payout_id, number)
    if found is None or attempt is None:
        return Replayed()
    owner, payout = found
    became: attempts.Event = attempts.FellThrough()
    event: law.Event = law.Returned()
    if settled is not None:
        withheld_msat = payouts.msat_of(payout) - attempt.sent_msat
        became = attempts.Arrived(settled.fee_msat)
        event = law.Settled(settled.fee_msat, withheld_msat, attempt.borne_msat)
    try:
        ended = attempts.decide(payouts.attempt_facts(attempt), became).facts
    except IllegalTransition:
        return Replayed()
    decision = law.decide(payouts.facts_of(payout), event)
    await payouts.move(act.tx, payout, decision.facts, note, act.now)
    payee = replace(owner.payee, refund_to=payout.refund_to)  # its change goes there too
    await perform(act, payee, decision, anew=True)
    await owner.touch(act, f"refund_{event.kind.value}")
    preimage = settled.preimage if settled else None
    await payouts.move_attempt(act.tx, ended, act.now, preimage)
    if attempt.free_day is not None and ended.given_back_msat:
        await routing.take_back(act.tx, attempt.free_day, ended.given_back_msat)
    return Applied()
