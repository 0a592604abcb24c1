"""Buyers' orders in USDC: claim, find, move, and which of them the chain should be asked about."""

from datetime import datetime
from typing import Any, NamedTuple

from db.engine import Database, Tx
from db.owners import columns_of, owner_of
from db.rows import columns
from statemachine.authorization import AuthorizationFacts, AuthorizationState
from statemachine.owner import Owner, OwnerKind, Purpose

# What the order of such an owner's pays for.
PURPOSES = {
    OwnerKind.JOB: Purpose.ASK,
    OwnerKind.BATCH: Purpose.BATCH,
    OwnerKind.ACCOUNT: Purpose.CREDIT,
}


class AuthorizationRow(NamedTuple):
    """An order as it is now."""

    id: str
    job_id: str | None
    session_id: str | None
    batch_id: str | None
    account_id: str | None
    state: AuthorizationState
    purchase: str
    pay_to: str
    amount_microusdc: int
    window_s: int
    valid_after_s: int
    valid_before_s: int
    signature: str
    tries: int
    declined: bool
    reason: str | None
    txid: str | None
    check_at: datetime | None
    answered_at: datetime | None  # its buyer has had an answer

    @property
    def owner(self) -> Owner:
        """What it was claimed for."""
        return owner_of(self)

    @property
    def purpose(self) -> Purpose:
        """What of it it pays for."""
        return PURPOSES[self.owner.kind]


_COLUMNS = columns(AuthorizationRow)
_PAYS = "a.state <> 'failed' AND NOT a.declined"
_INSERT = f"""
INSERT INTO usdc_authorization (id, job_id, session_id, batch_id, account_id, state, purchase,
       pay_to, amount_microusdc, window_s, valid_after_s, valid_before_s, signature, tries,
       created_at, check_at)
SELECT %(id)s, %(job_id)s, %(session_id)s, %(batch_id)s, %(account_id)s, 'claimed',
       %(purchase)s, %(pay_to)s,
       %(amount_microusdc)s, %(window_s)s, %(valid_after_s)s, %(valid_before_s)s, %(signature)s,
       1, %(now)s, %(check_at)s
 WHERE NOT EXISTS (SELECT FROM usdc_presented p WHERE p.id = %(id)s)
   AND NOT (%(is_named)s AND EXISTS (SELECT FROM usdc_authorization a
          WHERE a.purchase = %(purchase)s AND {_PAYS}))
ON CONFLICT DO NOTHING
RETURNING {_COLUMNS}
"""


async def claim(
    tx: Tx, owner: Owner, told: dict[str, Any], is_named: bool, now: datetime, check_at: datetime
) -> AuthorizationRow | None:
    """Write a new order, taken on until then; None where it was claimed or answered before, or its
    purchase is paid for by another one: which waits for an answer or, of one that is named, had it.
    Its owner is written in the same transaction, after it.
    """
    values = {**told, **columns_of(owner), "is_named": is_named}
    return await tx.row(AuthorizationRow, _INSERT, **values, now=now, check_at=check_at)


async def get(db: Database, authorization: str) -> AuthorizationRow | None:
    """Return an order as it is now."""
    query = f"SELECT {_COLUMNS} FROM usdc_authorization WHERE id = %(id)s"
    return await db.row(AuthorizationRow, query, id=authorization)


_PRESENTED = f"""
SELECT {_COLUMNS} FROM usdc_authorization
 WHERE id = (SELECT authorization_id FROM usdc_presented WHERE id = %(id)s)
"""


async def answering(db: Database, authorization: str) -> AuthorizationRow | None:
    """Return the order in whose place this one was shown, and which it was answered with."""
    return await db.row(AuthorizationRow, _PRESENTED, id=authorization)


async def of_purchase(db: Database, purchase: str, is_named: bool) -> AuthorizationRow | None:
    """Return the order of a purchase whose buyer has had no answer yet; of one that is named, also
    one whose buyer has had it.
    """
    query = (
        f"SELECT {_COLUMNS} FROM usdc_authorization a"
        f" WHERE purchase = %(purchase)s AND (answered_at IS NULL AND state <> 'failed'"
        f"       OR %(is_named)s AND {_PAYS})"
        " ORDER BY answered_at IS NULL DESC, created_at DESC LIMIT 1"
    )
    return await db.row(AuthorizationRow, query, purchase=purchase, is_named=is_named)


