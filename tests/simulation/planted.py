"""Bugs planted on purpose, to see that the auditor finds them. Nothing else may use these."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import text

from app.advance import Shell
from app.advance.writing import Owner
from app.promises import Keeper
from db.engine import Tx, execute
from payments import rail
from statemachine import job as law
from statemachine.job import JobFacts
from tests.simulation.process import Make


class ForgetfulShell(Shell):
    """Completes jobs, and forgets the entry of their charge."""

    async def _perform(
        self, tx: Tx, owner: Owner, decision: Any, now: datetime, anew: bool = False
    ) -> None:
        if isinstance(decision.facts, JobFacts) and decision.facts.charge is not None:
            decision = replace(decision, entries=())
        await super()._perform(tx, owner, decision, now, anew)


class HastyKeeper(Keeper):
    """Takes a rail that does not answer for one that says no, and has the refund sent again."""

    async def _conclude(
        self, payout_id: str, number: int, outcome: rail.Outcome, believe_failed: bool
    ) -> None:
        if isinstance(outcome, rail.Unknown):
            outcome, believe_failed = rail.Failed("no answer"), True
        await super()._conclude(payout_id, number, outcome, believe_failed)


_COMPLETE = text("UPDATE job SET state = 'complete', result = :said WHERE id = :id")


class HandyKeeper(Keeper):
    """Writes down by itself that the work is done, and does not trouble the shell with it."""

    async def _tell(self, job_id: str, event: law.Event) -> None:
        if not isinstance(event, law.Finished):
            await super()._tell(job_id, event)
            return
        values = {"id": job_id, "said": event.text}
        await self._parts.db.run("finished", lambda tx: execute(tx, _COMPLETE, values))


PLANTED = {
    "a charge without its entry": Make(shell=ForgetfulShell),
    "a refund retried on Unknown": Make(keeper=HastyKeeper),
    "a state written outside advance": Make(keeper=HandyKeeper),
}
