"""Holds: money set aside, from a session's balance or by the house, for a call that streams."""

from datetime import datetime, timedelta

from app.advance.outcome import Applied, Missing, Outcome, Purse, Replayed, Short, Spending
from app.advance.sessions import Sessions
from db import holds, ledger, sessions
from db.engine import Tx
from statemachine import hold as law
from statemachine.machine import IllegalTransition


class Holds(Sessions):
    """What can be told to a hold."""

    async def hold(
        self,
        tx: Tx,
        hold_id: str,
        purpose: str,
        amount_msat: int,
        session_id: str,
        spending: Spending,
        now: datetime,
    ) -> Outcome | Short:
        """Set money of a session aside; Replayed when the session is not active."""
        told = await self._reserve(tx, session_id, spending, amount_msat, now)
        if not isinstance(told, Applied):
            return told
        decision = law.begin(hold_id, amount_msat, session_id)
        budgets = [link for link, _ in spending.budgets] or None
        await holds.insert(tx, decision.facts, purpose, budgets, None, now, self._hold_until(now))
        await ledger.post(tx, decision.entries, now)
        return told

    async def hold_free(
        self, tx: Tx, hold_id: str, purpose: str, amount_msat: int, now: datetime
    ) -> Outcome | Short:
        """Set money of the house aside, within what it gives away on one day."""
        cap_msat = self._terms.free_msat_a_day
        used_msat = await holds.give(tx, now.date(), amount_msat, cap_msat)
        if used_msat is not None:
            return Short(Purse.HOUSE, amount_msat, max(0, cap_msat - used_msat))
        decision = law.begin(hold_id, amount_msat, None)
        until = self._hold_until(now)
        await holds.insert(tx, decision.facts, purpose, None, now.date(), now, until)
        await ledger.post(tx, decision.entries, now)
        return Applied()

    async def end_hold(self, tx: Tx, hold_id: str, event: law.Event, now: datetime) -> Outcome:
        """Tell a hold that its call is over, or that nobody is left to say."""
        session = await sessions.lock_payer(tx, hold_id)
        row = await holds.lock(tx, hold_id)
        if row is None:
            return Missing()
        try:
            decision = law.decide(holds.facts_of(row), event)
        except IllegalTransition:
            return Replayed()
        back_msat = row.amount_msat - decision.facts.charge_msat
        if session is None:
            await holds.move(tx, row, decision.facts, now)
            # The day before the accounts, as in `hold_free`: else two of these wait for each other.
            if row.day is not None and back_msat:
                await holds.take_back(tx, row.day, back_msat)
            await ledger.post(tx, decision.entries, now)
            return Applied()
        releasing = await self._releasing(tx, session, row.amount_msat, back_msat)
        await holds.move(tx, row, decision.facts, now)
        await ledger.post(tx, decision.entries, now)
        await self._released(tx, session, releasing, row.budgets, back_msat, now)
        return Applied()

    def _hold_until(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._terms.hold_s)
