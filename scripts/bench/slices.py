"""Compares two servers by short slices in turn, A, B, A, B: both meet the same weather.

A pair is judged as a pair: its ratios are those of two neighbours in time, and the row's ratio is
the median of them. CPU is the server process's own, from the kernel, and not from the clock.

A slice is disturbed when programs that are no part of the measurement (or a hypervisor that takes
the processor away) used more than DISTURBED of the machine in it. Such a pair is dropped for its
cause, never for its result. On a machine that is never quiet, the quieter half is kept instead,
and the row says what remained of the noise.
"""

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from .stand import Stand

SLICE_S = 1.0
DISTURBED = 0.10  # of all processors together


@dataclass(frozen=True)
class Target:
    """What is asked of which server, and the status it answers with."""

    pid: int
    port: int
    request: str
    status: int = 200


@dataclass(frozen=True)
class Pair:
    """A row to be measured: ours, the ceiling, and what ratio of the rates is aimed at."""

    name: str
    ours: Target
    ceiling: Target
    rate_target: float


@dataclass(frozen=True)
class Slice:
    """What one second of load came to."""

    rate: float
    cpu_us: float  # of the server, a request
    load_cpu_us: float
    latencies_us: list[int]
    foreign: float  # share of the machine that others used


@dataclass(frozen=True)
class Side:
    """The kept slices of one server, as one line."""

    rate: float
    cpu_us: float
    load_cpu_us: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Row:
    """A measured row."""

    name: str
    ours: Side
    ceiling: Side
    rate_ratio: float
    rate_ratio_quartiles: tuple[float, float]
    cpu_ratio: float
    kept: int
    measured: int
    foreign: float
    rate_target: float

    @property
    def passes(self) -> bool:
        """Whether the rate is what was aimed at."""
        return self.rate_ratio >= self.rate_target


def compare(pair: Pair, stand: Stand, seconds: int) -> Row:
    """Measure both in turn for so many seconds, the first slice of each uncounted."""
    for target in (pair.ours, pair.ceiling):
        _slice(target, stand)
    both = [
        (_slice(pair.ours, stand), _slice(pair.ceiling, stand))
        for _ in range(max(2, round(seconds / SLICE_S / 2)))
    ]
    kept = undisturbed(both)
    rates = [ours.rate / ceiling.rate for ours, ceiling in kept]
    low, _, high = statistics.quantiles(rates, n=4, method="inclusive")
    return Row(
        name=pair.name,
        ours=_side([ours for ours, _ in kept]),
        ceiling=_side([ceiling for _, ceiling in kept]),
        rate_ratio=statistics.median(rates),
        rate_ratio_quartiles=(low, high),
        cpu_ratio=statistics.median(ours.cpu_us / ceiling.cpu_us for ours, ceiling in kept),
        kept=len(kept),
        measured=len(both),
        foreign=statistics.median(max(a.foreign, b.foreign) for a, b in kept),
        rate_target=pair.rate_target,
    )


def undisturbed(both: list[tuple[Slice, Slice]]) -> list[tuple[Slice, Slice]]:
    """Return the pairs that count, by the rule at the head of this file."""
    quiet_first = sorted(both, key=lambda pair: max(pair[0].foreign, pair[1].foreign))
    quiet = [pair for pair in both if max(pair[0].foreign, pair[1].foreign) <= DISTURBED]
    half = quiet_first[: max(2, len(both) // 2)]
    return quiet if len(quiet) >= len(half) else half


def _slice(target: Target, stand: Stand) -> Slice:
    busy, own, began = _busy_s(), stand.cpu_s(), time.monotonic()
    measured = stand.load.ask(
        pid=target.pid,
        port=target.port,
        request=target.request,
        status=target.status,
        seconds=SLICE_S,
    )
    foreign_s = (_busy_s() - busy) - (stand.cpu_s() - own)
    machine_s = (time.monotonic() - began) * (os.cpu_count() or 1)
    return Slice(**measured, foreign=max(0.0, foreign_s / machine_s))


def _busy_s() -> float:
    """Return the seconds in which a processor did anything for anybody, or was taken away."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0]
    user, nice, system, _, _, irq, softirq, steal = (int(ticks) for ticks in first.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / 100


def _side(slices: list[Slice]) -> Side:
    latencies = sorted(latency for each in slices for latency in each.latencies_us)
    return Side(
        rate=statistics.median(each.rate for each in slices),
        cpu_us=statistics.median(each.cpu_us for each in slices),
        load_cpu_us=statistics.median(each.load_cpu_us for each in slices),
        p50_ms=latencies[len(latencies) // 2] / 1000,
        p99_ms=latencies[len(latencies) * 99 // 100] / 1000,
    )
