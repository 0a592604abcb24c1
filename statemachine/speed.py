"""How fast a worker is in a lane: measured by what it has delivered, the newest counting most.

Work is what an item weighs: its price, which follows its size. So one that costs four times as much
is expected to take four times as long.
"""

from dataclasses import dataclass
from datetime import timedelta

KNOWN_AFTER = 3  # items; before, nothing is known
FADES = 8  # with each item, one part of so many of what was measured before is forgotten
TIMES = 4  # a worker may take so many times as long as it is expected to
LEAST = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Speed:
    """What a worker's deliveries in a lane came to."""

    took_ms: int = 0  # from their claims on
    work: int = 0
    items: int = 0

    def after(self, took_ms: int, work: int) -> "Speed":
        """Return it with one more delivery."""
        kept_ms, kept = self.took_ms - self.took_ms // FADES, self.work - self.work // FADES
        return Speed(kept_ms + took_ms, kept + work, self.items + 1)

    def expected_ms(self, work: int) -> int | None:
        """Return how long so much work takes it; None: nobody knows yet."""
        if self.items < KNOWN_AFTER or not self.work:
            return None
        return work * self.took_ms // self.work


def longest(house: timedelta, expected_ms: int | None, in_hand: int = 1) -> timedelta:
    """Return how long a lease lasts that its holder beats: the house's time, or less where the
    holder's speed is known. `in_hand`: how many items it holds with this one, and makes in turn.
    """
    if expected_ms is None:
        return house
    return min(house, max(LEAST, TIMES * in_hand * timedelta(milliseconds=expected_ms)))
