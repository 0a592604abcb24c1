"""The invariants of the books, looked for in one SELECT and so in one snapshot.

Nothing is believed because the code should have written it so: what the ledger must hold is
worked out again from the rows of jobs, invoices and payouts, leg by leg, and compared.
"""

from dataclasses import dataclass

from db import (
    audit_batches,
    audit_deposits,
    audit_payouts,
    audit_prepaid,
    audit_trust,
    audit_workers,
)
from db.engine import Database
from statemachine.batch import BATCH, BatchState
from statemachine.entries import (
    EXPENSE_CANARIES,
    EXPENSE_FAILED,
    EXPENSE_FREE,
    EXPENSE_MAKERS,
    EXPENSE_ROUTING,
    RAIL,
    RAIL_USDC,
    REVENUE_EVAL,
    REVENUE_FORFEITS,
    REVENUE_FREE,
    REVENUE_MEDIA,
    REVENUE_WORK,
    UNCLAIMED,
)
from statemachine.job import JOB, JobState
from statemachine.payout import MOST_FAILURES
from statemachine.promises import CreateInvoice, FetchInvoice, Judge, PayInvoice, SendUsdc, Work
from statemachine.public_id import concealed

MOST = 1000  # findings told at once: with more of them, the count matters and not the names


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: which invariant, what about it, and which account or row."""

    invariant: int
    what: str
    who: str

    @property
    def line(self) -> str:
        """The finding as a line of text, which opens nothing."""
        return concealed(f"invariant {self.invariant}: {self.who}: {self.what}")


# Every account is a `line` of its asset. `due_leg` is what the ledger must hold, from the rows
# alone: (entry's key, account, amount, asset) of every leg; `msat_leg` are those of what knows of
# no other asset.
_SHARED = (
    """
WITH line AS (
  SELECT name, asset, kind, balance,
         CASE WHEN kind IN ('asset', 'expense') THEN 1 ELSE -1 END AS sign
    FROM kept_balance),
recomputed AS (
  SELECT p.account AS name, e.asset, sum(p.amount)::bigint AS total
    FROM posting p JOIN entry e ON e.id = p.entry_id GROUP BY 1, 2),
deal AS (
  SELECT id, state, eval_msat AS eval_amount, max_msat, completed_at, version,
         (quote->>'total_msat')::bigint AS quote_amount,
         (charge->>'total_msat')::bigint AS charge_amount,
         (charge->>'surplus_msat')::bigint AS surplus_amount,
         funding, session_id, 'msat' AS asset, NULL AS account_id, updated_at
    FROM job WHERE funding <> 'x402'
  UNION ALL SELECT id, state, eval_microusdc, max_msat, completed_at, version, quoted,
         charged, quoted - charged, funding, session_id, 'microusdc', account_id,
         updated_at
    FROM job CROSS JOIN LATERAL (SELECT (quote->>'charge_microusd')::bigint AS quoted) asked
             CROSS JOIN LATERAL (SELECT CASE WHEN charge IS NOT NULL
               THEN least((charge->>'charge_microusd')::bigint, quoted) END AS charged) spent
   WHERE funding = 'x402'),
"""
    + audit_prepaid.ROWS
    + """
tries AS (
  SELECT payout_id, count(*) AS sent, count(*) FILTER (WHERE outcome = 'live') AS live,
         count(*) FILTER (WHERE outcome = 'settled') AS settled
    FROM (SELECT payout_id, outcome FROM payout_attempt
           UNION ALL SELECT payout_id, outcome FROM usdc_attempt) attempt GROUP BY 1),
msat_leg AS (
  SELECT 'invoice:' || payment_hash || ':settled' AS key, %(rail)s AS account,
         received_msat AS amount
    FROM invoice WHERE state = 'settled'
  UNION ALL SELECT 'invoice:' || i.payment_hash || ':settled',
         coalesce('job:' || i.job_id, 'session:' || i.session_id, 'batch:' || i.batch_id,
                  'user:' || i.account_id),
         -i.amount_msat
    FROM invoice i LEFT JOIN payout late ON late.id = i.id || ':unawaited'
   WHERE i.state = 'settled' AND late.id IS NULL
  UNION ALL SELECT 'invoice:' || i.payment_hash || ':settled', 'refund:' || p.id, -p.amount
    FROM payout p JOIN invoice i ON i.id = left(p.id, -1 - length(p.reason))
   WHERE p.reason IN ('overpaid', 'unawaited')
  UNION ALL SELECT 'job:' || id || ':eval_earned', leg.account, leg.amount
    FROM deal, LATERAL (VALUES ('job:' || id, eval_amount), (%(eval)s, -eval_amount))
         AS leg(account, amount)
   WHERE funding = 'invoices' AND (state = 'rejected' OR quote_amount IS NOT NULL)
  UNION ALL SELECT 'job:' || id || ':charged', leg.account, leg.amount
    FROM deal, LATERAL (VALUES ('job:' || id, charge_amount + surplus_amount),
         (%(work)s, -charge_amount), ('refund:' || id || ':surplus', -surplus_amount))
         AS leg(account, amount)
   WHERE funding = 'invoices' AND state = 'complete'
  UNION ALL SELECT 'job:' || id || ':failed', leg.account, leg.amount
    FROM job, LATERAL (VALUES (%(failed)s, spent_msat), (%(given)s, -spent_msat))
         AS leg(account, amount)
   WHERE state = 'failed' AND spent_msat > 0
"""
    + audit_prepaid.LEGS
    + audit_payouts.MSAT_LEGS
    + """),
