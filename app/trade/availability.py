"""Who can make a picture of a tier just now: the house's own maker, and workers of the network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final

from app.loops.readiness import maker
from app.ports import Clock
from app.trade.catalogue import Listed
from app.trade.tiers import lane_of
from db import workers
from db.engine import Database

HOLDS_S: Final = 2.0  # a count is good for so long


@dataclass(slots=True)
class Availability:
    """How many can make what, as this process counted them last."""

    db: Database
    clock: Clock
    trouble: Callable[[str], str | None]  # of a part of readiness
    _seen: tuple[float, Mapping[str, int]] | None = None

    async def of(self, listed: Listed, tiers: Mapping[str, object]) -> dict[str, int]:
        """Return how many can make each tier of a model."""
        model, far = listed.offering.id, await self._far()
        own = int(listed.is_open and self.trouble(maker(listed.made_by)) is None)
        return {tier: own + far.get(lane_of(model, tier), 0) for tier in tiers}

    async def _far(self) -> Mapping[str, int]:
        now = monotonic()
        if self._seen is None or self._seen[0] <= now - HOLDS_S:
            there = await workers.available(self.db, self.clock())
            self._seen = now, {row.lane: row.workers for row in there}
        return self._seen[1]
