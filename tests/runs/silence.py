"""Two server processes on one Postgres, whose open connections fall silent every few seconds.

Jobs are bought meanwhile on the stub rail. All must end, the books must be clean, and after each
silence a job must end within a minute.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy
import uvloop

from db.audit import audit
from db.engine import Database
from scripts.bench.lines import Answer, Line, request
from tests.runs.crash_server import ForkedServer
from tests.runs.own_postgres import own_postgres
from tests.world.silent_proxy import SilentProxy

LONGEST_S = 60.0  # p99 of the jobs that were begun between two silences
PATIENCE_S = 180.0
ANSWERED_WITHIN_S = 40.0
# As by default, but for the pool: the places of Postgres hold three times what both open.
SETTINGS = {
    "DATABASE_POOL": "6",
    "SWEEP_S": "30",
    "WORKER_DEAD_AFTER_S": "10",
    "WORKER_CONCURRENCY": "8",
}
SHOWN = 5  # jobs that took longest
ENDS = ("complete", "failed", "rejected")


@dataclass
class Bought:
    """A job as its buyer saw it: what was reached, and after how many seconds."""

    after: int  # which silence it was begun after
    job_id: str = ""
    state: str = ""  # how it ended
    began_s: float = field(default_factory=time.monotonic)
    reached: list[str] = field(default_factory=list)
    took_s: float = 0.0

    def has(self, stage: str) -> None:
        """Write down that a stage was reached."""
        self.took_s = time.monotonic() - self.began_s
        self.reached.append(f"{stage} {self.took_s:.1f}")


async def _asked(line: Line, method: str, path: str, *headers: str, body: str = "") -> Answer:
    """Ask until there is an answer: whoever meets a silence is told when to come again."""
    sent = request(method, path, body, *headers)
    while True:
        pause_s = 0.5
        try:
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                answer = await line.ask(sent)
            if answer.status < 400:
                return answer
            pause_s = float(answer.header(b"retry-after") or pause_s)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            line.close()  # an answer may still be on its way
        await asyncio.sleep(pause_s)


async def _buy(port: int, name: str, bought: Bought) -> None:
    """Buy a job as real buyers do: each is another program, with a connection of its own.

    What may be repeated has a key, and a poll is held until the job is another than the one that
    was seen.
    """
    line = Line(port)
    key, order = f"Idempotency-Key: {name:0>32}", json.dumps({"request": f"job {name}"})
    job = (await _asked(line, "POST", "/api/jobs", key, body=order)).json()
    bought.job_id = str(job["jobId"])
    bought.has("made")
    wait, seen = "", list[str]()  # nothing was seen yet
    paid = set[str]()
    while job.get("state") not in ENDS:
        for purpose in ("evalInvoice", "workInvoice"):
            named = job.get(purpose, {}).get("paymentHash")
            if named and named not in paid:
                await _asked(line, "POST", f"/api/dev/stub/pay/{named}", body="{}")
                paid.add(named)
                bought.has(f"{purpose} paid")
        answer = await _asked(line, "GET", f"/api/jobs/{bought.job_id}{wait}", *seen)
        if answer.status != 304:
            job = answer.json()
            wait, seen = "?wait=25", [f"If-None-Match: {answer.header(b'etag')}"]
    bought.state = str(job["state"])
    bought.has(bought.state)
    line.close()


async def _buy_all(options: argparse.Namespace, url: str, folder: Path) -> list[Bought]:
    """Begin jobs for as long as was asked for, and wait a while for the end of all of them."""
    parts, dice = sqlalchemy.make_url(url), random.Random(options.seed)
    jobs, tasks = list[Bought](), list[asyncio.Task[None]]()
    silences = 0
    async with SilentProxy.before(str(parts.host), int(parts.port or 5432)) as proxy:
        through = parts.set(port=proxy.port).render_as_string(hide_password=False)
        servers = [ForkedServer(folder, through, SETTINGS) for _ in range(2)]
        for server in servers:
            await server.start()
        ports = [sqlalchemy.make_url(server.url).port or 0 for server in servers]
        began_s, next_s = time.monotonic(), options.every
        while (now_s := time.monotonic() - began_s) < options.seconds:
            if now_s > next_s:
                silences, next_s, frozen = silences + 1, next_s + options.every, proxy.freeze()
                under_way = sum(not task.done() for task in tasks)
                print(f"{now_s:5.0f} s: {frozen} connections fall silent, {under_way} jobs go on")
            jobs.append(Bought(silences))
            buying = _buy(dice.choice(ports), str(len(jobs)), jobs[-1])
            tasks.append(asyncio.create_task(buying))
            await asyncio.sleep(dice.expovariate(options.rate))
        _, late = await asyncio.wait(tasks, timeout=PATIENCE_S)
        for task in late:
            task.cancel()
        for broke in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(broke, Exception):
                print(f"a buyer met what nobody foresaw: {broke!r}")
        for server in servers:
            await server.kill()
    return jobs


async def _history(db: Database, job_id: str) -> str:
    """Return what happened to a job in the server's own words, and after how many seconds."""
    lines = await db.read_all(
        "SELECT event, extract(epoch FROM at - first_value(at) OVER (ORDER BY version)) AS after_s"
        " FROM job_history WHERE job_id = %(id)s ORDER BY version",
        id=job_id,
    )
    return ", ".join(f"{line['event']} {float(line['after_s']):.1f}" for line in lines)


