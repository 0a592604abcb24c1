"""Payouts: money that leaves us, in flight before the rail is called, and never sent twice."""

from datetime import datetime, timedelta

from app.advance.outcome import Applied, Missing, Outcome, Replayed
from app.advance.writing import Writing, owner_of
from db import payouts
from db.engine import Tx
from db.tables import PayoutAttempt
from payments import rail
from payments.bolt11 import Invoice as Bolt11
from statemachine import payout as law
from statemachine.machine import IllegalTransition


class Payouts(Writing):
    """What can be told to a payout."""

    async def send_payout(
        self, tx: Tx, payout_id: str, to: Bolt11, fee_limit_msat: int, now: datetime
    ) -> Outcome:
        """Begin an attempt to a checked destination: in flight from this commit on.

        A payment_hash that was used before, or a second live attempt, fails the transaction on a
        unique index.
        """
        found = await self._lock_payout(tx, payout_id)
        if found is None:
            return Missing()
        row, payout = found
        try:
            decision = law.decide(payouts.facts_of(payout), law.Sent())
        except IllegalTransition:
            return Replayed()
        await payouts.insert_attempt(
            tx,
            PayoutAttempt(
                payment_hash=to.payment_hash,
                payout_id=payout_id,
                number=decision.facts.attempts,
                bolt11=to.bolt11,
                fee_limit_msat=fee_limit_msat,
                expires_at=to.expires_at,
                outcome="live",
                check_at=now + timedelta(seconds=self._terms.payout_check_s),
            ),
        )
        await payouts.move(tx, payout, decision.facts, "The payment is on its way.", now)
        await self._perform(tx, owner_of(row), decision, now)
        await self._touch(tx, row, "refund_sent", now)
        return Applied()

    async def settle_payout(
        self, tx: Tx, payout_id: str, number: int, settled: rail.Settled, now: datetime
    ) -> Outcome:
        """Tell a payout that its payee has the money."""
        event = law.Settled(settled.fee_msat)
        attempt = await self._end_attempt(tx, payout_id, number, event, "Paid.", now)
        if attempt is None:
            return Replayed()
        attempt.outcome, attempt.preimage = "settled", settled.preimage
        attempt.fee_msat = settled.fee_msat
        await payouts.write_attempt(tx, attempt)
        return Applied()

    async def return_payout(
        self, tx: Tx, payout_id: str, number: int, reason: str, now: datetime
    ) -> Outcome:
        """Tell a payout that an attempt, for good, did not happen: it is owed again."""
        event = law.Returned()
        attempt = await self._end_attempt(tx, payout_id, number, event, reason, now)
        if attempt is None:
            return Replayed()
        attempt.outcome = "returned"
        await payouts.write_attempt(tx, attempt)
        return Applied()

    async def refuse_payout(
        self, tx: Tx, payout_id: str, failures: int, reason: str, now: datetime
    ) -> Outcome:
        """Tell a payout that its destination gave no invoice; `failures` names the try."""
        return await self._turn(tx, payout_id, law.Refused(), reason, now, failures)

    async def redirect_payout(
        self, tx: Tx, payout_id: str, refund_to: str, now: datetime
    ) -> Outcome:
        """Tell a payout that it has another destination."""
        note = "Another destination was named."
        return await self._turn(tx, payout_id, law.Redirected(refund_to), note, now)

    async def _turn(
        self,
        tx: Tx,
        payout_id: str,
        event: law.Event,
        note: str,
        now: datetime,
        failures: int | None = None,
    ) -> Outcome:
        found = await self._lock_payout(tx, payout_id)
        if found is None:
            return Missing()
        row, payout = found
        if failures is not None and payout.failures != failures:
            return Replayed()  # that try was told of before
        try:
            decision = law.decide(payouts.facts_of(payout), event)
        except IllegalTransition:
            return Replayed()
        await payouts.move(tx, payout, decision.facts, note, now)
        await self._perform(tx, owner_of(row), decision, now, anew=True)
        await self._touch(tx, row, f"refund_{event.kind.value}", now)
        return Applied()

    async def _end_attempt(
        self, tx: Tx, payout_id: str, number: int, event: law.Event, note: str, now: datetime
    ) -> PayoutAttempt | None:
        found = await self._lock_payout(tx, payout_id)
        attempt = await payouts.attempt(tx, payout_id, number)
        if found is None or attempt is None or attempt.outcome != "live":
            return None
        row, payout = found
        decision = law.decide(payouts.facts_of(payout), event)
        attempt.check_at = None
        await payouts.move(tx, payout, decision.facts, note, now)
        await self._perform(tx, owner_of(row), decision, now, anew=True)
        await self._touch(tx, row, f"refund_{event.kind.value}", now)
        return attempt
