"""What the books say of USDC: what the addresses must hold, and what may be on its way."""

from datetime import datetime
from typing import NamedTuple

from db.chain_blocks import Watch
from db.engine import Database
from statemachine.entries import (
    EXPENSE_FAILED,
    EXPENSE_FREE,
    EXPENSE_ROUTING,
    RAIL_USDC,
    REVENUE_EVAL,
    REVENUE_FREE,
    REVENUE_MEDIA,
    REVENUE_WORK,
    UNCLAIMED,
)


class UsdcSheet(NamedTuple):
    """The books in millionths of a USDC, in one snapshot. Two equal ones: nothing moved."""

    held: int  # what must be there
    earned: int
    unclaimed: int  # sent to us by nobody that we know
    moving: int  # orders of ours whose outcome is not known
    arriving: int  # orders of buyers, likewise
    recent: int  # came in so lately that a chain may not show it at its depth yet
    waiting: int  # owed back, and not sent
    entry: int  # the newest one
    # Up to which block transfers without an order were read; None: none was yet.
    read_number: int | None
    read_hash: str | None
    read_at: datetime | None

    @property
    def owed(self) -> int:
        """What belongs to others, whatever for."""
        return self.held - self.earned

    @property
    def is_used(self) -> bool:
        """Say whether anything was ever paid in it."""
        return self.entry > 0 or self.arriving > 0


# What is held is what one account of the books says, and what is earned those of a few names: the
# rest is read by indexes of what is open, or new. None of it grows with how much is done.
_SHEET = """
SELECT coalesce((SELECT balance FROM kept_balance
          WHERE name = %(rail)s AND asset = 'microusdc'), 0) AS held,
       (SELECT coalesce(sum(CASE kind WHEN 'expense' THEN -balance ELSE balance END), 0)::bigint
          FROM kept_balance WHERE name = ANY(%(earned)s) AND asset = 'microusdc') AS earned,
       coalesce((SELECT balance FROM account
          WHERE name = %(unclaimed)s AND asset = 'microusdc'), 0) AS unclaimed,
       (SELECT coalesce(sum(amount_microusdc), 0)::bigint FROM usdc_attempt
         WHERE check_at IS NOT NULL) AS moving,
       (SELECT coalesce(sum(amount_microusdc), 0)::bigint FROM usdc_authorization
         WHERE check_at IS NOT NULL) AS arriving,
       (SELECT coalesce(sum(p.amount), 0)::bigint
          FROM (SELECT id FROM entry WHERE asset = 'microusdc' AND at > %(since)s) e
               CROSS JOIN LATERAL (SELECT amount FROM posting WHERE entry_id = e.id
                   AND account = %(rail)s AND amount > 0 LIMIT 1) p) AS recent,
       (SELECT coalesce(sum(amount), 0)::bigint FROM payout
         WHERE state = 'owed' AND failures < 3 AND asset = 'microusdc')
     + (SELECT coalesce(sum(amount), 0)::bigint FROM payout
         WHERE (state = 'in_flight' OR (state = 'owed' AND failures >= 3)) AND state = 'owed'
           AND asset = 'microusdc') AS waiting,
       coalesce((SELECT id FROM entry WHERE asset = 'microusdc'
          ORDER BY id DESC LIMIT 1), 0) AS entry,
       read.number AS read_number, read.hash AS read_hash, read.at AS read_at
  FROM (VALUES (1)) AS one
       LEFT JOIN LATERAL (SELECT number, hash, at FROM chain_block
           WHERE network = %(network)s AND pay_to = %(pay_to)s
           ORDER BY number DESC LIMIT 1) read ON true
"""
_EARNED = [account.name for account in (REVENUE_MEDIA, REVENUE_WORK, REVENUE_EVAL, REVENUE_FREE,
                                        EXPENSE_ROUTING, EXPENSE_FREE, EXPENSE_FAILED)]  # fmt: skip


async def usdc_sheet(db: Database, since: datetime, watch: Watch) -> UsdcSheet:
    """Return the books in USDC as they are now; what came in since then is recent. `watch`: of
    which address transfers are read.
    """
    names = {"rail": RAIL_USDC.name, "unclaimed": UNCLAIMED.name, "earned": _EARNED}
    sheet = await db.row(UsdcSheet, _SHEET, since=since, **names, **watch._asdict())
    assert sheet is not None
    return sheet
