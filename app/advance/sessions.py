"""Sessions: prepaid balances that pay for requests. A request's ceiling is set aside first."""

from datetime import datetime, timedelta

from app.advance.outcome import Applied, Missing, Outcome, Purse, Replayed, Short, Spending
from app.advance.writing import Writing, owner_of
from db import sessions
from db.engine import Tx
from db.tables import Session
from statemachine import session as law
from statemachine.decision import Decision
from statemachine.machine import IllegalTransition


class Sessions(Writing):
    """What can be told to a session."""

    async def begin_session(
        self,
        tx: Tx,
        session_id: str,
        deposit_msat: int,
        refund_to: str | None,
        nonce: str,
        claim_sha256: str,
        now: datetime,
    ) -> None:
        """Create a session that wants its deposit's invoice."""
        decision = law.begin(session_id, deposit_msat, self._terms.session_minimum_msat)
        until = self._until(now)
        row = await sessions.insert(tx, decision.facts, refund_to, nonce, claim_sha256, until, now)
        await self._perform(tx, owner_of(row), decision, now)

    async def ask_topup(
        self, tx: Tx, session_id: str, amount_msat: int, now: datetime
    ) -> str | Outcome:
        """Have a session want a top-up's invoice, and return its name.

        Replayed when it is not open for one, or one is pending.
        """
        row = await sessions.lock(tx, session_id)
        if row is None:
            return Missing()
        facts = await sessions.facts_of(tx, row)
        if not law.SESSION.allows(facts.state, law.SessionEvent.TOPPED_UP):
            return Replayed()
        if await sessions.pending_topup(tx, session_id) is not None:
            return Replayed()
        decision = law.ask_topup(facts, amount_msat)
        await sessions.move(tx, row, decision.facts, row.expires_at, now)
        await self._perform(tx, owner_of(row), decision, now)
        return decision.wanted[0].id

    async def tell_session(
        self, tx: Tx, session_id: str, event: law.Event, now: datetime
    ) -> Outcome:
        """Tell a session what happened."""
        row = await sessions.lock(tx, session_id)
        return Missing() if row is None else await self._step_session(tx, row, event, now)

    async def idle_session(self, tx: Tx, session_id: str, now: datetime) -> Outcome:
        """Tell a session that nobody has used it for too long, if that is so."""
        row = await sessions.lock(tx, session_id)
        if row is None or row.expires_at > now or row.reserved_msat:
            return Replayed()  # somebody has, at the last moment
        return await self._step_session(tx, row, law.Idled(), now)

    async def _step_session(self, tx: Tx, row: Session, event: law.Event, now: datetime) -> Outcome:
        try:
            decision = law.decide(await sessions.facts_of(tx, row), event)
        except IllegalTransition:
            return Replayed()
        expires_at = row.expires_at
        if isinstance(event, law.Deposited | law.ToppedUp):
            expires_at = now + timedelta(seconds=self._terms.session_idle_s)
        await sessions.move(tx, row, decision.facts, expires_at, now)
        await self._perform(tx, owner_of(row), decision, now)
        return Applied()

    async def _reserve(
        self, tx: Tx, session_id: str, spending: Spending, amount_msat: int, now: datetime
    ) -> Outcome | Short:
        """Set a request's ceiling aside. The entry that moves the money is the request's own."""
        row = await sessions.lock(tx, session_id)
        if row is None:
            return Missing()
        facts = await sessions.facts_of(tx, row)
        try:
            decision = law.decide(facts, law.Reserved(amount_msat))
        except IllegalTransition:
            return Replayed()
        except law.Short:
            return Short(Purse.BALANCE, amount_msat, facts.balance_msat)
        # Budgets are read and written under the lock of their session.
        left_msat = await sessions.least_left(tx, spending.budgets)
        if left_msat is not None and left_msat < amount_msat:
            return Short(Purse.BUDGET, amount_msat, left_msat)
        await sessions.spend(tx, session_id, spending.budgets, amount_msat)
        expires_at = now + timedelta(seconds=self._terms.session_idle_s)
        await sessions.move(tx, row, decision.facts, expires_at, now)
        return Applied()

    async def _releasing(
        self, tx: Tx, row: Session, amount_msat: int, back_msat: int
    ) -> Decision[law.SessionFacts]:
        """Return what the end of a request means to its session, before anything is posted."""
        facts = await sessions.facts_of(tx, row)
        return law.decide(facts, law.Released(amount_msat, back_msat))

    async def _released(
        self,
        tx: Tx,
        row: Session,
        decision: Decision[law.SessionFacts],
        budgets: list[str] | None,
        back_msat: int,
        now: datetime,
    ) -> None:
        """Write that down, after the entry that gave `back_msat` back.

        When the session is over, what came back goes on to its holder.
        """
        if budgets and back_msat:
            await sessions.unspend(tx, budgets, back_msat)
        await sessions.move(tx, row, decision.facts, row.expires_at, now)
        await self._perform(tx, owner_of(row), decision, now)
