"""Who can make a model just now: the house's own maker, and workers of the network."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final, NamedTuple

from app.loops.readiness import maker
from app.ports import Clock
from app.trade.catalogue import NETWORK, Listed
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

    async def of(self, listed: Listed, tiers: Iterable[str]) -> There:
        """Return how many can make a model, and each of its tiers."""
        model = listed.offering.id
        lanes = {tier: lane_of(model, tier) for tier in tiers}
        there = await self.in_lanes(listed, lanes.values())
        far = (await self._far()).by_model.get(model, 0) if listed.is_lent else 0
        by_tier = {tier: there[lane] for tier, lane in lanes.items()}
        return There(int(self._has_own(listed)) + far, by_tier)

    async def in_lanes(self, listed: Listed, lanes: Iterable[str]) -> dict[str, int]:
        """Return how many can make what waits in each of a model's lanes."""
        own = int(self._has_own(listed))
        far = (await self._far()).by_lane if listed.is_lent else {}
        return {lane: own + far.get(lane, 0) for lane in lanes}

    async def is_there(self, listed: Listed) -> bool:
        """Say whether somebody can make a model that isn't asked for by the tier."""
        model = listed.offering.id
        return (await self.in_lanes(listed, [model]))[model] > 0

    def _has_own(self, listed: Listed) -> bool:
        """Say whether the house's own maker of a model is there, and well."""
        if not listed.is_open or listed.made_by == NETWORK:
            return False
        return self.trouble(maker(listed.made_by)) is None

    async def _far(self) -> _Far:
        now = monotonic()
        if self._seen is None or self._seen[0] <= now - HOLDS_S:
            at = self.clock()
            lanes = {row.lane: row.workers for row in await workers.available(self.db, at)}
            models = {row.model: row.workers for row in await workers.of_tiers(self.db, at)}
            self._seen = now, _Far(lanes, models)
        return self._seen[1]
