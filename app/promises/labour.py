"""Keeps the promises Judge and Work: has an agent asked, and reports what it answered as an event.

A call is counted before it is made, whatever becomes of it: so no error, foreseen or not, buys the
same answer more often than AGENT_TRIES. A model that does not take a call is waited for instead.
"""

from dataclasses import dataclass
from datetime import timedelta

import structlog

from app import advance
from app.advance import Shell
from app.agents import agent as agents
from app.ports import Clock, Prices
from app.promises.progress import Telling
from app.refusal import Refusal
from app.till import Till
from db import jobs
from db.engine import Database
from db.jobs import ToDo
from db.promises import TryAgain
from pricing.oracle import PriceUnavailable
from pricing.quote import Quote
from statemachine import job as law
from statemachine.job import JobState

log = structlog.get_logger("boltwork.labour")

PRICE_PATIENCE = timedelta(hours=1)  # how long a paid evaluation waits for a bitcoin price
LONGEST_PAUSE_S = 60.0
UNPRICED = "There was no bitcoin price to quote the work with."
UNDONE = "Something broke on our side each time the agent had answered."


@dataclass(frozen=True, slots=True)
class Tries:
    """How often a model is asked for one job, how long a busy one is waited for, and how many
    failures of one payer on a day are free.
    """

    most: int
    patience: timedelta
    free_a_day: int


class Labour:
    """What is done by agents."""

    def __init__(
        self,
        db: Database,
        shell: Shell,
        agent: agents.Agent,
        oracle: Prices,
        till: Till,
        clock: Clock,
        tries: Tries,
    ) -> None:
        self._db, self._shell, self._clock = db, shell, clock
        self._agent, self._oracle, self._till, self._tries = agent, oracle, till, tries

    async def judge(self, job_id: str, tries: int) -> None:
        """Have the request evaluated, and its work priced."""
        price = await self._oracle.price()
        if isinstance(price, PriceUnavailable):
            await self._wait_for_price(job_id, price)
            return
        row = await self._begin_call(job_id, JobState.EVALUATING)
        if row is None:
            return
        verdict = await self._agent.judge(row.request)
        model, till = self._agent.eval_model, self._till
        match verdict:
            case agents.Accepted(input_tokens, max_output_tokens, usage):
                cost_msat = till.cost_msat(model, usage, price)
                try:
                    quote = till.work(input_tokens, max_output_tokens, price)
                except Refusal as refused:  # the last day of its model has just passed
                    await self._tell(job_id, law.Broke(refused.sentence), cost_msat)
                else:
                    await self._accept(job_id, quote, cost_msat)
            case agents.Rejected(reason, usage):
                cost_msat = till.cost_msat(model, usage, price)
                await self._tell(job_id, law.Declined(agents.storable(reason)), cost_msat)
            case agents.Broke(usage=used):
                await self._broke(row, verdict, till.cost_msat(model, used, price), tries)

    async def work(self, job_id: str, tries: int) -> None:
        """Have the work done."""
        row = await self._begin_call(job_id, JobState.EXECUTING)
        if row is None:
            return
        assert row.quote is not None, "work has a price"
        quote = Quote.from_json(row.quote)
        async with Telling(self._db, job_id, quote) as progress:
            done = await self._agent.work(row.request, quote.max_output_tokens, progress)
        cost_msat = self._till.cost_msat(quote.model, done.usage, quote.price)
        match done:
            case agents.Result(text, usage, cut):
                text = agents.storable(text)
                await self._tell(job_id, law.Finished(text, usage, cut), cost_msat)
            case agents.Rejected(reason):
                await self._tell(job_id, law.Declined(agents.storable(reason)), cost_msat)
            case agents.Broke():
                await self._broke(row, done, cost_msat, tries)

    async def _wait_for_price(self, job_id: str, price: PriceUnavailable) -> None:
        """Come back later to what is paid for, which nobody can price now; not for ever."""
        row = await jobs.get(self._db, job_id)
        if row is None or row.state is not JobState.EVALUATING:
            return
        if self._clock() - row.updated_at < PRICE_PATIENCE:
            raise TryAgain(price.reason, price.retry_after_s)
        await self._tell(job_id, law.Broke(UNPRICED), 0)

    async def _begin_call(self, job_id: str, state: JobState) -> ToDo | None:
        """Count a call to a model that is about to be made, and return what for.

        None when there is nothing to do for it any more, or there were enough.
        """
        row = await self._db.run(
            "begin_call", lambda tx: jobs.begin_call(tx, job_id, state), alone=True
        )
        if row is not None and row.calls > self._tries.most:
            await self._tell(job_id, law.Broke(UNDONE), 0)
            return None
        return row

    async def _broke(self, row: ToDo, broke: agents.Broke, cost_msat: int, tries: int) -> None:
        """Try again where that may help; else tell the job."""
        job_id = row.id
        if broke.mend:
            log.error("agent_needs_an_operator", mend=broke.mend)
        waited = self._clock() - row.updated_at
        if broke.busy:
            again = waited < self._tries.patience
        else:
            again = broke.retryable and row.calls < self._tries.most
        if not again:
            await self._tell(job_id, law.Broke(broke.reason), cost_msat)
            return
        was_taken = not broke.busy
        await self._db.run(
            "end_call",
            lambda tx: jobs.end_call(tx, job_id, was_taken=was_taken, cost_msat=cost_msat),
            alone=True,
        )
        pause_s = min(LONGEST_PAUSE_S, float(2 ** min(tries, 10)))
        raise TryAgain(broke.reason, max(broke.retry_after_s, pause_s))

    async def _accept(self, job_id: str, quote: Quote, cost_msat: int) -> None:
        await self._shell.do(advance.jobs.accept, job_id, quote, cost_msat)

    async def _tell(self, job_id: str, event: law.Event, cost_msat: int) -> None:
        free = self._tries.free_a_day
        await self._shell.do(advance.jobs.answer, job_id, event, cost_msat, free)
