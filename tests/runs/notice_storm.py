"""Very many notices at once, to receivers of which a third hang, a third fail and a third answer:
`scripts/notices`.

The real sender and the real task engine, by a clock that stands until all is still: so a day of
tries passes in a minute or two.
"""

import argparse
import asyncio
import sys
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from db.promise_lanes import Lane
from db.promises import WorkerPace
from statemachine.notice import PAUSES_S, NoticeState
from tests.runs.own_postgres import own_postgres
from tests.world.notice_fixtures import PostOffice, world_of
from tests.world.notice_server import NoticeServer, said
from tests.world.patience import patiently

HANGS, FAILS, ANSWERS = "hangs", "fails", "answers"
DOES: dict[str, list[bytes | None]] = {
    HANGS: [None],
    FAILS: [said(503, b"later")],
    ANSWERS: [said(200, b"ok")],
}
_STILL = """
SELECT (SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing') AS doing,
       (SELECT count(*) FROM procrastinate_jobs
         WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())) AS due,
       (SELECT min(due_at) FROM notice WHERE state = 'wanted') AS next_at
"""
_CAME_TO = """
SELECT n.id, w.url, n.state, n.created_at, array_agg(t.at ORDER BY t.number) AS times,
       array_agg(t.status ORDER BY t.number) AS statuses
  FROM notice n JOIN webhook w ON w.id = n.webhook_id JOIN notice_try t ON t.notice_id = n.id
 GROUP BY n.id, w.url, n.state, n.created_at
"""


@dataclass
class Storm:
    """What came of it."""

    wrong: list[str] = field(default_factory=list)
    states: Counter[tuple[str, str]] = field(default_factory=Counter)
    tries: int = 0
    most_at_once: int = 0  # to one receiver
    bodies: int = 0  # different ones, of each id


async def storm(office: PostOffice, count: int, at_once: int) -> Storm:
    """Send so many notices to as many receivers, to their end; say what is not by the book."""
    came = Storm()
    async with AsyncExitStack() as stack:
        servers = [NoticeServer(DOES[list(DOES)[n % len(DOES)]]) for n in range(count)]
        does = {}
        for n, server in enumerate(servers):
            await stack.enter_async_context(server.running())
            does[server.url] = list(DOES)[n % len(DOES)]
        for server in servers:
            await office.told(server.url, server.receiver)
        keep = office.keep
        pace = WorkerPace(at_once, heartbeat_s=0.5, dead_after_s=10**8, poll_s=0.2)
        outbox = office.shell.outbox
        working = asyncio.create_task(outbox.work(keep, pace, Lane.NOTICES))
        try:
            while (moment := await _next(office)) is not None:
                await office.move_to(moment)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        came.most_at_once = max(server.most_at_once for server in servers)
        for server in servers:
            came.bodies = max(came.bodies, len({each.body for each in server.came}))
    for row in await office.db.read_all(_CAME_TO):
        _judge(came, does[row["url"]], row["state"], row["created_at"], row["times"])
    return came


async def _next(office: PostOffice) -> datetime | None:
    """Wait until all that is due was sent, and return when something is due again."""
    async for look in patiently("it is never still", pause_s=0.1):
        row = await office.db.read_one(_STILL)
        look.saw = row
        assert row is not None
        if not row["doing"] and not row["due"]:
            next_at: datetime | None = row["next_at"]
            if next_at is None or next_at > office.clock():
                return next_at
    raise AssertionError("patiently raises before")


def _judge(came: Storm, does: str, state: str, began: datetime, times: list[datetime]) -> None:
    came.states[does, state] += 1
    came.tries += len(times)
    expected = NoticeState.DELIVERED if does == ANSWERS else NoticeState.GIVEN_UP
    book = (1 if does == ANSWERS else len(PAUSES_S)) * [timedelta(0)]
    for n in range(1, len(book)):
        book[n] = book[n - 1] + timedelta(seconds=PAUSES_S[n])
    if state != expected or [at - began for at in times] != book:
        came.wrong.append(f"{does}: {state} after {[str(at - began) for at in times]}")


async def _main(url: str, count: int, at_once: int) -> int:
    async with world_of(url, at_once) as office:
        came = await storm(office, count, at_once)
    for (does, state), number in sorted(came.states.items()):
        print(f"{does}: {number} {state}")
    print(f"tries: {came.tries}, at most {came.most_at_once} at once to one receiver")
    print("\n".join(came.wrong[:20]) or "all of it by the book")
    right = not came.wrong and came.states.total() == count
    return 0 if right and came.most_at_once == came.bodies == 1 else 1


def main() -> int:
    """Send as the command line asks for, on a Postgres of its own."""
    parser = argparse.ArgumentParser(prog="scripts/notices", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--at-once", type=int, default=100)
    options = parser.parse_args()
    with own_postgres("notices") as (url, _):
        return asyncio.run(_main(url, options.count, options.at_once))


if __name__ == "__main__":
    sys.exit(main())
