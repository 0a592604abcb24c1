"""Payouts and their attempts: insert, lock, move, and which the rail should be asked about."""

from datetime import datetime
from typing import NamedTuple, Protocol

from db.engine import Database, Tx
from db.owners import columns_of, owner_of
from db.rows import columns
from db.tables import Payout, PayoutAttempt
from statemachine.attempt import AttemptFacts, AttemptState
from statemachine.cell import ALONE, Cell
from statemachine.entries import Asset
from statemachine.owner import Owner, Reason
from statemachine.payout import PayoutFacts, PayoutState

_INSERT = """
INSERT INTO payout (id, secret, job_id, session_id, batch_id, account_id, reason, state,
                    amount, asset, attempts,
                    refund_to, failures, created_at, updated_at)
VALUES (%(id)s,
        %(cell)s || substr(md5(gen_random_uuid()::text || gen_random_uuid()::text),
                           length(%(cell)s) + 1),
        %(job_id)s, %(session_id)s, %(batch_id)s, %(account_id)s, %(reason)s, %(state)s,
        %(amount)s,
        %(asset)s, 0, %(refund_to)s, 0, %(now)s, %(now)s)
"""


async def insert(
    tx: Tx, facts: PayoutFacts, owner: Owner, reason: Reason, now: datetime, cell: Cell = ALONE
) -> None:
    """Write a payout that is owed to this owner from now on."""
    await tx.execute(
        _INSERT,
        id=facts.id,
        **columns_of(owner),
        reason=reason,
        state=facts.state,
        amount=facts.amount,
        asset=facts.asset,
        refund_to=facts.refund_to,
        now=now,
        cell=cell.digits,
    )


class Amount(Protocol):
    """A row that holds an amount of an asset."""

    @property
    def amount(self) -> int:
        """So much of it, in its smallest unit."""

    @property
    def asset(self) -> Asset:
        """Of this."""


def msat_of(row: Amount) -> int:
    """Return what a row holds in msat. ValueError for one in another asset."""
    if row.asset is not Asset.MSAT:
        raise ValueError(f"what is owed in {row.asset} is no number of msat")
    return row.amount


async def lock(tx: Tx, payout_id: str) -> Payout | None:
    """Return the payout's row, locked. Whoever needs its owner's lock too takes that one first."""
    row = await tx.one("SELECT * FROM payout WHERE id = %(id)s FOR UPDATE", id=payout_id)
    return Payout.model_validate(row) if row else None


def facts_of(payout: Payout) -> PayoutFacts:
    """Return the law's view of a row."""
    return PayoutFacts(
        id=payout.id,
        state=payout.state,
        amount=payout.amount,
        asset=payout.asset,
        attempts=payout.attempts,
        refund_to=payout.refund_to,
        failures=payout.failures,
    )


_MOVE = """
UPDATE payout SET state = %(state)s, attempts = %(attempts)s, refund_to = %(refund_to)s,
       failures = %(failures)s, note = %(note)s, updated_at = %(updated_at)s, paid_at = %(paid_at)s
 WHERE id = %(id)s
"""


async def move(tx: Tx, payout: Payout, after: PayoutFacts, note: str | None, now: datetime) -> None:
    """Write the state after an event, with what to tell a person about it."""
    payout.state, payout.attempts = after.state, after.attempts
    payout.refund_to, payout.failures = after.refund_to, after.failures
    payout.note, payout.updated_at = note, now
    if after.state is PayoutState.PAID:
        payout.paid_at = now
    await tx.execute(_MOVE, **dict(payout))


_ATTEMPT = """
INSERT INTO payout_attempt (payment_hash, payout_id, number, bolt11, fee_limit_msat, sent_msat,
                            borne_msat, free_msat, free_day, expires_at, outcome, check_at, checks)
VALUES (%(payment_hash)s, %(payout_id)s, %(number)s, %(bolt11)s, %(fee_limit_msat)s,
        %(sent_msat)s, %(borne_msat)s, %(free_msat)s, %(free_day)s, %(expires_at)s, %(outcome)s,
        %(check_at)s, 0)
"""


