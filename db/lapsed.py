"""What nobody paid for is purged: its job, session or batch goes, and a slim row stays.

By the slim row a late payment is recognised, for as long as the rail is asked about it.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from db import casts, job_events, people
from db.engine import Database, Tx
from db.lapsed_tables import LapsedInvoice
from statemachine.owner import Purpose

# Written as the index of it: what is purged leaves it, and what is paid late never was in it.
_UNPAID = """
state IN ('expired', 'canceled')
   AND purpose IN ('eval', 'ask', 'deposit', 'topup', 'batch', 'credit')
"""
_DUE = f"""
SELECT id, job_id, session_id, batch_id, account_id, purpose FROM invoice
 WHERE {_UNPAID} AND expires_at < %(before)s ORDER BY expires_at LIMIT %(limit)s
"""


class Unpaid(NamedTuple):
    """An invoice that nobody has paid, and whose it is."""

    id: str
    job_id: str | None
    session_id: str | None
    batch_id: str | None
    account_id: str | None
    purpose: Purpose


async def due(db: Database, before: datetime, limit: int) -> list[Unpaid]:
    """Return invoices that lapsed, or were given up, before then, the oldest first."""
    return await db.rows(Unpaid, _DUE, before=before, limit=limit)


# Locked in the order of every other change: the owner, then its invoice. Who is busy comes later.
_JOBS = """
SELECT id FROM job j WHERE id = ANY(%(ids)s) AND state = 'failed'
   AND NOT EXISTS (SELECT FROM invoice i WHERE i.job_id = j.id AND i.state = 'settled')
   AND NOT EXISTS (SELECT FROM payout p WHERE p.job_id = j.id)
 ORDER BY id FOR UPDATE SKIP LOCKED
"""
_SESSIONS = """
SELECT id FROM session s WHERE id = ANY(%(ids)s) AND state = 'expired'
   AND NOT EXISTS (SELECT FROM invoice i WHERE i.session_id = s.id AND i.state = 'settled')
   AND NOT EXISTS (SELECT FROM payout p WHERE p.session_id = s.id)
 ORDER BY id FOR UPDATE SKIP LOCKED
"""
_BATCHES = """
SELECT id FROM batch b WHERE id = ANY(%(ids)s) AND state = 'cancelled'
   AND NOT EXISTS (SELECT FROM invoice i WHERE i.batch_id = b.id AND i.state = 'settled')
   AND NOT EXISTS (SELECT FROM payout p WHERE p.batch_id = b.id)
 ORDER BY id FOR UPDATE SKIP LOCKED
"""
_OPEN_SESSIONS = """
SELECT id FROM session WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE SKIP LOCKED
"""
_ACCOUNTS = """
SELECT id FROM user_account WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE SKIP LOCKED
"""
_KEEP = f"""
INSERT INTO lapsed_invoice (payment_hash, invoice_id, purpose, amount_msat, wallet, refund_to,
                            eval_msat, quote, expires_at, check_at)
SELECT i.payment_hash, i.id, i.purpose, i.amount_msat, i.wallet,
       coalesce(j.refund_to, s.refund_to, b.refund_to), j.eval_msat, j.quote,
       i.expires_at, i.check_at
  FROM invoice i LEFT JOIN job j ON j.id = i.job_id LEFT JOIN session s ON s.id = i.session_id
       LEFT JOIN batch b ON b.id = i.batch_id
 WHERE i.id = ANY(%(ids)s) AND i.{_UNPAID.strip()} AND i.payment_hash IS NOT NULL
