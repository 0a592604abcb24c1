"""Streams: what each open one holds of memory, beside one of bare Hypercorn; and what many of them
leave of a poll.

Memory is what the process alone holds (USS) with all of them open for the first time, less what it
held after a few had come and gone: what is loaded with the first one is no stream's.
"""

import asyncio

import psutil

from .buyers import REQUEST
from .lines import Line, request
from .polls import get
from .rows import Row, Side, Verdict, Want
from .slices import Pace, Pair, arriving, compare
from .stand import Process, Server, Stand

STREAMS, FEW_STREAMS = 4_000, 200
JOBS = 20  # that are watched
FIRST = 40  # streams that come and go before
POLLS_A_S = 50.0


def rows(stand: Stand, pace: Pace) -> list[Row]:
    """Hold streams open on both; then poll one server that has them, and one that has none."""
    count = FEW_STREAMS if pace.quick else STREAMS
    limits = {"STREAMS_MOST": 2 * count, "STREAMS_EACH": 0}
    ours, other = (stand.server("house", stand.database(), settings=limits) for _ in range(2))
    bare = stand.server("streams", "")
    jobs, others = (asyncio.run(_jobs(server)) for server in (ours, other))
    held = stand.process("watchers", "watchers-ours")
    asked = [get(f"/api/jobs/{job_id}/events", "Accept: text/event-stream\r\n") for job_id in jobs]
    weather = stand.weather()
    mine = _bytes_each(held, ours, asked, count)
    theirs = _bytes_each(stand.process("watchers", "watchers-bare"), bare, [get("/a")], count)
    row = Row(
        f"memory of an open stream, of {count}",
        {
            "Boltwork": Side(more={"KiB": mine / 1024}),
            "bare Hypercorn": Side(more={"KiB": theirs / 1024}),
        },
        (Verdict("bytes ÷ bare Hypercorn", mine / theirs, Want("bytes", most=1.5)),),
        1,
        1,
        weather(),
    )
    held.ask(do="open", port=ours[1], requests=asked, count=count)
    polled = compare(
        Pair(
            f"poll beside {count} open streams",
            arriving(ours, POLLS_A_S, *(get(f"/api/jobs/{job_id}") for job_id in jobs)),
            arriving(other, POLLS_A_S, *(get(f"/api/jobs/{job_id}") for job_id in others)),
            (Want("p99", most=1.5), Want("p50")),
            ("with streams", "without"),
        ),
        stand,
        pace,
    )
    held.ask(do="close")
    return [row, polled]


def _bytes_each(watchers: Process, server: Server, asked: list[str], count: int) -> float:
    process = psutil.Process(server[0].pid)
    order = {"port": server[1], "requests": asked}
    watchers.ask(do="open", count=FIRST, **order)
    watchers.ask(do="close")
    before = process.memory_full_info().uss
    watchers.ask(do="open", count=count, **order)
    after = process.memory_full_info().uss
    watchers.ask(do="close")
    return (after - before) / count


async def _jobs(server: Server) -> list[str]:
    line = Line(server[1])
    made = [await line.ask(request("POST", "/api/jobs", REQUEST)) for _ in range(JOBS)]
    line.close()
    return [answer.json()["jobId"] for answer in made]
