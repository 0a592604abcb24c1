"""Orders of ours in USDC: insert, find, move, and which of them the chain should be asked about."""

from datetime import datetime
from typing import NamedTuple

from db.engine import Database, Tx
from db.rows import columns
from db.usdc_tables import UsdcAttempt
from statemachine.attempt import AttemptState

_INSERT = """
INSERT INTO usdc_attempt (payout_id, number, network, payer, payee, amount_microusdc, expires_at,
                          outcome, check_at, checks, in_hand)
VALUES (%(payout_id)s, %(number)s, %(network)s, %(payer)s, %(payee)s, %(amount_microusdc)s,
        %(expires_at)s, %(outcome)s, %(check_at)s, 0, true)
"""


async def insert(tx: Tx, attempt: UsdcAttempt) -> None:
    """Write an attempt that is live from now on, and in hand. A second live one of its payout, or a
    second one in hand on its network, fails the transaction on a unique index."""
    await tx.execute(_INSERT, **dict(attempt))


class LiveOrder(NamedTuple):
    """An attempt whose outcome is not known yet."""

    payout_id: str
    number: int
    network: str
    payer: str
    payee: str
    amount_microusdc: int
    expires_at: datetime
    txid: str | None
    in_hand: bool


_LIVE = f"""
SELECT {columns(LiveOrder)} FROM usdc_attempt
 WHERE payout_id = %(id)s AND number = %(n)s AND outcome = 'live'
"""


async def live(db: Database, payout_id: str, number: int) -> LiveOrder | None:
    """Return an attempt whose outcome is not known yet."""
    return await db.row(LiveOrder, _LIVE, id=payout_id, n=number)


async def lock_live(tx: Tx, payout_id: str, number: int) -> LiveOrder | None:
    """Return one that is locked; who needs its payout's lock too takes that one first."""
    return await tx.row(LiveOrder, f"{_LIVE} FOR UPDATE", id=payout_id, n=number)


async def acknowledge(tx: Tx, attempt: LiveOrder, txid: str) -> None:
    """Write that a facilitator says it was sent: it is asked about still, and holds up no other."""
    await tx.execute(
        "UPDATE usdc_attempt SET txid = %(txid)s WHERE payout_id = %(id)s AND number = %(n)s",
        id=attempt.payout_id,
        n=attempt.number,
        txid=txid,
    )


async def hold(tx: Tx, attempt: LiveOrder, in_hand: bool) -> None:
    """Write whether an attempt may be in the hands of whoever hands orders to the chain. A second
    one on its network fails the transaction on a unique index."""
    await tx.execute(
        "UPDATE usdc_attempt SET in_hand = %(in_hand)s WHERE payout_id = %(id)s AND number = %(n)s",
        id=attempt.payout_id,
        n=attempt.number,
        in_hand=in_hand,
    )


async def end(tx: Tx, attempt: LiveOrder, outcome: AttemptState, txid: str | None) -> None:
    """Write what became of an attempt, and that nobody asks again."""
    await tx.execute(
        "UPDATE usdc_attempt SET outcome = %(outcome)s, txid = %(txid)s, check_at = NULL"
        " WHERE payout_id = %(id)s AND number = %(n)s",
        id=attempt.payout_id,
        n=attempt.number,
        outcome=outcome,
        txid=txid,
    )


_DUE = """
UPDATE usdc_attempt SET checks = checks + 1, check_at = CAST(%(now)s AS timestamptz)
       + least(%(most_s)s, %(least_s)s * power(2, least(checks, 20))) * interval '1 second'
 WHERE (payout_id, number) IN (SELECT payout_id, number FROM usdc_attempt
       WHERE check_at IS NOT NULL AND check_at <= %(now)s ORDER BY check_at LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED)
RETURNING payout_id, number
"""


async def take_due(
    tx: Tx, now: datetime, least_s: int, most_s: int, limit: int
) -> list[tuple[str, int]]:
    """Return live attempts whose turn it is to be asked about; the next turn comes later."""
    rows = await tx.all(_DUE, now=now, least_s=least_s, most_s=most_s, limit=limit)
    return [(row["payout_id"], row["number"]) for row in rows]
