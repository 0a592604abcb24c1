"""What routing cost, and whom: what the house may spend on one payer's, and what it gave."""

from datetime import date
from typing import NamedTuple

from db.engine import Database, Tx
from db.rows import Reads


class Account(NamedTuple):
    """What there is to know of one payer's routing, and of the day. Amounts are msat."""

    charged_msat: int  # what he has paid for work
    borne_msat: int  # what the house has borne for him, or has promised to
    given_msat: int  # what it gave away on that day, to all


# Of an attempt that is on its way, all that the house has promised to bear counts.
_BORNE = """
CASE a.outcome WHEN 'live' THEN a.borne_msat WHEN 'settled' THEN least(a.borne_msat, a.fee_msat)
     ELSE 0 END
"""
_GIVEN = """
CASE a.outcome WHEN 'live' THEN a.free_msat WHEN 'settled'
     THEN greatest(0, least(a.borne_msat, a.fee_msat) - a.borne_msat + a.free_msat) ELSE 0 END
"""
_CHARGED = """
(SELECT coalesce(sum(CASE WHEN state IN ('complete', 'rejected') THEN eval_msat ELSE 0 END
        + coalesce((charge->>'total_msat')::bigint, 0)), 0)::bigint
   FROM job WHERE {job})
+ (SELECT coalesce(sum(charge_msat), 0)::bigint FROM hold WHERE session_id = {session})
+ (SELECT coalesce(sum(charged_amount), 0)::bigint FROM batch WHERE asset = 'msat' AND ({batch}))
"""
_ACCOUNT = f"""
SELECT {
    _CHARGED.format(
        job="session_id = %(session)s OR id = %(job)s",
        session="%(session)s",
        batch="session_id = %(session)s OR id = %(batch)s"
        " OR (account_id = %(account)s AND funding = 'account')",
    )
} AS charged_msat,
       (SELECT coalesce(sum((SELECT sum({_BORNE}) FROM payout_attempt a
                              WHERE a.payout_id = p.id)), 0)::bigint
          FROM payout p WHERE p.session_id = %(session)s OR p.job_id = %(job)s
             OR p.batch_id = %(batch)s OR p.account_id = %(account)s) AS borne_msat,
       coalesce((SELECT routing_msat FROM free_day WHERE day = %(day)s), 0) AS given_msat
"""


async def account_of(
    reads: Reads,
    job_id: str | None,
    session_id: str | None,
    batch_id: str | None,
    account_id: str | None,
    day: date,
) -> Account:
    """Return how a job, a session, a batch or a person stands with the house."""
    found = await reads.row(
        Account,
        _ACCOUNT,
        job=job_id,
        session=session_id,
        batch=batch_id,
        account=account_id,
        day=day,
    )
    assert found is not None
    return found


_OPEN_DAY = "INSERT INTO free_day (day, used_msat) VALUES (%(day)s, 0) ON CONFLICT DO NOTHING"
_GIVE = """
UPDATE free_day SET routing_msat = routing_msat + %(amount)s WHERE day = %(day)s
   AND routing_msat + %(amount)s <= %(most)s
"""
_TAKE_BACK = "UPDATE free_day SET routing_msat = routing_msat - %(amount)s WHERE day = %(day)s"


async def give(tx: Tx, day: date, amount_msat: int, most_msat: int) -> bool:
    """Set money of the house aside for routing on one day; False when that is too much."""
    await tx.execute(_OPEN_DAY, day=day)
    return bool(await tx.count(_GIVE, day=day, amount=amount_msat, most=most_msat))


async def take_back(tx: Tx, day: date, amount_msat: int) -> None:
    """Give back to a day what an attempt did not need."""
    await tx.execute(_TAKE_BACK, day=day, amount=amount_msat)


async def given_msat(db: Database, day: date) -> int:
    """Return what the house gives for routing on one day."""
    row = await db.read_one("SELECT routing_msat FROM free_day WHERE day = %(day)s", day=day)
    return int(row["routing_msat"]) if row else 0


_PAYERS = f"""
SELECT coalesce(p.session_id, p.job_id, p.batch_id, p.account_id) AS payer,
       p.session_id IS NOT NULL AS is_session, sum({_BORNE})::bigint AS borne_msat, sum({
    _GIVEN
})::bigint AS given_msat,
       {
    _CHARGED.format(
        job="session_id = p.session_id OR id = p.job_id",
        session="p.session_id",
        batch="session_id = p.session_id OR id = p.batch_id"
        " OR (account_id = p.account_id AND funding = 'account')",
    )
} AS charged_msat
  FROM payout_attempt a JOIN payout p ON p.id = a.payout_id
 WHERE a.free_day = %(day)s AND a.outcome <> 'returned'
 GROUP BY p.session_id, p.job_id, p.batch_id, p.account_id
 ORDER BY given_msat DESC, payer LIMIT %(most)s
"""


class Payer(NamedTuple):
    """For whom the house gave routing on a day, beside what was paid for work."""

    payer: str
    is_session: bool
    borne_msat: int
    given_msat: int
    charged_msat: int


async def payers(db: Database, day: date, most: int) -> list[Payer]:
    """Return for whom the house gave routing on one day, beside what they paid for work."""
    return await db.rows(Payer, _PAYERS, day=day, most=most)
