"""Each rail is asked what became of payouts in flight."""

from contextlib import suppress

from app.ports import Clock
from app.promises.keeping import Keeper
from db import payouts, usdc_attempts
from db.engine import Database
from db.promises import TryAgain

BATCH = 100
PAUSE_S = 300  # longest pause between two questions about one


class Payouts:
    """Asks about what was sent."""

    def __init__(self, db: Database, keeper: Keeper, clock: Clock, sweep_s: int) -> None:
        self._db, self._keeper, self._clock = db, keeper, clock
        self._pause_s = min(5, sweep_s)  # the shortest one

    async def turn(self) -> None:
        """Ask about those whose turn it is."""
        now = self._clock()
        due = await self._db.run(
            "due_payouts",
            lambda tx: payouts.take_due(tx, now, self._pause_s, PAUSE_S, BATCH),
            alone=True,
        )
        for payout_id, number in due:
            with suppress(TryAgain):  # nothing was sent: its turn comes again
                await self._keeper.ask(payout_id, number)
        orders = await self._db.run(
            "due_orders",
            lambda tx: usdc_attempts.take_due(tx, now, self._pause_s, PAUSE_S, BATCH),
            alone=True,
        )
        for payout_id, number in orders:
            await self._keeper.usdc.ask(payout_id, number)
