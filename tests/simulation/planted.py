"""Bugs planted on purpose, to see that the auditor finds them. Nothing else may use these."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from app.advance import Outcome, Shell, Short, Spending
from app.advance.writing import Owner
from app.parts import Parts
from app.promises.keeping import Keeper
from app.promises.labour import Labour
from db.engine import Tx
from db.tables import Session
from payments import rail
from statemachine import entries
from statemachine import job as law
from statemachine.decision import Decision
from statemachine.entries import Entry, Posting
from statemachine.job import JobFacts
from statemachine.session import SessionFacts
from tests.simulation.process import Make


class ForgetfulShell(Shell):
    """Completes jobs, and forgets the entry of their charge."""

    async def _perform(
        self, tx: Tx, owner: Owner, decision: Any, now: datetime, anew: bool = False
    ) -> None:
        if isinstance(decision.facts, JobFacts) and decision.facts.charge is not None:
            decision = replace(decision, entries=())
        await super()._perform(tx, owner, decision, now, anew)


class KeepingShell(Shell):
    """Ends sessions, and keeps what was left of them."""

    async def _perform(
        self, tx: Tx, owner: Owner, decision: Any, now: datetime, anew: bool = False
    ) -> None:
        if isinstance(decision.facts, SessionFacts) and decision.owed:
            [(owed, entry)] = zip(decision.owed, decision.entries, strict=True)
            legs = (
                Posting(entries.of_session(decision.facts.id), owed.amount_msat),
                Posting(entries.REVENUE_WORK, -owed.amount_msat),
            )
            decision = replace(decision, entries=(Entry(entry.key, entry.asset, legs),), owed=())
        await super()._perform(tx, owner, decision, now, anew)


class ClingingShell(Shell):
    """Ends requests, and lets go of nothing that was set aside for them."""

    async def _releasing(
        self, tx: Tx, row: Session, amount_msat: int, back_msat: int
    ) -> Decision[SessionFacts]:
        return await super()._releasing(tx, row, 0, back_msat)


class GenerousShell(Shell):
    """Sets money aside, and looks at no credential's budget."""

    async def _reserve(
        self, tx: Tx, session_id: str, spending: Spending, amount_msat: int, now: datetime
    ) -> Outcome | Short:
        return await super()._reserve(tx, session_id, Spending(), amount_msat, now)


class HastyKeeper(Keeper):
    """Takes a rail that does not answer for one that says no, and has the refund sent again."""

    async def _conclude(
        self, payout_id: str, number: int, outcome: rail.Outcome, believe_failed: bool
    ) -> None:
        if isinstance(outcome, rail.Unknown):
            outcome, believe_failed = rail.Failed("no answer"), True
        await super()._conclude(payout_id, number, outcome, believe_failed)


_COMPLETE = "UPDATE job SET state = 'complete', result = %(said)s WHERE id = %(id)s"


class HandyLabour(Labour):
    """Writes down by itself that the work is done, and does not trouble the shell with it."""

    async def _tell(self, job_id: str, event: law.Event, cost_msat: int) -> None:
        if not isinstance(event, law.Finished):
            await super()._tell(job_id, event, cost_msat)
            return
        values = {"id": job_id, "said": event.text}
        await self._parts.db.run("finished", lambda tx: tx.execute(_COMPLETE, **values))


class HandyKeeper(Keeper):
    """Has its work done so."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._labour = HandyLabour(parts)


PLANTED = {
    "a charge without its entry": Make(shell=ForgetfulShell),
    "a request that lets go of nothing": Make(shell=ClingingShell),
    "a rest that is kept": Make(shell=KeepingShell),
    "a budget that nobody looks at": Make(shell=GenerousShell),
    "a refund retried on Unknown": Make(keeper=HastyKeeper),
    "a state written outside advance": Make(keeper=HandyKeeper),
}
