"""Who can make a picture of a tier just now: the house's own maker, and workers of the network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final, NamedTuple

from app.loops.readiness import maker
from app.ports import Clock
from app.trade.catalogue import Listed
from app.trade.tiers import lane_of
from db import workers
from db.engine import Database

HOLDS_S: Final = 2.0  # a count is good for so long


@dataclass(frozen=True, slots=True)
class There:
    """How many can make a model in some tier, each counted once; and by the tier."""

    count: int
    by_tier: dict[str, int]


class _Far(NamedTuple):
    """How many workers of the network were heard of lately, by lane and by model."""

    by_lane: Mapping[str, int]
    by_model: Mapping[str, int]


@dataclass(slots=True)
class Availability:
    """How many can make what, as this process counted them last."""

    db: Database
    clock: Clock
    trouble: Callable[[str], str | None]  # of a part of readiness
    _seen: tuple[float, _Far] | None = None

    async def of(self, listed: Listed, tiers: Mapping[str, object]) -> There:
        """Return how many can make a model, and each of its tiers."""
        model, far = listed.offering.id, await self._far()
        own = int(listed.is_open and self.trouble(maker(listed.made_by)) is None)
        by_tier = {tier: own + far.by_lane.get(lane_of(model, tier), 0) for tier in tiers}
        return There(own + far.by_model.get(model, 0), by_tier)

    async def _far(self) -> _Far:
        now = monotonic()
        if self._seen is None or self._seen[0] <= now - HOLDS_S:
            at = self.clock()
            lanes = {row.lane: row.workers for row in await workers.available(self.db, at)}
            models = {row.model: row.workers for row in await workers.of_tiers(self.db, at)}
            self._seen = now, _Far(lanes, models)
        return self._seen[1]