async def insert_attempt(tx: Tx, attempt: PayoutAttempt) -> None:
    """Write an attempt that is live from now on. A payment_hash that was used before, or a second
    live attempt, fails the transaction on a unique index."""
    await tx.execute(_ATTEMPT, **dict(attempt))


async def lock_attempt(tx: Tx, payout_id: str, number: int) -> PayoutAttempt | None:
    """Return one attempt's row, locked; who needs its payout's lock too takes that one first."""
    row = await tx.one(
        "SELECT * FROM payout_attempt WHERE payout_id = %(id)s AND number = %(n)s FOR UPDATE",
        id=payout_id,
        n=number,
    )
    return PayoutAttempt.model_validate(row) if row else None


def attempt_facts(row: PayoutAttempt) -> AttemptFacts:
    """Return the law's view of an attempt's row: one is called from the moment of the call on."""
    called = row.outcome is AttemptState.LIVE and row.called_at is not None
    return AttemptFacts(
        id=row.payment_hash,
        state=AttemptState.CALLED if called else row.outcome,
        borne_msat=row.borne_msat,
        free_msat=row.free_msat,
        called_by=row.called_by,
        fee_msat=row.fee_msat,
    )


_CALL = """
UPDATE payout_attempt SET called_at = %(now)s, called_by = %(called_by)s
 WHERE payment_hash = %(payment_hash)s
"""
_END = """
UPDATE payout_attempt SET outcome = %(outcome)s, preimage = %(preimage)s,
       fee_msat = %(fee_msat)s, check_at = NULL WHERE payment_hash = %(payment_hash)s
"""


async def move_attempt(
    tx: Tx, after: AttemptFacts, now: datetime, preimage: str | None = None
) -> None:
    """Write an attempt's state: whose call it is; or what became of it, and nobody asks again."""
    if after.state in (AttemptState.LIVE, AttemptState.CALLED):
        at = now if after.state is AttemptState.CALLED else None
        await tx.execute(_CALL, payment_hash=after.id, now=at, called_by=after.called_by)
        return
    await tx.execute(
        _END,
        payment_hash=after.id,
        outcome=after.state,
        fee_msat=after.fee_msat,
        preimage=preimage,
    )


class PayoutView(NamedTuple):
    """What a job's view tells of a payout."""

    id: str
    secret: str
    reason: Reason
    state: PayoutState
    amount: int
    asset: Asset
    attempts: int
    note: str | None
    refund_to: str | None
    failures: int
    txid: str | None  # of a chain, for what is owed in USDC

    @property
    def amount_msat(self) -> int:
        """Return what is owed, of what is owed in msat."""
        return msat_of(self)


class PayoutRow(NamedTuple):
    """A payout as it is now, with its live attempt's hash and what that sends."""

    id: str
    secret: str
    job_id: str | None
    session_id: str | None
    batch_id: str | None
    account_id: str | None
    reason: Reason
    state: PayoutState
    amount: int
    asset: Asset
    attempts: int
    note: str | None
    refund_to: str | None
    failures: int
    updated_at: datetime
    payment_hash: str | None
    sent: int
    txid: str | None  # of a chain, for what is owed in USDC

    @property
    def amount_msat(self) -> int:
        """Return what is owed, of what is owed in msat."""
        return msat_of(self)

    @property
    def owner(self) -> Owner:
        """Return whose it is."""
        return owner_of(self)


_ROWS = """
SELECT p.id, p.secret, p.job_id, p.session_id, p.batch_id, p.account_id, p.reason, p.state,
       p.amount, p.asset, p.attempts, p.note, p.refund_to, p.failures, p.updated_at, a.payment_hash,
       coalesce(a.sent_msat, p.amount) AS sent, o.txid
  FROM payout p
  LEFT JOIN LATERAL (SELECT payment_hash, sent_msat FROM payout_attempt
       WHERE payout_id = p.id AND outcome IN ('live', 'settled') LIMIT 1) a ON true
  LEFT JOIN LATERAL (SELECT txid FROM usdc_attempt
       WHERE payout_id = p.id AND outcome IN ('live', 'settled') LIMIT 1) o ON true
"""
_OF_OWNER = f"""
{_ROWS} WHERE p.job_id = %(id)s OR p.session_id = %(id)s OR p.batch_id = %(id)s
    OR p.account_id = %(id)s
 ORDER BY p.created_at, p.id
"""


