"""Whole paid jobs a second: created, paid twice, judged, worked on by an instant agent, complete.

HTTP is one process, and promises are kept by one other process, or by two.
"""

import tempfile
from dataclasses import replace

from .rows import Row, Want
from .slices import Pace, Pair, buying, compare
from .stand import Server, Stand

BUYERS = 16


def rows(stand: Stand, pace: Pace) -> list[Row]:
    """Measure with one worker process and with two; then with `boltwork serve` by itself."""
    one, two = (_with_workers(stand, count) for count in (1, 2))
    alone = stand.server("house", stand.database())
    whole = buying(alone, at_once=BUYERS)
    targets = [
        buying(server, at_once=BUYERS, beside=[process for process, _ in workers])
        for server, workers in (one, two)
    ]
    told = (Want("rate"), Want("cpu"))
    # A job takes many turns: in a short slice few would end.
    slow = replace(pace, slice_s=pace.slice_s * 3, warm_s=pace.slice_s)
    return [
        compare(
            Pair("whole paid jobs", targets[1], targets[0], told, ("2 workers", "1 worker")),
            stand,
            slow,
        ),
        compare(
            Pair("whole paid jobs", whole, targets[0], told, ("one process", "1 worker")),
            stand,
            slow,
        ),
    ]


def _with_workers(stand: Stand, count: int) -> tuple[Server, list[Server]]:
    url = stand.database()
    folder = tempfile.mkdtemp(dir=stand.folder)  # one stub rail for all of them
    server = stand.server("house", url, worker=False, folder=folder)
    return server, [stand.server("worker", url, folder=folder) for _ in range(count)]
