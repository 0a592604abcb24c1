"""Payouts: money that leaves us, in flight before the rail is called, and never sent twice."""

from dataclasses import replace
from datetime import datetime, timedelta

from app.advance.outcome import Applied, Dear, Missing, Outcome, Replayed
from app.advance.writing import Writing, owner_of
from db import payouts, routing
from db.engine import Tx
from db.routing import Ask
from db.tables import Payout, PayoutAttempt
from payments import rail
from payments.bolt11 import Invoice as Bolt11
from pricing.money import margin_in
from statemachine import payout as law
from statemachine.machine import IllegalTransition
from statemachine.routing import PASSING, Means, Share, share


class Payouts(Writing):
    """What can be told to a payout."""

    async def share_of(self, ask: Ask, payout: Payout, limit_msat: int, now: datetime) -> Share:
        """Return who would bear the routing of a payout now, where that may cost so much."""
        if payout.reason not in PASSING:
            return share(payout.reason, payout.amount_msat, limit_msat, None)
        account = await routing.account_of(ask, payout.job_id, payout.session_id, now.date())
        earned_msat = margin_in(account.charged_msat, self._terms.margin_pct)
        given_msat = max(0, account.borne_msat - earned_msat)
        free_msat = min(
            self._terms.routing_free_msat - given_msat,
            self._terms.routing_free_msat_a_day - account.given_msat,
        )
        means = Means(max(0, earned_msat - account.borne_msat), max(0, free_msat))
        return share(payout.reason, payout.amount_msat, limit_msat, means)

    async def send_payout(
        self, tx: Tx, payout_id: str, to: Bolt11, fee_limit_msat: int, now: datetime
    ) -> Outcome | Dear:
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
        sent_msat, day = int(to.amount_msat or 0), now.date()
        bears = await self.share_of(tx.one, payout, fee_limit_msat, now)
        if sent_msat > bears.sendable_msat:
            return Dear(bears.sendable_msat)
        bears = bears.of(sent_msat)
        most_msat = self._terms.routing_free_msat_a_day
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
        attempt = await self._end_attempt(tx, payout_id, number, settled, "Paid.", now)
        if attempt is None:
            return Replayed()
        attempt.outcome, attempt.preimage = "settled", settled.preimage
        attempt.fee_msat = settled.fee_msat
        await payouts.write_attempt(tx, attempt)
        borne_msat = min(attempt.borne_msat, settled.fee_msat)
        await self._give_back(tx, attempt, attempt.borne_msat - borne_msat)
        return Applied()

    async def return_payout(
        self, tx: Tx, payout_id: str, number: int, reason: str, now: datetime
    ) -> Outcome:
        """Tell a payout that an attempt, for good, did not happen: it is owed again."""
        attempt = await self._end_attempt(tx, payout_id, number, None, reason, now)
        if attempt is None:
            return Replayed()
        attempt.outcome = "returned"
        await payouts.write_attempt(tx, attempt)
        await self._give_back(tx, attempt, attempt.borne_msat)
        return Applied()

    async def _give_back(self, tx: Tx, attempt: PayoutAttempt, unused_msat: int) -> None:
        """Have a day's free money back that routing did not need: it is what is used last."""
        back_msat = min(attempt.free_msat, unused_msat)
        if attempt.free_day is not None and back_msat:
            await routing.take_back(tx, attempt.free_day, back_msat)

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
        self,
        tx: Tx,
        payout_id: str,
        number: int,
        settled: rail.Settled | None,
        note: str,
        now: datetime,
    ) -> PayoutAttempt | None:
        found = await self._lock_payout(tx, payout_id)
        attempt = await payouts.attempt(tx, payout_id, number)
        if found is None or attempt is None or attempt.outcome != "live":
            return None
        row, payout = found
        event: law.Event = law.Returned()
        if settled is not None:
            withheld_msat = payout.amount_msat - attempt.sent_msat
            event = law.Settled(settled.fee_msat, withheld_msat, attempt.borne_msat)
        decision = law.decide(payouts.facts_of(payout), event)
        attempt.check_at = None
        await payouts.move(tx, payout, decision.facts, note, now)
        owner = replace(owner_of(row), refund_to=payout.refund_to)  # its change goes there too
        await self._perform(tx, owner, decision, now, anew=True)
        await self._touch(tx, row, f"refund_{event.kind.value}", now)
        return attempt