due_leg AS (
  SELECT key, account, amount, 'msat' AS asset FROM msat_leg
"""
    + audit_payouts.LEGS
    + audit_prepaid.LEGS_OF_ANY
    + audit_batches.LEGS
    + audit_deposits.LEGS
    + audit_workers.LEGS
    + audit_trust.LEGS
    + """),
wrong_leg AS (
  SELECT coalesce(due.key, held.key) AS key,
         bool_or(held.key IS NOT NULL) AS is_there, bool_or(due.key IS NOT NULL) AS is_due
    FROM (SELECT * FROM due_leg WHERE amount <> 0) due
    FULL JOIN (SELECT e.key, e.asset, p.account, p.amount
                 FROM posting p JOIN entry e ON e.id = p.entry_id) held
      ON held.key = due.key AND held.account = due.account AND held.asset = due.asset
   WHERE due.amount IS DISTINCT FROM held.amount GROUP BY 1),
staged AS (  -- beside one that was taken before, another may have been made anew
  SELECT lock AS key, count(*) FILTER (WHERE status = 'todo' AND attempts = 0) AS times
    FROM procrastinate_jobs
   WHERE status IN ('todo', 'doing') AND lock IS NOT NULL GROUP BY 1),
duty AS (
  SELECT id || ':judge' AS key, %(judge)s AS kind FROM job WHERE state = 'evaluating'
  UNION ALL SELECT id || ':do', %(do)s FROM job WHERE state = 'executing'
  UNION ALL SELECT id, %(create)s FROM invoice WHERE state = 'wanted'
  UNION ALL SELECT id || ':fetch:' || failures, %(fetch)s FROM payout
   WHERE state = 'owed' AND asset = 'msat' AND refund_to IS NOT NULL
     AND failures < %(most_failures)s
  UNION ALL SELECT id || ':order:' || failures, %(order)s FROM payout
   WHERE state = 'owed' AND asset = 'microusdc' AND refund_to IS NOT NULL
  UNION ALL SELECT payout_id || ':order:' || number, %(order)s FROM usdc_attempt
   WHERE outcome = 'live' AND check_at IS NULL  -- nobody asks about it
  UNION ALL SELECT payout_id || ':pay:' || number, %(pay)s FROM payout_attempt
   WHERE outcome = 'live' AND check_at IS NULL)  -- else the sweep asks, and pays what was not sent