"""
_FORGET_INVOICES = f"DELETE FROM invoice WHERE id = ANY(%(ids)s) AND {_UNPAID}"


async def purge(tx: Tx, rows: list[Unpaid]) -> int:
    """Purge these with all that belongs to them; return of how many nothing is left but a line."""
    jobs = await _locked(tx, _JOBS, [row.job_id for row in rows])
    never = [row.session_id for row in rows if row.purpose == Purpose.DEPOSIT]
    sessions = await _locked(tx, _SESSIONS, never)
    others = [row.session_id for row in rows if row.purpose == Purpose.TOPUP]
    topped_up = await _locked(tx, _OPEN_SESSIONS, others)
    batches = await _locked(tx, _BATCHES, [row.batch_id for row in rows])
    accounts = await _locked(tx, _ACCOUNTS, [row.account_id for row in rows])
    gone = [
        row.id
        for row in rows
        if row.job_id in jobs
        or row.batch_id in batches
        or row.account_id in accounts
        or row.session_id in (topped_up if row.purpose == Purpose.TOPUP else sessions)
    ]
    await tx.execute(_KEEP, ids=gone)
    await tx.execute(_FORGET_INVOICES, ids=gone)
    await job_events.forget(tx, list(jobs))
    await tx.execute("DELETE FROM job WHERE id = ANY(%(ids)s)", ids=list(jobs))
    await tx.execute("DELETE FROM session WHERE id = ANY(%(ids)s)", ids=list(sessions))
    await _forget_batches(tx, list(batches))
    return len(gone)


async def _forget_batches(tx: Tx, ids: list[str]) -> None:
    """Delete batches with their items, and the casts of which nothing else was ordered."""
    await tx.execute("DELETE FROM item WHERE batch_id = ANY(%(ids)s)", ids=ids)
    batches = "DELETE FROM batch WHERE id = ANY(%(ids)s) RETURNING cast_id"
    of = [row["cast_id"] for row in await tx.all(batches, ids=ids) if row["cast_id"] is not None]
    if of:
        await casts.forget_unpaid(tx, of)


async def _locked(tx: Tx, query: str, ids: list[str | None]) -> set[str]:
    wanted = [owner_id for owner_id in ids if owner_id is not None]
    return {row["id"] for row in await tx.all(query, ids=wanted)} if wanted else set()


async def find(db: Database, payment_hash: str) -> LapsedInvoice | None:
    """Return what is kept of a purged invoice."""
    row = await db.read_one("SELECT * FROM lapsed_invoice WHERE payment_hash = %(h)s",
                            h=payment_hash)  # fmt: skip
    return LapsedInvoice.model_validate(row) if row else None


async def take(tx: Tx, payment_hash: str) -> LapsedInvoice | None:
    """Return what is kept of a purged invoice, and keep it no more: it was paid."""
    row = await tx.one(
        "DELETE FROM lapsed_invoice WHERE payment_hash = %(h)s RETURNING *", h=payment_hash
    )
    return LapsedInvoice.model_validate(row) if row else None


_ASK = """
UPDATE lapsed_invoice SET check_at = %(next)s
 WHERE payment_hash = ANY(ARRAY(SELECT payment_hash FROM lapsed_invoice
       WHERE check_at IS NOT NULL AND check_at <= %(now)s
       ORDER BY check_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING payment_hash, expires_at
"""


async def take_due(tx: Tx, now: datetime, pause: timedelta, limit: int) -> dict[str, datetime]:
    """Return payment hashes whose turn it is to be asked about, and when each has expired; the next
    turn comes later.
    """
    rows = await tx.all(_ASK, now=now, next=now + pause, limit=limit)
    return {row["payment_hash"]: row["expires_at"] for row in rows}


async def never_paid(tx: Tx, payment_hash: str) -> None:
    """Forget an invoice that the rail, asked for the last time, knows no payment of."""
    query = "DELETE FROM lapsed_invoice WHERE payment_hash = %(h)s"
    await tx.execute(query, h=payment_hash)


_FORGET = """
DELETE FROM lapsed_invoice WHERE payment_hash = ANY(ARRAY(SELECT payment_hash
  FROM lapsed_invoice
 WHERE expires_at < %(before)s AND (check_at IS NULL OR expires_at < %(long_before)s)
 ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
"""


async def forget(tx: Tx, before: datetime, long_before: datetime, limit: int) -> int:
    """Forget what the rail is not asked about, or has not answered for so long; return how many
    that were.
    """
    return await tx.count(_FORGET, before=before, long_before=long_before, limit=limit)


# Of an order that failed, the chain has said that it never will pay: no line of it stays.
_FAILED_ORDERS = """
SELECT o.id, o.batch_id, b.account_id FROM usdc_authorization o
  LEFT JOIN batch b ON b.id = o.batch_id
 WHERE o.state = 'failed' AND o.ended_at < %(before)s
   AND o.job_id IS NULL AND (o.batch_id IS NULL OR b.state = 'cancelled')
 ORDER BY o.ended_at LIMIT %(limit)s
"""
_FORGET_ORDERS = """
DELETE FROM usdc_authorization
 WHERE id = ANY(%(ids)s) AND (batch_id IS NULL OR batch_id = ANY(%(batches)s))
"""


# Those that were shown in another's place: none is taken once its time is over.
_FORGET_PRESENTED = """
DELETE FROM usdc_presented WHERE id = ANY(ARRAY(
  SELECT id FROM usdc_presented WHERE expires_at < %(before)s ORDER BY expires_at LIMIT %(limit)s))
"""


async def purge_orders(tx: Tx, before: datetime, limit: int) -> int:
    """Purge orders in USDC that failed before then, with what they were for, and the accounts of
    wallets that nothing else was ever heard of; return how many orders are gone."""
    await tx.execute(_FORGET_PRESENTED, before=before, limit=limit)
    of_jobs = await _purge_orders_of_jobs(tx, before, limit)
    due = await tx.all(_FAILED_ORDERS, before=before, limit=limit)
    batches = list(await _locked(tx, _BATCHES, [row["batch_id"] for row in due]))
    gone = await tx.count(_FORGET_ORDERS, ids=[row["id"] for row in due], batches=batches)
    await _forget_batches(tx, batches)
    mine = [row["account_id"] for row in due if row["batch_id"] in batches and row["account_id"]]
    await people.forget_unused(tx, mine)  # another process may purge the rest just now
    return of_jobs + gone


_ENDED = """
SELECT id FROM batch WHERE completed_at < %(before)s AND purged_at IS NULL
 ORDER BY completed_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""
_FORGET_LEASES = """
DELETE FROM lease
 WHERE item_id = ANY(ARRAY(SELECT id FROM item WHERE batch_id = ANY(%(ids)s)))
   AND cost_amount = 0  -- what a maker wanted for one is in the books, which it explains
"""


async def purge_leases(tx: Tx, before: datetime, now: datetime, limit: int) -> int:
    """Purge who has made the items of batches that ended before then; return how many batches.

    The items stay: a receipt tells of each.
    """
    ids = [row["id"] for row in await tx.all(_ENDED, before=before, limit=limit)]
    await tx.execute(_FORGET_LEASES, ids=ids)
    await tx.execute(
        "UPDATE batch SET purged_at = %(now)s WHERE id = ANY(%(ids)s)", ids=ids, now=now
    )
    return len(ids)


_NEVER_PAID = """
SELECT account_id FROM connect_request
 WHERE state = 'lapsed' AND expires_at < CASE kind WHEN 'usdc' THEN CAST(%(before)s AS timestamptz)
       ELSE %(long_before)s END
 ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""


async def purge_requests(tx: Tx, before: datetime, long_before: datetime, limit: int) -> int:
    """Purge requests to connect a wallet that lapsed before then and were never paid, with their
    accounts and the keys of those; over Lightning, where late money is an account's, long before.
    """
    due = await tx.all(_NEVER_PAID, before=before, long_before=long_before, limit=limit)
    return await people.forget_unpaid(tx, [row["account_id"] for row in due])


_FAILED_ORDERS_OF_JOBS = """
SELECT o.id, o.job_id, j.account_id FROM usdc_authorization o JOIN job j ON j.id = o.job_id
 WHERE o.state = 'failed' AND o.ended_at < %(before)s AND j.state = 'failed'
 ORDER BY o.ended_at LIMIT %(limit)s
"""
_FORGET_ORDERS_OF_JOBS = """
DELETE FROM usdc_authorization WHERE id = ANY(%(ids)s) AND job_id = ANY(%(jobs)s)
"""


async def _purge_orders_of_jobs(tx: Tx, before: datetime, limit: int) -> int:
    """Purge those of jobs, likewise."""
    due = await tx.all(_FAILED_ORDERS_OF_JOBS, before=before, limit=limit)
    jobs = list(await _locked(tx, _JOBS, [row["job_id"] for row in due]))
    ids = [row["id"] for row in due]
    gone = await tx.count(_FORGET_ORDERS_OF_JOBS, ids=ids, jobs=jobs)
    await job_events.forget(tx, jobs)
    await tx.execute("DELETE FROM job WHERE id = ANY(%(ids)s)", ids=jobs)
    mine = [row["account_id"] for row in due if row["job_id"] in jobs and row["account_id"]]
    await people.forget_unused(tx, mine)
    return gone
