"""Jobs: from being asked for to the last msat, and what their end means to who pays for them."""

from datetime import datetime

from app.advance.outcome import Applied, Missing, Outcome, Replayed, Short, Spending
from app.advance.sessions import Sessions
from app.advance.writing import owner_of
from db import jobs, sessions
from db.engine import Tx
from db.tables import Job
from pricing.quote import Quote
from statemachine import job as law
from statemachine.decision import Decision
from statemachine.machine import IllegalTransition


class Jobs(Sessions):
    """What can be told to a job."""

    async def begin(
        self,
        tx: Tx,
        job_id: str,
        request: str,
        eval_msat: int,
        max_msat: int | None,
        refund_to: str | None,
        now: datetime,
        payer: str | None = None,
    ) -> None:
        """Create a job that wants its evaluation invoice."""
        decision = law.begin(job_id, eval_msat, max_msat)
        row = await jobs.insert(tx, decision.facts, request, refund_to, "created", now, payer=payer)
        await self._perform(tx, owner_of(row), decision, now)

    async def begin_asked(
        self,
        tx: Tx,
        job_id: str,
        request: str,
        eval_msat: int,
        quote: Quote,
        refund_to: str | None,
        now: datetime,
        payer: str | None = None,
    ) -> None:
        """Create a job at a firm price, that wants its one invoice."""
        decision = law.begin_asked(job_id, eval_msat, quote)
        row = await jobs.insert(tx, decision.facts, request, refund_to, "created", now, payer=payer)
        await self._perform(tx, owner_of(row), decision, now)

    async def begin_reserved(
        self,
        tx: Tx,
        job_id: str,
        request: str,
        session_id: str,
        spending: Spending,
        eval_msat: int,
        quote: Quote,
        now: datetime,
    ) -> Outcome | Short:
        """Create a job that a session pays for; Replayed when the session is not active."""
        decision = law.begin_reserved(job_id, session_id, eval_msat, quote)
        told = await self._reserve(tx, session_id, spending, decision.facts.prepaid_msat, now)
        if not isinstance(told, Applied):
            return told
        row = await jobs.insert(
            tx,
            decision.facts,
            request,
            None,
            "created",
            now,
            credential=spending.links,
            budgets=[link for link, _ in spending.budgets],
            payer=f"session:{session_id}",
        )
        await self._perform(tx, owner_of(row), decision, now)
        return told

    async def advance(self, tx: Tx, job_id: str, event: law.Event, now: datetime) -> Outcome:
        """Tell a job what happened."""
        job = await jobs.lock(tx, job_id)
        if job is None:
            return Missing()
        return await self._step(tx, job, event, now)

    async def _step(self, tx: Tx, job: Job, event: law.Event, now: datetime) -> Outcome:
        try:
            decision = law.decide(jobs.facts_of(job), event)
        except IllegalTransition:
            return Replayed()
        if job.session_id is not None and law.JOB.final(decision.facts.state):
            await self._end(tx, job, decision, event, now)
            return Applied()
        await jobs.move(tx, job, decision.facts, event.kind.value, now)
        recovered = isinstance(event, law.Recovered)
        await self._perform(tx, owner_of(job), decision, now, anew=recovered)
        return Applied()

    async def _end(
        self,
        tx: Tx,
        job: Job,
        decision: Decision[law.JobFacts],
        event: law.Event,
        now: datetime,
    ) -> None:
        """End a job that a session pays for: what it did not need is on the balance again."""
        session = await sessions.lock(tx, job.session_id or "")
        assert session is not None, "a job outlives its session's row"
        back_msat = law.given_back_msat(decision.facts)
        releasing = await self._releasing(tx, session, decision.facts.prepaid_msat, back_msat)
        job.balance_msat = releasing.facts.balance_msat
        await jobs.move(tx, job, decision.facts, event.kind.value, now)
        await self._perform(tx, owner_of(job), decision, now)
        await self._released(tx, session, releasing, job.budgets, back_msat, now)
