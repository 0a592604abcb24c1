"""Whether anything is sold just now, and to whom: what can't be done must not be paid for."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from app.loops.readiness import Readiness
from app.ports import Clock
from app.refusal import Refusal, Why, unavailable
from db import failures
from db.engine import Database

NEEDED = (
    ("agents", Why.NO_AGENT, "No agent is available"),
    ("price", Why.NO_PRICE, "There is no bitcoin price"),
)  # parts without which nothing can be done that is paid for
UNDOABLE_S = 15  # when to come back at the earliest, while nothing is sold
FAILURES_A_FREE_ONE = 10  # failures of one payer on a day, for each that is free, before he waits


@dataclass(frozen=True, slots=True)
class Selling:
    """What every desk asks before it begins something new."""

    db: Database
    readiness: Readiness
    clock: Clock
    free_failures_per_day: int

    def check_can_be_done(self) -> None:
        """Refuse with 503 while what is bought could not be done."""
        for part, why, what in NEEDED:
            seen = self.readiness.last_seen(part)
            if seen is not None and seen.trouble is not None:
                raise unavailable(
                    why,
                    f"{what} just now, so nothing can be bought. Nothing was charged.",
                    self.readiness.retry_after_s(part, least_s=UNDOABLE_S),
                )

    async def check_welcome(self, payer: str | None) -> None:
        """Refuse with 429 a payer too many of whose requests have failed today at our cost."""
        if payer is None:
            return
        now, free = self.clock(), self.free_failures_per_day
        failed = await failures.of_payer(self.db, payer, now.date())
        if failed <= FAILURES_A_FREE_ONE * max(1, free):
            return
        tomorrow = datetime.combine(now.date() + timedelta(days=1), time(), now.tzinfo)
        raise Refusal(
            Why.TOO_MANY_FAILURES,
            f"Of your requests {failed} have failed today. Nothing was charged for this one.",
            "Come back tomorrow (UTC).",
            {"Retry-After": str(max(1, int((tomorrow - now).total_seconds())))},
        )
