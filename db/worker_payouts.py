"""What a worker has, and what was sent to it a page at a time: quick, however long it has worked.

Its payouts are those of its account.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from db.engine import Database
from statemachine.entries import Asset
from statemachine.payout import PayoutState

_MARK = re.compile("([0-9]{1,16})-([0-9a-f]{8})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Mark(NamedTuple):
    """Where a page ends: when its last payout came to be, and what tells it from others then."""

    created_at: datetime
    tie: str

    def __str__(self) -> str:
        """Return it as the next page is asked for."""
        return f"{(self.created_at - _EPOCH) // timedelta(microseconds=1)}-{self.tie}"


FROM_THE_NEWEST = Mark(datetime(9999, 1, 1, tzinfo=UTC), "")


def mark_of(text: str) -> Mark | None:
    """Return the mark that a text is; None: it is none."""
    found = _MARK.fullmatch(text)
    if found is None:
        return None
    try:
        return Mark(_EPOCH + timedelta(microseconds=int(found[1])), found[2])
    except OverflowError:
        return None


class Sent(NamedTuple):
    """A payout of a worker's pay, as it is now."""

    state: PayoutState
    amount: int
    asset: Asset
    refund_to: str | None
    attempts: int
    note: str | None
    created_at: datetime
    updated_at: datetime
    txid: str | None  # of a chain, for one in USDC
    tie: str

    @property
    def mark(self) -> Mark:
        """Where a page ends whose last one this is."""
        return Mark(self.created_at, self.tie)


_PAGE = """
SELECT p.state, p.amount, p.asset, p.refund_to, p.attempts, p.note, p.created_at, p.updated_at,
       (SELECT txid FROM usdc_attempt WHERE payout_id = p.id
           AND outcome IN ('live', 'settled') LIMIT 1) AS txid,
       left(md5(p.id), 8) AS tie
  FROM payout p
 WHERE p.account_id = %(account_id)s AND p.created_at <= %(at)s
   AND (p.created_at < %(at)s OR left(md5(p.id), 8) < %(tie)s)
 ORDER BY p.created_at DESC, left(md5(p.id), 8) DESC LIMIT %(most)s
"""


async def page(db: Database, account_id: str, before: Mark, most: int) -> list[Sent]:
    """Return so many payouts of an account before this one, the newest first."""
    return await db.rows(
        Sent, _PAGE, account_id=account_id, at=before.created_at, tie=before.tie, most=most
    )


class Purse(NamedTuple):
    """What a worker has earned in an asset, and where that is, in its smallest unit."""

    asset: Asset
    earned: int
    held: int  # back, while the worker is new
    free: int
    sending: int  # owed to it, or on its way
    forfeited: int  # of what was held: it has failed a canary

    @property
    def paid(self) -> int:
        """Return the rest: the account of a worker has nothing but its pay."""
        return self.earned - self.held - self.free - self.sending - self.forfeited


_PURSES = """
SELECT a.asset,
       CASE a.asset WHEN 'msat' THEN w.earned_msat ELSE w.earned_microusdc END AS earned,
       CASE a.asset WHEN 'msat' THEN w.held_msat ELSE w.held_microusdc END AS held,
       coalesce((SELECT balance FROM account
                  WHERE name = 'user:' || w.account_id AND asset = a.asset), 0) AS free,
       coalesce((SELECT sum(amount)::bigint FROM payout WHERE account_id = w.account_id
                    AND state <> 'paid' AND asset = a.asset), 0) AS sending,
       CASE a.asset WHEN 'msat' THEN w.forfeited_msat ELSE w.forfeited_microusdc END AS forfeited
  FROM worker w CROSS JOIN (VALUES ('msat'), ('microusdc')) a(asset) WHERE w.id = %(id)s
 ORDER BY a.asset DESC
"""


async def purses(db: Database, worker_id: str) -> list[Purse]:
    """Return what a worker has in every asset, in one moment."""
    return await db.rows(Purse, _PURSES, id=worker_id)
