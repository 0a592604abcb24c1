"""Jobs: insert, lock, move, and the one SELECT that answers a poll."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from db.engine import Database, Tx
from db.lookups import Lookup
from db.payouts import PayoutView
from db.rows import columns
from pricing.money import MicroUsd, Msat
from pricing.quote import Charge, Quote
from pricing.rates import Usage
from statemachine.job import JOB, Funding, JobFacts, JobState
from statemachine.owner import Purpose

CHANNEL = "boltwork_job"  # NOTIFY carries the id of a job that changed

_INSERT = """
WITH made AS (
  INSERT INTO job (id, state, version, request, eval_msat, max_msat, refund_to, quote, funding,
                   session_id, eval_microusdc, paid_by, account_id, credential, budgets, payer,
                   created_at, updated_at)
  VALUES (%(id)s, %(state)s, 1, %(request)s, %(eval_msat)s, %(max_msat)s, %(refund_to)s,
          %(quote)s, %(funding)s, %(session_id)s, %(eval_microusdc)s, %(paid_by)s, %(account_id)s,
          %(credential)s, %(budgets)s, %(payer)s, %(now)s, %(now)s)
  RETURNING id, version, state, created_at)
INSERT INTO job_history (job_id, version, event, state, at)
SELECT id, version, %(event)s, state, created_at FROM made
"""


async def insert(
    tx: Tx,
    facts: JobFacts,
    request: str,
    refund_to: str | None,
    event: str,
    now: datetime,
    *,
    credential: Sequence[str] | None = None,
    budgets: Sequence[str] | None = None,
    payer: str | None = None,
) -> None:
    """Write a new job and the first line of its history.

    `credential` are the links of what asked for it, `budgets` those of them that it spends;
    `payer` is who is known to ask, if anybody.
    """
    await tx.execute(
        _INSERT,
        id=facts.id,
        state=facts.state,
        request=request,
        eval_msat=facts.eval_msat,
        max_msat=facts.max_msat,
        refund_to=refund_to,
        quote=facts.quote.to_json() if facts.quote else None,
        funding=facts.funding,
        session_id=facts.session_id,
        eval_microusdc=facts.eval_microusdc or None,
        paid_by=facts.paid_by,
        account_id=facts.account_id,
        credential=None if credential is None else list(credential),
        budgets=list(budgets) if budgets else None,
        payer=payer,
        event=event,
        now=now,
    )


class JobRow(NamedTuple):
    """A job whose row is locked until the transaction ends."""

    id: str
    state: JobState
    eval_msat: int
    max_msat: int | None
    refund_to: str | None
    quote: dict[str, Any] | None
    charge: dict[str, Any] | None
    reason: str | None
    result: str | None
    truncated: bool
    error: str | None
    funding: Funding
    session_id: str | None
    eval_microusdc: int | None
    paid_by: str | None
    account_id: str | None
    budgets: list[str] | None
    payer: str | None
    spent_msat: int


_LOCK = f"SELECT {columns(JobRow)} FROM job WHERE id = %(id)s FOR UPDATE"


async def lock(tx: Tx, job_id: str) -> JobRow | None:
    """Return the job's row, locked; None when there is none."""
    return await tx.row(JobRow, _LOCK, id=job_id)


class ToDo(NamedTuple):
    """What the keepers of promises need of a job."""

    id: str
    state: JobState
    request: str
    quote: dict[str, Any] | None
    calls: int  # to a model, in this state
    updated_at: datetime


async def get(db: Database, job_id: str) -> ToDo | None:
    """Return what the keepers of promises need of a job, as it is now."""
    return await db.row(ToDo, f"SELECT {columns(ToDo)} FROM job WHERE id = %(id)s", id=job_id)


_BEGIN_CALL = f"""
UPDATE job SET calls = calls + 1 WHERE id = %(id)s AND state = %(state)s RETURNING {columns(ToDo)}
"""


async def begin_call(tx: Tx, job_id: str, state: JobState) -> ToDo | None:
    """Count a call to a model before it is made, and return what it is made for.

    None when the job is not in that state any more.
    """
    return await tx.row(ToDo, _BEGIN_CALL, id=job_id, state=state)