_PRESENT = """
INSERT INTO usdc_presented (id, authorization_id, expires_at)
VALUES (%(id)s, %(authorization_id)s, to_timestamp(%(valid_before_s)s)) ON CONFLICT DO NOTHING
"""


async def present(tx: Tx, shown: str, authorization: str, valid_before_s: int) -> None:
    """Write that an order is answered with what another one has bought."""
    values = {"authorization_id": authorization, "valid_before_s": valid_before_s}
    await tx.execute(_PRESENT, id=shown, **values)


async def read(tx: Tx, authorization: str) -> AuthorizationRow | None:
    """Return an order, to know whose it is."""
    query = f"SELECT {_COLUMNS} FROM usdc_authorization WHERE id = %(id)s"
    return await tx.row(AuthorizationRow, query, id=authorization)


async def lock(tx: Tx, authorization: str) -> AuthorizationRow | None:
    """Return an order, locked. Whoever needs its owner's lock too takes that one first."""
    query = f"SELECT {_COLUMNS} FROM usdc_authorization WHERE id = %(id)s FOR UPDATE"
    return await tx.row(AuthorizationRow, query, id=authorization)


def facts_of(row: AuthorizationRow) -> AuthorizationFacts:
    """Return the law's view of a row."""
    return AuthorizationFacts(row.id, row.owner, row.purpose, row.state, row.amount_microusdc)


_MOVE = """
UPDATE usdc_authorization SET state = %(state)s, txid = %(txid)s, reason = %(reason)s,
       ended_at = %(now)s, check_at = NULL
 WHERE id = %(id)s
"""


async def move(
    tx: Tx, after: AuthorizationFacts, now: datetime, *, txid: str | None, reason: str | None
) -> None:
    """Write how an order has ended."""
    await tx.execute(_MOVE, id=after.id, state=after.state, txid=txid, reason=reason, now=now)


_NOTE = """
UPDATE usdc_authorization SET reason = %(reason)s, check_at = %(check_at)s
 WHERE id = %(id)s AND state = 'claimed'
"""
_DECLINE = """
UPDATE usdc_authorization SET declined = true, reason = %(reason)s, check_at = %(check_at)s,
       answered_at = coalesce(answered_at, %(now)s)
 WHERE id = %(id)s
"""


async def note(tx: Tx, authorization: str, reason: str, check_at: datetime) -> None:
    """Write why nobody knows yet what became of an order, and when to ask again."""
    await tx.execute(_NOTE, id=authorization, reason=reason, check_at=check_at)


async def decline(
    tx: Tx, authorization: str, reason: str, now: datetime, check_at: datetime
) -> None:
    """Write that an order was refused before it was sent: its buyer is asked for another."""
    await tx.execute(_DECLINE, id=authorization, reason=reason, now=now, check_at=check_at)


async def answered(tx: Tx, authorization: str, now: datetime) -> None:
    """Write that its buyer has had an answer: the next such request is another purchase."""
    query = (
        "UPDATE usdc_authorization SET answered_at = %(now)s"
        " WHERE id = %(id)s AND answered_at IS NULL"
    )
    await tx.execute(query, id=authorization, now=now)


_TAKE = f"""
UPDATE usdc_authorization SET tries = tries + 1, check_at = %(until)s
 WHERE id = ANY(ARRAY(SELECT id FROM usdc_authorization
               WHERE check_at <= %(now)s AND (%(id)s::text IS NULL OR id = %(id)s)
               ORDER BY check_at LIMIT %(most)s FOR UPDATE SKIP LOCKED))
RETURNING {_COLUMNS}
"""


async def take_due(
    tx: Tx, now: datetime, until: datetime, most: int, authorization: str | None = None
) -> list[AuthorizationRow]:
    """Take on the orders whose turn it is, or this one if it is its turn: nobody else does, until
    then."""
    return await tx.rows(AuthorizationRow, _TAKE, now=now, until=until, most=most, id=authorization)
