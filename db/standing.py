"""What an operator looks at: what the rail must hold, payouts that are not paid, jobs by state."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from db.engine import Database
from db.payouts import msat_of
from statemachine.entries import Asset
from statemachine.owner import Reason
from statemachine.payout import MOST_FAILURES, PayoutState

STUCK_AFTER = timedelta(hours=1)  # in flight for so long: the rail should have told by now
MOST_UNPAID = 50  # how many unpaid invoices are told at once


@dataclass(frozen=True, slots=True)
class RailSheet:
    """What the books say of the rail in msat, in one snapshot. Two equal ones: nothing moved."""

    due_msat: int  # liabilities + income - expenses
    moving: tuple[tuple[str, int], ...]  # payouts handed to it: (payment_hash, most it may cost)
    unpaid: tuple[tuple[str, str | None], ...]  # invoices that nobody has paid, the newest first:
    # (payment_hash, wallet that made it)
    transfers: int  # from wallet to wallet, on their way
    transferred: int  # ... that came to their end
    wallets: int  # that were opened, and closed
    entry: int  # the newest one: moves that outweigh each other are moves

    @property
    def moving_msat(self) -> int:
        """Return what payouts under way may have taken from the rail, at most."""
        return sum(most_msat for _, most_msat in self.moving)


_SHEET = """
SELECT (SELECT coalesce(sum(CASE kind WHEN 'expense' THEN -balance ELSE balance END), 0)::bigint
          FROM kept_balance WHERE kind <> 'asset' AND asset = 'msat') AS due_msat,
       (SELECT coalesce(json_agg(json_build_array(a.payment_hash, p.amount + a.fee_limit_msat)
               ORDER BY a.payment_hash), '[]')
          FROM payout_attempt a JOIN payout p ON p.id = a.payout_id
         WHERE a.outcome = 'live' AND a.called_at IS NOT NULL) AS moving,
       (SELECT coalesce(json_agg(json_build_array(payment_hash, wallet)), '[]') FROM (
            SELECT payment_hash, wallet, expires_at FROM invoice WHERE check_at IS NOT NULL
             UNION ALL
            SELECT payment_hash, wallet, expires_at FROM lapsed_invoice WHERE check_at IS NOT NULL
             ORDER BY expires_at DESC, payment_hash LIMIT %(most)s) newest) AS unpaid,
       (SELECT count(*) FROM wallet_transfer
         WHERE rail = %(rail)s AND outcome = 'live') AS transfers,
       (SELECT count(*) FROM wallet_transfer
         WHERE rail = %(rail)s AND outcome <> 'live') AS transferred,
       (SELECT count(opened_at) + count(closed_at) FROM receiving_wallet
         WHERE rail = %(rail)s) AS wallets,
       (SELECT coalesce(max(id), 0) FROM entry WHERE asset = 'msat') AS entry
"""


async def rail_sheet(db: Database, rail: str, most_unpaid: int | None) -> RailSheet:
    """Return what the books say that the rail should hold, and what may be on its way.

    Of unpaid invoices at most so many are told; None: all of them.
    """
    [row] = await db.read_whole(_SHEET, most=most_unpaid, rail=rail)
    moving = tuple((payment_hash, most_msat) for payment_hash, most_msat in row["moving"])
    unpaid = tuple((payment_hash, wallet) for payment_hash, wallet in row["unpaid"])
    still = (row["transfers"], row["transferred"], row["wallets"], row["entry"])
    return RailSheet(row["due_msat"], moving, unpaid, *still)


# Stuck is what needs a person: in flight for an hour, or owed to a destination that failed.
_UNPAID = f"""
SELECT id, job_id, session_id, batch_id, account_id, reason, state, amount, asset, attempts,
       failures, refund_to, note, created_at, updated_at,
       CASE WHEN state = 'in_flight' AND updated_at < %(before)s THEN 'stuck'
            WHEN state = 'owed' AND failures >= {MOST_FAILURES} THEN 'stuck'
            ELSE state END AS standing
  FROM payout WHERE state <> 'paid'
"""
_WATCHED = f"""{_UNPAID}
   AND (state = 'in_flight' OR (state = 'owed' AND failures >= {MOST_FAILURES}))
 ORDER BY updated_at, id LIMIT %(most)s
"""
_WAITING = f"""{_UNPAID} AND state = 'owed' AND failures < {MOST_FAILURES}
 ORDER BY created_at DESC LIMIT %(most)s
"""


class UnpaidPayout(NamedTuple):
    """A payout that is not paid. `standing`: owed, in_flight or stuck."""

    id: str
    job_id: str | None
    session_id: str | None
    batch_id: str | None
    account_id: str | None
    reason: Reason
    state: PayoutState
    amount: int
    asset: Asset
    attempts: int
    failures: int
    refund_to: str | None
    note: str | None
    created_at: datetime
    updated_at: datetime
    standing: str

    @property
    def amount_msat(self) -> int:
        """Return what is owed, of what is owed in msat."""
        return msat_of(self)


async def unpaid_payouts(db: Database, now: datetime) -> list[UnpaidPayout]:
    """Return payouts that are not paid, oldest first."""
    query = f"{_UNPAID} ORDER BY created_at, id"
    return await db.rows(UnpaidPayout, query, before=now - STUCK_AFTER)


async def watched_payouts(db: Database, now: datetime, most: int) -> list[UnpaidPayout]:
    """Return payouts on their way, and those whose destination has failed, the oldest first."""
    return await db.rows(UnpaidPayout, _WATCHED, before=now - STUCK_AFTER, most=most)


async def waiting_payouts(db: Database, now: datetime, most: int) -> list[UnpaidPayout]:
    """Return what is owed back and waits for its owner, or to be sent, the newest first."""
    return await db.rows(UnpaidPayout, _WAITING, before=now - STUCK_AFTER, most=most)


async def payouts_by_standing(
    db: Database, now: datetime, asset: Asset = Asset.MSAT
) -> dict[str, tuple[int, int]]:
    """Return how many payouts in an asset are owed, in flight and stuck, and what they add up to.

    Each counts once.
    """
    rows = await db.read_all(
        "SELECT standing, count(*) AS n, sum(amount)::bigint AS amount"
        f" FROM ({_UNPAID} AND asset = %(asset)s) AS unpaid GROUP BY standing",
        before=now - STUCK_AFTER,
        asset=asset.value,
    )
    found = {row["standing"]: (row["n"], row["amount"]) for row in rows}
    return {name: found.get(name, (0, 0)) for name in ("owed", "in_flight", "stuck")}


async def sessions_by_state(db: Database) -> dict[str, int]:
    """Return how many sessions are in each state that any is in."""
    rows = await db.read_whole("SELECT state, count(*) AS n FROM session GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


async def prepaid_msat(db: Database) -> int:
    """Return what rests on all sessions together."""
    [row] = await db.read_whole(
        "SELECT coalesce(sum(balance), 0)::bigint AS msat FROM account"
        " WHERE starts_with(name, 'session:') AND asset = 'msat'"
    )
    return int(row["msat"])


async def jobs_by_state(db: Database) -> dict[str, int]:
    """Return how many jobs are in each state that any is in."""
    rows = await db.read_whole("SELECT state, count(*) AS n FROM job GROUP BY state")
    return {row["state"]: row["n"] for row in rows}
