"""How long a run takes: the median of the last ones, or what its offering says before the first."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from app.trade.catalogue import Catalogue
from db import runtimes
from db.engine import Database

HOLDS_S: Final = 5.0  # a look counts for so long


@dataclass(frozen=True, slots=True)
class Typical:
    """How long one run takes, and of how many that was measured; 0: of none yet."""

    ms: int
    runs: int


@dataclass(slots=True)
class Runtimes:
    """The measured runtimes of what is offered, as a process saw them last."""

    db: Database
    catalogue: Catalogue
    _seen: dict[str, tuple[float, Typical]] = field(default_factory=dict)

    async def of(self, models: Sequence[str]) -> dict[str, Typical]:
        """Return how long a run of each takes."""
        now = monotonic()
        stale = [name for name in models if self._seen.get(name, (0.0,))[0] <= now - HOLDS_S]
        if stale:
            measured = await runtimes.of(self.db, stale)
            for name in stale:
                found = measured.get(name)
                typical = Typical(found.median_ms, found.runs) if found else self._before(name)
                self._seen[name] = now, typical
        return {name: self._seen[name][1] for name in models}

    def _before(self, name: str) -> Typical:
        listed = self.catalogue.get(name)
        return Typical(listed.offering.typical_ms if listed else 10_000, 0)
