"""Whole paid jobs a second: created, paid twice, judged, worked on by an instant agent, complete.

HTTP is one process, and promises are kept by one other process, or by two.
"""

import tempfile
from dataclasses import replace

from .rows import Row, Want
from .slices import Pace, Pair, Target, buying, compare
from .stand import Stand

BUYERS = 16


def rows(stand: Stand, pace: Pace) -> list[Row]:
    """Measure with one worker process and with two; then with `boltwork serve` by itself."""
    one, two = (_with_workers(stand, count) for count in (1, 2))
    # A job takes many turns: in a short slice few would end.
    slow = replace(pace, slice_s=pace.slice_s * 3, warm_s=pace.slice_s)
    told = (Want("rate"), Want("cpu"))
    pair = Pair("whole paid jobs", two, one, told, ("2 workers", "1 worker"))
    measured = [compare(pair, stand, slow)]
    if not pace.quick:
        whole = buying(stand.server("house", stand.database()), at_once=BUYERS)
        pair = Pair("whole paid jobs", whole, one, told, ("one process", "HTTP and 1 worker"))
        measured.append(compare(pair, stand, slow))
    return measured


def _with_workers(stand: Stand, count: int) -> Target:
    url = stand.database()
    folder = tempfile.mkdtemp(dir=stand.folder)  # one stub rail for all of them
    server = stand.server("house", url, worker=False, folder=folder)
    workers = [stand.server("worker", url, folder=folder) for _ in range(count)]
    return buying(server, at_once=BUYERS, beside=[process for process, _ in workers])
