"""Compares two servers by short slices in turn, A, B, A, B: both meet the same weather.

A pair is judged as a pair: its ratios are those of two neighbours in time, and the row's ratio is
the median of them. CPU is the server process's own, from the kernel, and not from the clock.

A slice is disturbed when programs that are no part of the measurement (or a hypervisor that takes
the processor away) used more than DISTURBED of the machine in it. Such a pair is dropped for its
cause, never for its result. On a machine that is never quiet, the quieter half is kept instead,
and the row says what remained of the noise.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .rows import Row, Side, Verdict, Want
from .stand import Broken, Process, Stand

DISTURBED = 0.10  # of all processors together


@dataclass(frozen=True)
class Pace:
    """How long is measured: seconds of load for each row, in slices of so many."""

    seconds: float = 24
    slice_s: float = 1.0
    warm_s: float = 0.2
    quick: bool = False

    def rounds(self, share: float = 1.0) -> int:
        """Return how many pairs of slices a row is made of."""
        return max(2, round(self.seconds * share / self.slice_s / 2))


QUICK = Pace(seconds=1.2, slice_s=0.3, warm_s=0.15, quick=True)


@dataclass(frozen=True)
class Target:
    """What is asked, in which way, and whose CPU is counted."""

    pids: tuple[int, ...]
    order: dict[str, Any]


def closed(
    server: tuple[Process, int],
    *requests: str,
    status: int = 200,
    connections: int = 8,
    beside: Sequence[Process] = (),
) -> Target:
    """Return these requests in a closed loop over so many connections."""
    process, port = server
    order = {"port": port, "requests": list(requests), "status": status}
    pids = (process.pid, *(each.pid for each in beside))
    return Target(pids, {"load": "closed", "connections": connections, **order})


def arriving(server: tuple[Process, int], rate: float, *requests: str, status: int = 200) -> Target:
    """Return these requests at a pace of their own, so many a second."""
    process, port = server
    order = {"port": port, "requests": list(requests), "status": status}
    return Target((process.pid,), {"load": "open", "rate": rate, **order})


def buying(
    server: tuple[Process, int],
    *,
    at_once: int = 0,
    rate: float = 0,
    beside: Sequence[Process] = (),
) -> Target:
    """Return buyers of whole jobs: so many at once, or so many that arrive in a second."""
    process, port = server
    pids = (process.pid, *(each.pid for each in beside))
    return Target(pids, {"load": "buyers", "port": port, "at_once": at_once, "rate": rate})


@dataclass(frozen=True)
class Pair:
    """A row to be measured: ours, its peer or ceiling, and which ratios are aimed at."""

    name: str
    ours: Target
    peer: Target
    wants: tuple[Want, ...]
    names: tuple[str, str] = ("Boltwork", "ceiling")
    note: str = ""


@dataclass(frozen=True)
class Slice:
    """What a short time of load came to."""

    rate: float
    cpu_us: float  # of the server, a request
    load_cpu_us: float
    latencies_us: list[int]
    foreign: float  # share of the machine that others used

    def of(self, what: str) -> float:
        """Return one of the figures that rows are held to."""
        if what in ("rate", "cpu"):
            return self.rate if what == "rate" else self.cpu_us
        return percentile(self.latencies_us, int(what[1:]))


Pairs = list[tuple[Slice, Slice]]


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value below which so many percent lie."""
    in_order = sorted(values)
    return in_order[min(len(in_order) - 1, len(in_order) * percent // 100)]


def in_turn(ours: Callable[[], Slice], peer: Callable[[], Slice], rounds: int) -> Pairs:
    """Measure both in turn, the first slice of each uncounted."""
    ours(), peer()
    return [(ours(), peer()) for _ in range(rounds)]


def compare(pair: Pair, stand: Stand, pace: Pace, share: float = 1.0) -> Row:
    """Measure both in turn for the time of one row, or a share of it."""
    both = in_turn(
        lambda: measured(pair.ours, stand, pace),
        lambda: measured(pair.peer, stand, pace),
        pace.rounds(share),
    )
    return row_of(pair.name, both, pair.wants, pair.names, pair.note)


def row_of(
    name: str, both: Pairs, wants: Sequence[Want], names: tuple[str, str], note: str = ""
) -> Row:
    """Return the row that pairs of slices come to."""
    kept = undisturbed(both)
    verdicts = []
    for want in wants:
        ratios = [ours.of(want.what) / peer.of(want.what) for ours, peer in kept]
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        says = f"{want.what} ÷ {names[1]}"
        verdicts.append(Verdict(says, statistics.median(ratios), want, (low, high)))
    sides = {
        names[0]: side_of([ours for ours, _ in kept]),
        names[1]: side_of([peer for _, peer in kept]),
    }
    foreign = statistics.median(max(a.foreign, b.foreign) for a, b in kept)
    return Row(name, sides, tuple(verdicts), len(kept), len(both), foreign, note)


def alone(
    name: str, target: Target, stand: Stand, pace: Pace, wants: Sequence[Want], note: str = ""
) -> Row:
    """Measure one server by itself: what is wanted are not ratios but milliseconds or a rate."""
    measured(target, stand, pace)
    slices = [measured(target, stand, pace) for _ in range(pace.rounds() * 2)]
    kept = [one for one, _ in undisturbed([(each, each) for each in slices])]
    side = side_of(kept)
    told = {"rate": side.rate, "p50": side.p50_ms, "p99": side.p99_ms}
    verdicts = [Verdict(want.what, told[want.what] or 0, want) for want in wants]
    foreign = statistics.median(each.foreign for each in kept)
    return Row(name, {"Boltwork": side}, tuple(verdicts), len(kept), len(slices), foreign, note)


def undisturbed(both: Pairs) -> Pairs:
    """Return the pairs that count, by the rule at the head of this file."""
    quiet_first = sorted(both, key=lambda pair: max(pair[0].foreign, pair[1].foreign))
    quiet = [pair for pair in both if max(pair[0].foreign, pair[1].foreign) <= DISTURBED]
    half = quiet_first[: max(2, len(both) // 2)]
    return quiet if len(quiet) >= len(half) else half


def measured(target: Target, stand: Stand, pace: Pace) -> Slice:
    """Measure one slice."""
    weather = stand.weather()
    told = stand.load.ask(
        pids=list(target.pids), warm_s=pace.warm_s, seconds=pace.slice_s, **target.order
    )
    if "wrong" in told:
        raise Broken(f"unexpected answer: {told['wrong']}")
    return Slice(**told, foreign=weather())


def side_of(slices: Sequence[Slice]) -> Side:
    """Return the kept slices of one server as one line; percentiles are those of all together."""
    latencies = [latency for each in slices for latency in each.latencies_us]
    return Side(
        rate=statistics.median(each.rate for each in slices),
        cpu_us=statistics.median(each.cpu_us for each in slices),
        p50_ms=percentile(latencies, 50) / 1000,
        p99_ms=percentile(latencies, 99) / 1000,
    )