async def end_call(tx: Tx, job_id: str, *, was_taken: bool, cost_msat: int) -> None:
    """Write down what a call has cost, or that it was none: its model did not take it.

    A job that has ended meanwhile does not change any more.
    """
    await tx.execute(
        "UPDATE job SET spent_msat = spent_msat + %(cost)s, calls = greatest(0, calls - %(back)s)"
        " WHERE id = %(id)s AND state NOT IN ('complete', 'rejected', 'failed')",
        id=job_id,
        cost=cost_msat,
        back=0 if was_taken else 1,
    )


# One statement writes a change, its line of history, and tells whoever waits for one.
_TOUCHED = """, line AS (
  INSERT INTO job_history (job_id, version, event, state, at)
  SELECT id, version, %(event)s, state, updated_at FROM changed)
SELECT pg_notify(%(channel)s, %(id)s)
"""
_MOVE = (
    """
WITH changed AS (
  UPDATE job SET calls = CASE WHEN state = %(state)s THEN calls ELSE 0 END,
         state = %(state)s, version = version + 1, quote = %(quote)s,
         charge = %(charge)s, reason = %(reason)s, result = %(result)s, error = %(error)s,
         truncated = %(truncated)s, balance_msat = %(balance_msat)s, updated_at = %(now)s,
         completed_at = %(completed_at)s
   WHERE id = %(id)s RETURNING id, version, state, updated_at)"""
    + _TOUCHED
)
_TOUCH = (
    """
WITH changed AS (
  UPDATE job SET version = version + 1, updated_at = %(now)s
   WHERE id = %(id)s RETURNING id, version, state, updated_at)"""
    + _TOUCHED
)


async def move(
    tx: Tx, after: JobFacts, event: str, now: datetime, balance_msat: int | None = None
) -> None:
    """Write the facts after an event, the line of history, and tell whoever waits.

    `balance_msat`: what its session has left at its end, where one pays for it.
    """
    await tx.execute(
        _MOVE,
        id=after.id,
        state=after.state,
        quote=after.quote.to_json() if after.quote else None,
        charge=charge_to_json(after.charge) if after.charge else None,
        reason=after.reason,
        result=after.result,
        error=after.error,
        truncated=after.truncated,
        balance_msat=balance_msat,
        completed_at=now if JOB.final(after.state) else None,
        now=now,
        event=event,
        channel=CHANNEL,
    )


async def touch(tx: Tx, job_id: str, event: str, now: datetime) -> None:
    """Count a visible change that leaves the state as it is: an invoice opened, a refund paid."""
    await tx.execute(_TOUCH, id=job_id, event=event, now=now, channel=CHANNEL)


def facts_of(job: JobRow) -> JobFacts:
    """Return the law's view of a row."""
    return JobFacts(
        id=job.id,
        state=job.state,
        eval_msat=job.eval_msat,
        max_msat=job.max_msat,
        quote=Quote.from_json(job.quote) if job.quote else None,
        charge=charge_from_json(job.charge) if job.charge else None,
        reason=job.reason,
        result=job.result,
        truncated=job.truncated,
        error=job.error,
        funding=job.funding,
        session_id=job.session_id,
        spent_msat=job.spent_msat,
        eval_microusdc=job.eval_microusdc or 0,
        account_id=job.account_id,
        paid_by=job.paid_by,
    )


def charge_to_json(charge: Charge) -> dict[str, int]:
    """Return plain integers; `charge_from_json` reads them back."""
    return {
        "input_tokens": charge.usage.input_tokens,
        "output_tokens": charge.usage.output_tokens,
        "cost_microusd": charge.cost_microusd,
        "charge_microusd": charge.charge_microusd,
        "total_msat": charge.total_msat,
        "surplus_msat": charge.surplus_msat,
    }


def charge_from_json(stored: dict[str, Any]) -> Charge:
    """Return the charge that `charge_to_json` wrote."""
    return Charge(
        Usage(stored["input_tokens"], stored["output_tokens"]),
        MicroUsd(stored["cost_microusd"]),
        MicroUsd(stored["charge_microusd"]),
        Msat(stored["total_msat"]),
        Msat(stored["surplus_msat"]),
    )


