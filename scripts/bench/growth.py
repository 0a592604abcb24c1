"""Growth: what is done a thousand times a day, on a database of a million jobs beside one of a
thousand, while the planner knows of a thousand and when it knows of all; and the claim of the next
promise, where as many wait.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .debits import debit_of
from .filling import KNOWN, analyse, fill_jobs, fill_promises, unheard_of
from .polls import bought, get
from .prepaid import Opened, many
from .rows import Row, Want
from .slices import Pace, Pair, Slice, closed, compare, in_turn, row_of
from .stand import Process, Server, Stand

FEW, MANY = KNOWN, 1_000_000
QUICK_MANY = 10_000
SESSIONS = 20
TOKEN = "of the measurement's operator"
WANTS = (Want("p50", most=1.3), Want("p99"))


@dataclass(frozen=True)
class Grown:
    """A database with so many jobs, and a server on it that keeps no promises."""

    count: int
    database_url: str
    server: Server
    sessions: list[Opened]
    job_ids: list[str]


def rows(stand: Stand, pace: Pace) -> Iterator[Row]:
    """Measure both, side by side, with stale statistics and with fresh ones."""
    count = QUICK_MANY if pace.quick else MANY
    with unheard_of(stand):
        waiting = _promised(stand, count), _promised(stand, FEW)
        grown = _grown(stand, count), _grown(stand, FEW)
        hand = stand.process("claims")
        yield from _compared("stale", stand, pace, grown, hand, waiting)
        for url in (*waiting, *(each.database_url for each in grown)):
            analyse(url)
        yield from _compared("fresh", stand, pace, grown, hand, waiting)


def _compared(
    known: str,
    stand: Stand,
    pace: Pace,
    grown: tuple[Grown, Grown],
    hand: Process,
    waiting: tuple[str, str],
) -> Iterator[Row]:
    large, small = grown
    names = (f"{large.count:,} jobs", f"{small.count:,} jobs")
    for name, ask in QUESTIONS.items():
        pair = Pair(
            f"{name} as jobs grow, {known} statistics",
            closed(large.server, *ask(large), connections=1),
            closed(small.server, *ask(small), connections=1),
            WANTS,
            names,
        )
        yield compare(pair, stand, pace, share=0.5)
    taking = [claimed_from(hand, url, pace, stand) for url in waiting]
    both = in_turn(taking[0], taking[1], pace.rounds(0.5))
    name = f"claim of the next promise as more wait, {known} statistics"
    yield row_of(name, both, WANTS, (f"{large.count:,} wait", f"{small.count:,} wait"))


def _polls(grown: Grown) -> list[str]:
    return [get(f"/api/jobs/{job_id}") for job_id in grown.job_ids]


def _debits(grown: Grown) -> list[str]:
    return [debit_of(session) for session in grown.sessions]


def _pages(grown: Grown) -> list[str]:
    return [get("/operator", f"Authorization: Bearer {TOKEN}\r\n")]


QUESTIONS: dict[str, Callable[[Grown], list[str]]] = {
    "poll": _polls,
    "debit": _debits,
    "operator page": _pages,
}


def _grown(stand: Stand, count: int) -> Grown:
    url, folder = stand.database(), str(stand.folder / f"grown-{count}")
    with stand.apart():
        first = stand.server("house", url, folder=folder)
        job_id, _, _ = asyncio.run(bought(first))
        sessions = asyncio.run(many(url, first, SESSIONS))
    fill_jobs(url, job_id, count)
    polled = [hashlib.md5(str(n).encode()).hexdigest() for n in range(1, count + 1, count // FEW)]
    settings = {"OPERATOR_TOKEN": TOKEN}
    server = stand.server("house", url, worker=False, folder=folder, settings=settings)
    return Grown(count, url, server, sessions, polled)


def _promised(stand: Stand, count: int) -> str:
    url = stand.database()
    fill_promises(url, count)
    return url


def claimed_from(hand: Process, database_url: str, pace: Pace, stand: Stand) -> Callable[[], Slice]:
    """Return what measures, for a slice, a process that claims from this database."""

    def take() -> Slice:
        weather = stand.weather()
        told = hand.ask(database_url=database_url, seconds=pace.slice_s)
        return Slice(**told, foreign=weather())

    return take
