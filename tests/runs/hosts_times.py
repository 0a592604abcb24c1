"""How long what buyers ask for takes, before a fault and after it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

LOOKS_S = 10.0  # one window in which times are compared
BEFORE_S = 30.0
WORSE, MORE_S = 1.5, 0.25  # what counts as being back: within this of before


@dataclass
class Times:
    """Each request that was answered: when it was first sent (time.monotonic), and how long it took
    with all repetitions; and each that had to be repeated, and why."""

    took: list[tuple[float, float]] = field(default_factory=list)
    repeated: list[tuple[float, str]] = field(default_factory=list)

    def p99_s(self, from_s: float, to_s: float) -> float | None:
        """Return what 99 of 100 requests took no longer than that began in this time."""
        took_s = sorted(took for began, took in self.took if from_s <= began < to_s)
        return took_s[math.ceil(len(took_s) * 0.99) - 1] if took_s else None

    def around(self, fault: str, at_s: float, mended_s: float, now_s: float) -> "Around":
        """Return what a fault was to buyers: from when it began, over when it was mended."""
        was = Times([(began, took) for began, took in self.took if began + took <= at_s])
        before = was.p99_s(at_s - BEFORE_S, at_s) or 0.0
        limit = max(WORSE * before, before + MORE_S)
        back = next((at for at in self._windows(at_s, now_s) if self._is_good(at, limit)), None)
        after = None if back is None else self.p99_s(back, now_s)
        repeated = [why for at, why in self.repeated if at_s <= at <= now_s]
        return Around(
            fault, before, self.p99_s(at_s, at_s + BEFORE_S), after,
            None if back is None else back - at_s, mended_s - at_s, self._silence_s(at_s, now_s),
            len(repeated), tuple(sorted(set(repeated))),
        )  # fmt: skip

    def _windows(self, at_s: float, now_s: float) -> Iterator[float]:
        count = max(0, int(now_s - LOOKS_S - at_s) + 1)
        return (at_s + second for second in range(count))

    def _is_good(self, at_s: float, limit_s: float) -> bool:
        p99_s = self.p99_s(at_s, at_s + LOOKS_S)
        return p99_s is not None and p99_s <= limit_s

    def _silence_s(self, from_s: float, to_s: float) -> float:
        """Return the longest time in which nothing was answered."""
        answered = sorted(began + took for began, took in self.took)
        moments = [from_s, *(at for at in answered if from_s <= at <= to_s), to_s]
        return max(later - at for at, later in pairwise(moments))


@dataclass(frozen=True)
class Around:
    """What a fault was to buyers, in seconds."""

    fault: str
    before_p99_s: float
    during_p99_s: float | None
    after_p99_s: float | None
    back_after_s: float | None  # None: it never was as before
    mended_after_s: float
    silence_s: float
    repeated: int
    why: tuple[str, ...]

    def __str__(self) -> str:
        def shown(value: float | None) -> str:
            return "-" if value is None else f"{value:.2f}"

        return (
            f"{self.fault:8} p99 before {shown(self.before_p99_s)} s, in its first"
            f" {BEFORE_S:.0f} s {shown(self.during_p99_s)} s, after {shown(self.after_p99_s)} s;"
            f" back after {shown(self.back_after_s)} s, mended after"
            f" {shown(self.mended_after_s)} s; longest silence {shown(self.silence_s)} s;"
            f" {self.repeated} repeated ({', '.join(self.why) or 'none'})"
        )
