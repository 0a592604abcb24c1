"""Growth: what is done a thousand times a day, on a database of a million jobs beside one of a
thousand, before and after the planner has heard of them. Promises wait in the same numbers.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from .debits import debit_of
from .filling import analyse, fill_jobs
from .polls import bought, get
from .prepaid import Opened, many
from .rows import Row, Want
from .slices import Pace, Pair, Slice, closed, compare, in_turn, row_of
from .stand import Process, Server, Stand

FEW, MANY = 1_000, 1_000_000
QUICK_MANY = 10_000
SESSIONS = 20
TOKEN = "of the measurement's operator"
WANTS = (Want("p50", most=1.3), Want("p99"))


@dataclass(frozen=True)
class Grown:
    """A database with so many jobs, and a server on it that keeps no promises."""

    database_url: str
    server: Server
    sessions: list[Opened]
    job_ids: list[str]


def rows(stand: Stand, pace: Pace) -> list[Row]:
    """Measure both, side by side, with stale statistics and with fresh ones."""
    count = QUICK_MANY if pace.quick else MANY
    small, large = _grown(stand, FEW), _grown(stand, count)
    names = (f"{count:,} jobs", f"{FEW:,} jobs")
    hand = stand.process("claims")
    measured = []
    for statistics in ("stale", "fresh"):
        if statistics == "fresh":
            for each in (small, large):
                analyse(each.database_url)
        for name, ask in QUESTIONS.items():
            pair = Pair(
                f"{name} as jobs grow, {statistics} statistics",
                closed(large.server, *ask(large), connections=1),
                closed(small.server, *ask(small), connections=1),
                WANTS,
                names,
            )
            measured.append(compare(pair, stand, pace, share=0.5))
        both = in_turn(_taking(hand, large, pace, stand), _taking(hand, small, pace, stand),
                       pace.rounds(0.5))  # fmt: skip
        name = f"claim of the next promise as they grow, {statistics} statistics"
        measured.append(row_of(name, both, WANTS, names))
    stand.admin("ALTER SYSTEM RESET autovacuum")
    stand.admin("SELECT pg_reload_conf()")
    return measured


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
    fill_jobs(stand, url, job_id, count)
    polled = [hashlib.md5(str(n).encode()).hexdigest() for n in range(1, count + 1, count // FEW)]
    settings = {"OPERATOR_TOKEN": TOKEN}
    server = stand.server("house", url, worker=False, folder=folder, settings=settings)
    return Grown(url, server, sessions, polled)


def _taking(hand: Process, grown: Grown, pace: Pace, stand: Stand) -> Callable[[], Slice]:
    def take() -> Slice:
        weather = stand.weather()
        told = hand.ask(database_url=grown.database_url, seconds=pace.slice_s)
        return Slice(**told, foreign=weather())

    return take