async def _judged(jobs: list[Bought], url: str) -> int:
    """Print what became of the jobs and of the books; return the exit code."""
    db = Database(url, 1)
    await db.open()
    wrong = await audit(db)
    for job in sorted(jobs, key=lambda job: job.took_s)[-SHOWN:]:
        print(f"slow: after silence {job.after}, {job.job_id}: {', '.join(job.reached)}")
        print(f"      {await _history(db, job.job_id)}")
    await db.close()
    silences, worst_s = jobs[-1].after, 0.0
    for after in range(silences + 1):
        times = sorted(job.took_s for job in jobs if job.after == after and job.state)
        if times:
            p99_s = times[min(len(times) - 1, int(len(times) * 0.99))]
            worst_s = max(worst_s, p99_s)
            middle_s = times[len(times) // 2]
            print(f"after silence {after}: {len(times)} ended, p50 {middle_s:.1f}, p99 {p99_s:.1f}")
    missing = [job for job in jobs if not job.state]
    for job in missing[:SHOWN]:
        print(f"no end: after silence {job.after}, {job.job_id}: {', '.join(job.reached)}")
    ends = Counter(job.state or "without an end" for job in jobs)
    told = ", ".join(f"{number} {state}" for state, number in sorted(ends.items()))
    print(f"jobs bought: {len(jobs)} ({told})")
    print(f"silences: {silences}, worst p99: {worst_s:.1f} s (at most {LONGEST_S:.0f})")
    print(f"findings in the books: {wrong or 'none'}")
    right = ends["complete"] == len(jobs) and not wrong and worst_s <= LONGEST_S and silences
    print("silence: passed" if right else "silence: FAILED")
    return 0 if right else 1


async def _run(options: argparse.Namespace, url: str, folder: Path) -> int:
    return await _judged(await _buy_all(options, url, folder), url)


def main() -> int:
    """Run what the command line asks for, on a Postgres of its own."""
    parser = argparse.ArgumentParser(prog="scripts/silence", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long jobs are begun")
    parser.add_argument("--rate", type=float, default=20, help="jobs a second")
    parser.add_argument("--every", type=float, default=20, help="seconds between two silences")
    parser.add_argument("--seed", type=int, default=1, help="of what is left to chance")
    options = parser.parse_args()
    with own_postgres("silence") as (url, folder):
        return uvloop.run(_run(options, url, folder))


if __name__ == "__main__":
    sys.exit(main())
