"""What the books say of USDC: what the addresses must hold, and what may be on its way."""

from datetime import datetime
from typing import NamedTuple

from db.engine import Database


class UsdcSheet(NamedTuple):
    """The books in millionths of a USDC, in one snapshot. Two equal ones: nothing moved."""

    held: int  # what must be there
    earned: int
    moving: int  # orders of ours whose outcome is not known
    arriving: int  # orders of buyers, likewise
    recent: int  # came in so lately that a chain may not show it at its depth yet
    waiting: int  # owed back, and not sent
    entry: int  # the newest one

    @property
    def owed(self) -> int:
        """What belongs to others, whatever for."""
        return self.held - self.earned

    @property
    def is_used(self) -> bool:
        """Say whether anything was ever paid in it."""
        return self.entry > 0 or self.arriving > 0


_SHEET = """
SELECT (SELECT coalesce(sum(CASE kind WHEN 'expense' THEN -balance ELSE balance END), 0)::bigint
          FROM account WHERE kind <> 'asset' AND asset = 'microusdc') AS held,
       (SELECT coalesce(sum(CASE kind WHEN 'expense' THEN -balance ELSE balance END), 0)::bigint
          FROM account WHERE kind IN ('income', 'expense') AND asset = 'microusdc') AS earned,
       (SELECT coalesce(sum(amount_microusdc), 0)::bigint FROM usdc_attempt
         WHERE outcome = 'live') AS moving,
       (SELECT coalesce(sum(amount_microusdc), 0)::bigint FROM usdc_authorization
         WHERE check_at IS NOT NULL) AS arriving,
       (SELECT coalesce(sum(p.amount), 0)::bigint FROM entry e JOIN posting p ON p.entry_id = e.id
         WHERE e.asset = 'microusdc' AND e.at > %(since)s AND p.account = 'rail:x402'
           AND p.amount > 0) AS recent,
       (SELECT coalesce(sum(amount), 0)::bigint FROM payout
         WHERE state = 'owed' AND asset = 'microusdc') AS waiting,
       (SELECT coalesce(max(id), 0) FROM entry WHERE asset = 'microusdc') AS entry
"""


async def usdc_sheet(db: Database, since: datetime) -> UsdcSheet:
    """Return the books in USDC as they are now; what came in since then is recent."""
    sheet = await db.row(UsdcSheet, _SHEET, since=since)
    assert sheet is not None
    return sheet
