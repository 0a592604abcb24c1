"""What a receipt tells of a job, in one SELECT and so in one snapshot."""

from datetime import datetime
from typing import Any, NamedTuple

from db.engine import Database
from statemachine.entries import Asset
from statemachine.job import Funding, JobState
from statemachine.owner import Purpose, Reason
from statemachine.payout import PayoutState


class Payment(NamedTuple):
    """A settled payment of a job; `settled_at` as Postgres writes it in JSON."""

    purpose: Purpose
    payment_hash: str
    amount_msat: int
    received_msat: int
    settled_at: str


class Refund(NamedTuple):
    """A payout of a job; `paid_at` as Postgres writes it in JSON."""

    reason: Reason
    state: PayoutState
    amount: int
    asset: Asset
    paid_at: str | None
    payment_hash: str | None


class Facts(NamedTuple):
    """What a receipt tells of a job."""

    id: str
    state: JobState
    funding: Funding
    eval_microusdc: int | None
    paid_by: str | None
    request: str
    result: str | None
    truncated: bool
    reason: str | None
    error: str | None
    eval_msat: int
    max_msat: int | None
    quote: dict[str, Any] | None
    charge: dict[str, int] | None
    created_at: datetime
    completed_at: datetime | None
    payments: list[Payment]
    refunds: list[Refund]


# The payments and the refunds of the owner that stands in a column of theirs.
PAID_AND_BACK = """
  LEFT JOIN LATERAL (
       SELECT json_agg(json_build_object('purpose', purpose, 'payment_hash', payment_hash,
              'amount_msat', amount_msat, 'received_msat', received_msat,
              'settled_at', settled_at) ORDER BY settled_at, id) AS payments
         FROM invoice WHERE {column} = {owner} AND state = 'settled') i ON true
  LEFT JOIN LATERAL (
       SELECT json_agg(json_build_object('reason', o.reason, 'state', o.state,
              'amount', o.amount, 'asset', o.asset, 'paid_at', o.paid_at,
              'payment_hash', a.payment_hash)
              ORDER BY o.created_at, o.id) AS refunds
         FROM payout o LEFT JOIN payout_attempt a
           ON a.payout_id = o.id AND a.outcome IN ('live', 'settled')
        WHERE o.{column} = {owner}) p ON true
"""
_FACTS = f"""
SELECT j.id, j.state, j.funding, j.eval_microusdc, j.paid_by, j.request, j.result, j.truncated,
       j.reason, j.error, j.eval_msat, j.max_msat, j.quote, j.charge, j.created_at,
       j.completed_at, i.payments, p.refunds
  FROM job j
{PAID_AND_BACK.format(column="job_id", owner="j.id")}
 WHERE j.id = %(id)s
"""


async def facts(db: Database, job_id: str) -> Facts | None:
    """Return a job with its settled payments and its refunds; None when there is no such job."""
    return await db.row(Facts, _FACTS, id=job_id)