"""
)

_ENTRIES = [
    (
        1,
        """SELECT CASE WHEN count(p.account) < 2 THEN 'the entry has ' || count(p.account)
             || ' postings' ELSE 'the entry is off by ' || sum(p.amount) || ' ' || e.asset END,
             e.key
             FROM entry e LEFT JOIN posting p ON p.entry_id = e.id
            GROUP BY e.id HAVING count(p.account) < 2 OR sum(p.amount) <> 0""",
    ),
    (
        1,
        """SELECT 'a posting of ' || p.amount || ' has lost its entry', p.account
             FROM posting p LEFT JOIN entry e ON e.id = p.entry_id WHERE e.id IS NULL""",
    ),
    (
        1,
        """SELECT 'the balance kept is ' || coalesce(l.balance::text, 'missing')
             || ', and its postings add up to ' || coalesce(l.sign * r.total, r.total, 0)
             || ' ' || coalesce(l.asset, r.asset),
             coalesce(l.name, r.name)
             FROM line l FULL JOIN recomputed r ON r.name = l.name AND r.asset = l.asset
            WHERE l.balance IS DISTINCT FROM coalesce(l.sign * r.total, r.total, 0)""",
    ),
    (
        1,
        """SELECT 'the trial balance is off by ' || sum(sign * balance), 'the books in ' || asset
             FROM line GROUP BY asset HAVING sum(sign * balance) <> 0""",
    ),
    (
        2,
        """SELECT 'the liability is negative: ' || least(l.balance, l.sign * r.total) || ' '
             || l.asset, l.name
             FROM line l LEFT JOIN recomputed r ON r.name = l.name AND r.asset = l.asset
            WHERE l.kind = 'liability' AND least(l.balance, l.sign * r.total) < 0""",
    ),
    (
        5,
        """SELECT CASE WHEN NOT is_there THEN 'an entry of this key, or a leg of it, is missing'
             WHEN NOT is_due THEN 'no row explains this entry, or a leg of it'
             ELSE 'the entry says other amounts than its rows' END, key
             FROM wrong_leg WHERE NOT starts_with(key, 'job:')""",
    ),
    (
        6,
        """SELECT CASE WHEN NOT is_there THEN 'an entry of this key, or a leg of it, is missing'
             WHEN NOT is_due THEN 'no row explains this entry, or a leg of it'
             ELSE 'the entry says other amounts than its job' END, key
             FROM wrong_leg WHERE starts_with(key, 'job:')""",
    ),
]

_JOBS = [
    (
        4,
        """SELECT 'it is ' || d.state || ', and its ' || need.purpose || ' payment has not come in',
             d.id
             FROM deal d JOIN (VALUES ('evaluating', 'eval'), ('rejected', 'eval'),
               ('awaiting_work_payment', 'eval'), ('executing', 'eval'), ('complete', 'eval'),
               ('executing', 'work'), ('complete', 'work')) AS need(state, purpose)
               ON need.state = d.state AND d.funding NOT IN ('session', 'x402')
              AND (d.funding = 'invoices' OR need.purpose = 'eval')
             LEFT JOIN invoice i ON i.id = d.id || ':' || CASE d.funding WHEN 'invoice' THEN 'ask'
                  ELSE need.purpose END AND i.state = 'settled'
              AND i.received_msat >= i.amount_msat
             LEFT JOIN payout late ON late.id = i.id || ':unawaited'
            WHERE i.id IS NULL OR late.id IS NOT NULL""",
    ),
    (
        6,
        """SELECT 'it was ' || string_agg(DISTINCT state, ', ')
             || ' after it had come to its end', job_id
             FROM job_line GROUP BY job_id
            HAVING count(DISTINCT state) FILTER (WHERE state = ANY(%(final)s)) > 1
                OR max(version) FILTER (WHERE state <> ALL(%(final)s))
                   > min(version) FILTER (WHERE state = ANY(%(final)s))""",
    ),
    (
        6,
        """SELECT 'two things are told of its version ' || version, job_id
             FROM (SELECT DISTINCT job_id, version, event, state, at FROM job_line) told
            GROUP BY job_id, version HAVING count(*) > 1""",
    ),
    (
        6,
        """SELECT 'it is ' || d.state || ', and its history ends as '
             || coalesce(h.state, 'nothing at all'), d.id
             FROM deal d LEFT JOIN job_line h ON h.job_id = d.id AND h.version = d.version
            WHERE h.state IS DISTINCT FROM d.state AND (h.state IS NOT NULL
               OR d.state <> ALL(%(final)s) OR d.updated_at >= (
                  SELECT coalesce(max(until), '-infinity') FROM dropped_month))""",
    ),
    (
        6,
        """SELECT CASE WHEN completed_at IS NULL THEN 'it has come to its end at no time'
             ELSE 'it goes on after its end' END, id
             FROM deal WHERE (completed_at IS NOT NULL) <> (state = ANY(%(final)s))""",
    ),
    (
        6,
        """SELECT 'charge ' || coalesce(charge_amount::text, 'none') || ', quote '
             || coalesce(quote_amount::text, 'none') || ', maximum '
             || coalesce(max_msat::text, 'none') || ' do not go together', id
             FROM deal WHERE charge_amount > quote_amount OR quote_amount > max_msat
               OR (charge_amount IS NOT NULL) <> (state = 'complete')
               OR charge_amount + surplus_amount <> quote_amount
               OR (quote_amount IS NULL AND state IN ('awaiting_work_payment', 'executing',
                   'complete'))""",
    ),
    (
        6,
        """SELECT 'its work invoice asks for ' || w.amount_msat || ' msat, and it was quoted '
             || coalesce(d.quote_amount::text, 'nothing'), d.id
             FROM deal d JOIN invoice w ON w.id = d.id || ':work'
            WHERE w.amount_msat IS DISTINCT FROM d.quote_amount""",
    ),
    (
        6,
        """SELECT 'paid ' || paid.msat || ' msat, and earned ' || earned.msat
             || ', owed or sent back ' || back.msat || ', held for it ' || held.msat, d.id
             FROM deal d
             CROSS JOIN LATERAL (SELECT coalesce(sum(received_msat), 0) AS msat FROM invoice
               WHERE job_id = d.id AND state = 'settled') paid
             CROSS JOIN LATERAL (SELECT coalesce(sum(amount), 0) AS msat FROM payout
               WHERE job_id = d.id AND reason <> 'change') back
             CROSS JOIN LATERAL (SELECT coalesce(d.charge_amount, 0) + CASE
               WHEN d.state IN ('rejected', 'complete') OR (d.quote_amount IS NOT NULL
                    AND d.funding = 'invoices')
               THEN d.eval_amount ELSE 0 END AS msat) earned
             CROSS JOIN LATERAL (SELECT CASE WHEN d.state NOT IN ('evaluating', 'executing') THEN 0
               WHEN d.funding = 'invoice' THEN d.eval_amount + d.quote_amount
               WHEN d.state = 'evaluating' THEN d.eval_amount ELSE d.quote_amount END AS msat) held
            WHERE d.funding NOT IN ('session', 'x402')
              AND paid.msat <> earned.msat + back.msat + held.msat""",
    ),
    (
        7,
        """SELECT 'it holds ' || l.balance || ' ' || l.asset || ', and its job '
             || coalesce('is ' || d.state, 'is not there'), l.name
             FROM line l LEFT JOIN deal d ON l.name = 'job:' || d.id AND l.asset = d.asset
            WHERE starts_with(l.name, 'job:') AND l.balance <> CASE
                  WHEN d.id IS NULL OR d.state NOT IN ('evaluating', 'executing') THEN 0
                  WHEN d.funding <> 'invoices' THEN d.eval_amount + d.quote_amount
                  WHEN d.state = 'evaluating' THEN d.eval_amount ELSE d.quote_amount END""",
    ),
]

_PROMISES = [
    (
        8,
        # NOT IN is hashed whatever the statistics say of a queue that was empty a moment ago.
        """SELECT 'the promise ' || kind || ' is neither kept nor staged', key
             FROM duty WHERE key NOT IN (SELECT key FROM staged)""",
    ),
    (
        8,
        """SELECT 'the promise is staged ' || times || ' times', key FROM staged WHERE times > 1""",
    ),
]

_CHECKS = [
    *_ENTRIES,
    *_JOBS,
    *audit_payouts.CHECKS,
    *_PROMISES,
    *audit_prepaid.CHECKS,
    *audit_batches.CHECKS,
    *audit_deposits.CHECKS,
    *audit_workers.CHECKS,
    *audit_trust.CHECKS,
]
_AUDIT = (
    _SHARED
    + "SELECT * FROM ("
    + " UNION ALL ".join(
        f"SELECT {invariant} AS invariant, what, who FROM ({select}) AS wrong(what, who)"
        for invariant, select in _CHECKS
    )
    + ") AS found ORDER BY invariant, who, what LIMIT %(most)s"
)
_VALUES = {
    "rail": RAIL.name,
    "rail_usdc": RAIL_USDC.name,
    "unclaimed": UNCLAIMED.name,
    "eval": REVENUE_EVAL.name,
    "work": REVENUE_WORK.name,
    "media": REVENUE_MEDIA.name,
    "routing": EXPENSE_ROUTING.name,
    "free": EXPENSE_FREE.name,
    "given": REVENUE_FREE.name,
    "failed": EXPENSE_FAILED.name,
    "makers": EXPENSE_MAKERS.name,
    "canaries": EXPENSE_CANARIES.name,
    "forfeits": REVENUE_FORFEITS.name,
    "batch_final": [state.value for state in BatchState if BATCH.final(state)],
    "final": [state.value for state in JobState if JOB.final(state)],
    "most_failures": MOST_FAILURES,
    "judge": Judge.__name__,
    "do": Work.__name__,
    "create": CreateInvoice.__name__,
    "fetch": FetchInvoice.__name__,
    "order": SendUsdc.__name__,
    "pay": PayInvoice.__name__,
    "most": MOST,
}


async def audit(db: Database) -> list[Finding]:
    """Return all that is wrong with the books and the promises; an empty list is what is right."""
    rows = await db.read_whole(_AUDIT, **_VALUES)
    return [Finding(row["invariant"], row["what"], row["who"]) for row in rows]
