"""Notices: a thousand, each to a receiver of its own, of which a third hang, a third fail and a
third answer; and what sending them leaves of a poll.

All of them are due at once when the polls begin. The other server has nothing to send.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import psutil

from app import advance
from app.advance import Act, Shell, Terms
from app.keys import webhook_secrets
from db.engine import Database
from db.promises import Outbox
from db.webhooks import NewWebhook
from payments.seal import Seal
from statemachine.notice import Topic
from statemachine.owner import Owner, OwnerKind

from .polls import OTHERS, bought, fill, get, run_script
from .rows import Row, Side, Verdict, Want
from .slices import Pace, Pair, arriving, compare
from .stand import Broken, Process, Server, Stand

NOTICES, FEW_NOTICES = 1_000, 90
POLLS_A_S = 50.0
SLICE_S = 2.0  # so that a hundredth of a slice's polls is more than the slowest of them
PATIENCE_S = 240
LOOK_S = 0.5
MB = 1_000_000
MOST_MB = 24  # what they may leave of memory
SECRET = "what-seals-the-secrets-of-receivers"
SETTINGS = {"BOLTWORK_SECRET": SECRET}

_LATER = "UPDATE procrastinate_jobs SET scheduled_at = 'infinity' WHERE queue_name = 'notices'"
_NOW = "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE queue_name = 'notices'"
_NOTHING = """
DELETE FROM procrastinate_jobs WHERE queue_name = 'notices';
DELETE FROM notice;
VACUUM ANALYZE
"""


def rows(stand: Stand, pace: Pace) -> Iterator[Row]:
    """Poll both in turn while the notices are sent, and wait until all who answer have theirs."""
    count = FEW_NOTICES if pace.quick else NOTICES
    receivers = stand.process("receivers")
    ports: list[int] = receivers.ask(do="open", count=count)["ports"]
    full, job_id = _told(stand, ports)
    empty = stand.database(like=full)
    run_script(empty, _NOTHING)
    idle = stand.server("house", empty, settings=SETTINGS)
    busy = stand.server("house", full, settings=SETTINGS)
    memory, weather = psutil.Process(busy[0].pid), stand.weather()
    before = memory.memory_full_info().uss
    run_script(full, _NOW)
    began = time.monotonic()
    asked = get(f"/api/jobs/{job_id}")
    slower = pace if pace.quick else replace(pace, slice_s=SLICE_S)
    yield compare(
        Pair(
            f"poll beside {count:,} notices, of which a third hang and a third fail",
            arriving(busy, POLLS_A_S, asked),
            arriving(idle, POLLS_A_S, asked),
            (Want("p99", most=1.25), Want("p50"), Want("cpu")),
            ("with notices", "without"),
        ),
        stand,
        slower,
    )
    yield _sent(busy, receivers, count, began, before, weather())


def _told(stand: Stand, ports: list[int]) -> tuple[str, str]:
    """Return a database in which each receiver is owed a notice of a job, and a job's id."""
    url = stand.database()
    server = stand.server("house", url, settings=SETTINGS)
    job_id, _, _ = asyncio.run(bought(server))
    server[0].stop()
    fill(url)
    asyncio.run(_tell(url, ports))
    run_script(url, _LATER)
    return url, job_id


async def _tell(database_url: str, ports: list[int]) -> None:
    db, seal = Database(database_url), Seal((SECRET,))
    shell = Shell(db, Outbox(db), Terms(), lambda: datetime.now(UTC))
    await db.open()
    jobs = await db.read_all(
        "SELECT id FROM job ORDER BY id LIMIT %(most)s", most=min(len(ports), OTHERS)
    )
    for number, (port, job) in enumerate(zip(ports, jobs, strict=True)):
        webhook_id, where = f"{number:032x}", f"http://127.0.0.1:{port}"
        sealed = webhook_secrets.closed(seal, webhook_id, SECRET)
        webhook = NewWebhook(
            webhook_id, Topic.JOB, f"{where}/hook", where, sealed, False, None, None, {}
        )

        async def happen(act: Act, owner: Owner, webhook: NewWebhook) -> None:
            await advance.notices.register(act, owner, webhook)
            await advance.notices.tell(act, owner, "complete")

        await shell.do(happen, Owner(OwnerKind.JOB, job["id"]), webhook)
    await db.close()


def _sent(
    server: Server, receivers: Process, count: int, began: float, before: int, foreign: float
) -> Row:
    """Wait until each has been sent its notice at least once; say what became of them."""
    third = count // 3
    while True:
        seen = receivers.ask(do="tell")
        if all(kind["receivers"] >= third for kind in seen.values()):
            break
        if time.monotonic() - began > PATIENCE_S:
            raise Broken(f"not everybody was sent a notice: {seen}")
        time.sleep(LOOK_S)
    took_s = time.monotonic() - began
    after = psutil.Process(server[0].pid).memory_full_info().uss
    if seen["answers"]["notices"] != seen["answers"]["receivers"]:
        raise Broken(f"who had answered was sent it again: {seen}")
    more = {f"tries at one that {kind}": each["notices"] / third for kind, each in seen.items()}
    more |= {"s until each was tried": took_s, "MB before": before / MB, "MB after": after / MB}
    grown = Verdict("MB more afterwards", (after - before) / MB, Want("memory", most=MOST_MB))
    return Row(f"{count:,} notices", {"Boltwork": Side(more=more)}, (grown,), 1, 1, foreign)
