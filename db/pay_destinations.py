"""Where the pay of workers goes: as it is, as it waits to be, and what is owed elsewhere."""

from typing import NamedTuple

from db.engine import Tx
from db.workers import WorkerRow
from statemachine.entries import Asset
from statemachine.pay_destination import Directions
from statemachine.payout import MOST_FAILURES

MOST_FOLLOWED = 100  # payouts that are sent elsewhere in one transaction

_DIRECT = """
UPDATE worker SET pay_to = %(pay_to)s, usdc_to = %(usdc_to)s, signed = %(signed)s,
       next_pay_to = %(next_pay_to)s, next_usdc_to = %(next_usdc_to)s, next_at = %(next_at)s
 WHERE id = %(id)s
"""


def directions_of(row: WorkerRow) -> Directions:
    """Return the law's view of a row."""
    return Directions(
        row.id,
        row.pay_to,
        row.usdc_to,
        row.payout_key,
        row.signed,
        row.next_pay_to,
        row.next_usdc_to,
        row.next_at,
    )


def as_after(row: WorkerRow, after: Directions) -> WorkerRow:
    """Return a row whose directions are these."""
    return row._replace(
        pay_to=after.pay_to,
        usdc_to=after.usdc_to,
        signed=after.signed,
        next_pay_to=after.next_pay_to,
        next_usdc_to=after.next_usdc_to,
        next_at=after.next_at,
    )


async def direct(tx: Tx, after: Directions) -> None:
    """Write where a locked worker's pay goes."""
    await tx.execute(
        _DIRECT,
        id=after.worker_id,
        pay_to=after.pay_to,
        usdc_to=after.usdc_to,
        signed=after.signed,
        next_pay_to=after.next_pay_to,
        next_usdc_to=after.next_usdc_to,
        next_at=after.next_at,
    )


class Strayed(NamedTuple):
    """A payout that is owed, and goes nowhere, or elsewhere than its worker's pay does."""

    id: str
    asset: Asset


_STRAYED = """
SELECT id, asset FROM payout
 WHERE account_id = %(account_id)s AND state = 'owed'
   AND (asset = 'msat' OR CAST(%(usdc_to)s AS text) IS NOT NULL)
   AND (failures >= %(failures)s OR refund_to IS DISTINCT FROM
        CASE asset WHEN 'msat' THEN CAST(%(pay_to)s AS text) ELSE %(usdc_to)s END)
 ORDER BY created_at, id LIMIT %(most)s
"""


async def strayed(tx: Tx, account_id: str, pay_to: str, usdc_to: str | None) -> list[Strayed]:
    """Return what is owed to a locked worker and would not go where its pay goes."""
    return await tx.rows(
        Strayed,
        _STRAYED,
        account_id=account_id,
        pay_to=pay_to,
        usdc_to=usdc_to,
        failures=MOST_FAILURES,
        most=MOST_FOLLOWED,
    )
