"""The rail is asked what became of payouts in flight."""

from contextlib import suppress

from app.parts import Parts
from app.promises.keeping import Keeper
from db import payouts
from db.promises import TryAgain

BATCH = 100
PAUSE_S = 300  # longest pause between two questions about one


class Payouts:
    """Asks about what was sent."""

    def __init__(self, parts: Parts, keeper: Keeper) -> None:
        self._parts, self._keeper = parts, keeper

    async def turn(self) -> None:
        """Ask about those whose turn it is."""
        now, sweep_s = self._parts.clock(), self._parts.settings.sweep_s
        due = await self._parts.db.run(
            "due_payouts",
            lambda tx: payouts.take_due(tx, now, min(5, sweep_s), PAUSE_S, BATCH),
        )
        for payout_id, number in due:
            with suppress(TryAgain):  # nothing was sent: its turn comes again
                await self._keeper.ask(payout_id, number)