async def of_owner(db: Database, owner_id: str) -> list[PayoutRow]:
    """Return what a job, a session, a batch or an account owes, oldest first."""
    return await db.rows(PayoutRow, _OF_OWNER, id=owner_id)


_WITHDRAWN = """
SELECT coalesce(sum(amount), 0)::bigint AS amount FROM payout
 WHERE account_id = %(id)s AND reason = 'withdrawn' AND asset = %(asset)s
   AND created_at > %(since)s
"""


async def withdrawn(tx: Tx, account_id: str, asset: Asset, since: datetime) -> int:
    """Return what was taken out of a locked account since then."""
    row = await tx.one(_WITHDRAWN, id=account_id, asset=asset.value, since=since)
    return int(row["amount"]) if row else 0


async def get(db: Database, payout_id: str) -> PayoutRow | None:
    """Return one payout, as it is now."""
    return await db.row(PayoutRow, f"{_ROWS} WHERE p.id = %(id)s", id=payout_id)


async def by_secret(db: Database, secret: str) -> PayoutRow | None:
    """Return the payout that a withdrawal's secret was made for."""
    return await db.row(
        PayoutRow, f"{_ROWS} WHERE p.secret = %(secret)s AND p.asset = 'msat'", secret=secret
    )


async def was_paid_by(db: Database, payout_id: str, payment_hash: str) -> bool:
    """Say whether the books have it that this payment paid this payout."""
    row = await db.read_one(
        "SELECT 1 FROM payout_attempt WHERE payment_hash = %(h)s AND payout_id = %(id)s"
        " AND outcome = 'settled'",
        h=payment_hash,
        id=payout_id,
    )
    return row is not None


class LiveAttempt(NamedTuple):
    """An attempt whose outcome is not known yet."""

    payout_id: str
    number: int
    payment_hash: str
    bolt11: str
    fee_limit_msat: int
    expires_at: datetime
    called_at: datetime | None
    called_by: str | None


async def live_attempt(db: Database, payout_id: str, number: int) -> LiveAttempt | None:
    """Return an attempt whose outcome is not known yet."""
    return await db.row(
        LiveAttempt,
        f"SELECT {columns(LiveAttempt)} FROM payout_attempt WHERE payout_id = %(id)s"
        " AND number = %(n)s AND outcome = 'live'",
        id=payout_id,
        n=number,
    )


async def hash_is_known(db: Database, payment_hash: str) -> str | None:
    """Say what we know a payment_hash as: "invoice" (one of ours), "payout", or None."""
    row = await db.read_one(
        "SELECT 'invoice' AS known FROM invoice WHERE payment_hash = %(h)s"
        " UNION ALL SELECT 'invoice' FROM lapsed_invoice WHERE payment_hash = %(h)s"
        " UNION ALL SELECT 'payout' FROM payout_attempt WHERE payment_hash = %(h)s",
        h=payment_hash,
    )
    return str(row["known"]) if row else None


_DUE = """
UPDATE payout_attempt SET checks = checks + 1, check_at = CAST(%(now)s AS timestamptz)
       + least(%(most_s)s, %(least_s)s * power(2, least(checks, 20))) * interval '1 second'
 WHERE payment_hash = ANY(ARRAY(SELECT payment_hash FROM payout_attempt WHERE check_at IS NOT NULL
       AND check_at <= %(now)s ORDER BY check_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING payout_id, number
"""


async def take_due(
    tx: Tx, now: datetime, least_s: int, most_s: int, limit: int
) -> list[tuple[str, int]]:
    """Return live attempts whose turn it is to be asked about; the next turn comes later."""
    rows = await tx.all(_DUE, now=now, least_s=least_s, most_s=most_s, limit=limit)
    return [(row["payout_id"], row["number"]) for row in rows]