class ToPay(NamedTuple):
    """An invoice of a job that can be paid now."""

    purpose: Purpose
    bolt11: str
    payment_hash: str
    amount_msat: int
    expires_at: datetime


class JobView(NamedTuple):
    """All that a buyer may see of a job, with the invoice that it waits for where that is open."""

    id: str
    state: JobState
    version: int
    funding: Funding
    session_id: str | None
    eval_microusdc: int | None
    paid_by: str | None
    account_id: str | None
    credential: list[str] | None
    balance_msat: int | None
    eval_msat: int
    quote: dict[str, Any] | None
    charge: dict[str, Any] | None
    reason: str | None
    result: str | None
    truncated: bool
    error: str | None
    created_at: datetime
    completed_at: datetime | None
    pays_for: Purpose | None
    bolt11: str | None
    payment_hash: str | None
    invoice_msat: int | None
    expires_at: datetime | None
    payouts: list[PayoutView]

    @property
    def to_pay(self) -> ToPay | None:
        """Return the invoice that the buyer may pay now; None while there is none."""
        if not (self.pays_for and self.bolt11 and self.payment_hash):
            return None
        if not (self.invoice_msat and self.expires_at):
            return None
        return ToPay(
            self.pays_for, self.bolt11, self.payment_hash, self.invoice_msat, self.expires_at
        )

    @property
    def is_final(self) -> bool:
        """Say whether the job has come to its end."""
        return JOB.final(self.state)

    @property
    def firm_msat(self) -> int:
        """Return what was paid ahead for all of it, where its price was firm."""
        return self.eval_msat + (self.quote["total_msat"] if self.quote else 0)


_VIEW = """
SELECT j.id, j.state, j.version, j.funding, j.session_id, j.eval_microusdc, j.paid_by,
       j.account_id, j.credential, j.balance_msat, j.eval_msat, j.quote, j.charge, j.reason,
       j.result, j.truncated, j.error, j.created_at, j.completed_at,
       i.purpose AS pays_for, i.bolt11, i.payment_hash, i.amount_msat AS invoice_msat, i.expires_at,
       p.payouts
  FROM job j
  LEFT JOIN invoice i ON i.state = 'open' AND i.id = j.id || CASE j.state
       WHEN 'awaiting_eval_payment' THEN CASE j.funding WHEN 'invoice' THEN ':ask' ELSE ':eval' END
       WHEN 'awaiting_work_payment' THEN ':work' END
  LEFT JOIN LATERAL (
       SELECT json_agg(json_build_object('id', o.id, 'secret', o.secret, 'reason', o.reason,
              'state', o.state, 'amount', o.amount, 'asset', o.asset,
              'attempts', o.attempts,
              'note', o.note, 'refund_to', o.refund_to, 'failures', o.failures,
              'txid', (SELECT t.txid FROM usdc_attempt t WHERE t.payout_id = o.id
                        AND t.outcome IN ('live', 'settled') LIMIT 1))
              ORDER BY o.created_at, o.id) AS payouts
         FROM payout o WHERE o.job_id = j.id) p ON true
 WHERE j.id = %(id)s
"""


async def view(db: Database, job_id: str) -> JobView | None:
    """Return all that a buyer may see of a job, in one SELECT."""
    return await db.row(JobView, _VIEW, id=job_id)


class _Version(NamedTuple):
    version: int


_VERSIONS = Lookup(_Version, ["id"], "SELECT version FROM job WHERE job.id = asked.id")


async def version(db: Database, job_id: str) -> int | None:
    """Return how often a job has changed; None when there is no such job."""
    row = await _VERSIONS.find(db, job_id)
    return row.version if row else None


async def idle(db: Database, before: datetime, limit: int) -> list[str]:
    """Return jobs whose state owes work to the outside, untouched since `before`, oldest first."""
    rows = await db.read_all(
        "SELECT id FROM job WHERE state IN ('evaluating', 'executing')"
        " AND updated_at < %(before)s ORDER BY updated_at LIMIT %(limit)s",
        before=before,
        limit=limit,
    )
    return [row["id"] for row in rows]
