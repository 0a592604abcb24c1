"""What a load counts while its window is open, and the CPU that servers used meanwhile.

Nothing is fast because it failed: the first answer that was not expected ends the measurement.
"""

import time
from dataclasses import dataclass, field
from typing import Protocol


@dataclass
class Window:
    """What was counted while it was open."""

    is_open: bool = False
    is_over: bool = False
    latencies_us: list[int] = field(default_factory=list)
    wrong: bytes | None = None  # how the first answer began that was not expected

    @property
    def has_any(self) -> bool:
        """Say whether there is an answer yet, right or wrong."""
        return bool(self.latencies_us) or self.wrong is not None

    def count(self, began: float) -> None:
        """Count one answer, by when its question was due (by perf_counter)."""
        if self.is_open:
            self.latencies_us.append(int((time.perf_counter() - began) * 1e6))


class Load(Protocol):
    """One way of asking."""

    async def begin(self) -> None:
        """Begin to ask, and go on by itself."""
        ...

    async def end(self) -> None:
        """Ask no more. What is still to be counted is waited for."""
        ...


def cpu_of(pid: int) -> float:
    """Return the CPU seconds, user and system, that a process has used, in all of its threads.

    This is the clock that clock_getcpuclockid(3) names: nanoseconds, where /proc/PID/stat has
    hundredths.
    """
    return time.clock_gettime((~pid << 3) | 2)
