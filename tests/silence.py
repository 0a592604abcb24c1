"""Two server processes on one Postgres, whose open connections fall silent every few seconds.

Jobs are bought meanwhile on the stub rail. All must end, the books must be clean, and after each
silence a job must end within a minute.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
import sqlalchemy

from db.audit import audit
from db.embedded import EmbeddedPostgres
from db.engine import Database
from db.migrate import migrate
from tests.crash_server import ForkedServer
from tests.silent_proxy import SilentProxy

LONGEST_S = 60.0  # p99 of the jobs that were begun between two silences
PATIENCE_S = 180.0
ENDS = ("complete", "failed", "rejected")


async def _asked(http: httpx2.AsyncClient, method: str, path: str, **more: Any) -> dict[str, Any]:
    """Ask until there is an answer: whoever meets a silence is told to come again."""
    while True:
        try:
            answer = await http.request(method, path, **more)
            if answer.status_code < 400:
                return dict(answer.json())
        except httpx2.HTTPError:
            pass
        await asyncio.sleep(0.5)


async def _buy(http: httpx2.AsyncClient, name: str) -> str:
    key = {"Idempotency-Key": f"{name:0>32}"}
    made = await _asked(http, "POST", "/api/jobs", json={"request": f"job {name}"}, headers=key)
    job, paid = made, set[str]()
    while job.get("state") not in ENDS:
        for purpose in ("evalInvoice", "workInvoice"):
            named = job.get(purpose, {}).get("paymentHash")
            if named and named not in paid:
                await _asked(http, "POST", f"/api/dev/stub/pay/{named}", json={})
                paid.add(named)
        await asyncio.sleep(0.3)
        job = await _asked(http, "GET", f"/api/jobs/{made['jobId']}")
    return str(job["state"])


async def _run(options: argparse.Namespace, url: str, folder: Path) -> int:
    parts, dice = sqlalchemy.make_url(url), random.Random(options.seed)
    took: list[tuple[int, float]] = []  # (which silence it came after, seconds to its end)
    ends: list[str] = []
    silences = frozen = 0
    async with SilentProxy.before(str(parts.host), int(parts.port or 5432)) as proxy:
        through = parts.set(port=proxy.port).render_as_string(hide_password=False)
        servers = [
            ForkedServer(folder, through, {"DATABASE_POOL": "6", "WORKER_DEAD_AFTER_S": "10"})
            for _ in range(2)
        ]
        for server in servers:
            await server.start()
        limits = httpx2.Limits(max_connections=20)
        doors = [httpx2.AsyncClient(base_url=s.url, timeout=40, limits=limits) for s in servers]

        async def bought(number: int, after: int) -> None:
            began_s = time.monotonic()
            ends.append(await _buy(dice.choice(doors), str(number)))
            took.append((after, time.monotonic() - began_s))

        began_s, next_s, tasks = time.monotonic(), options.every, list[asyncio.Task[None]]()
        while (now_s := time.monotonic() - began_s) < options.seconds:
            if now_s > next_s:
                silences, next_s, frozen = silences + 1, next_s + options.every, proxy.freeze()
                print(f"{now_s:5.0f} s: {frozen} connections fall silent", flush=True)
            tasks.append(asyncio.create_task(bought(len(tasks), silences)))
            await asyncio.sleep(dice.expovariate(options.rate))
        _, missing = await asyncio.wait(tasks, timeout=PATIENCE_S)
        for task in missing:
            task.cancel()
        await asyncio.gather(*missing, return_exceptions=True)
        for door in doors:
            await door.aclose()
        for server in servers:
            await server.kill()
    db = Database(url, 1)
    await db.open()
    wrong = await audit(db)
    await db.close()
    worst_s = 0.0
    for after in range(silences + 1):
        times = sorted(s for which, s in took if which == after)
        if times:
            p99_s = times[min(len(times) - 1, int(len(times) * 0.99))]
            worst_s = max(worst_s, p99_s)
            print(f"after silence {after}: {len(times)} jobs, p99 {p99_s:.1f} s")
    complete = ends.count("complete")
    print(f"{len(tasks)} jobs, {complete} complete, {len(missing)} without an end")
    print(f"{silences} silences, worst p99 {worst_s:.1f} s, findings in the books: {wrong}")
    return int(bool(missing or wrong or complete != len(tasks) or worst_s > LONGEST_S))


def main() -> int:
    """Run what the command line asks for, on a Postgres of its own."""
    parser = argparse.ArgumentParser(prog="scripts/silence", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long jobs are begun")
    parser.add_argument("--rate", type=float, default=20, help="jobs a second")
    parser.add_argument("--every", type=float, default=20, help="seconds between two silences")
    parser.add_argument("--seed", type=int, default=1, help="of what is left to chance")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="boltwork-silence-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # as root, the server is another user and must get in
        cluster = EmbeddedPostgres(folder / "data", fast_for_tests=True)
        url = cluster.start()
        try:
            migrate(url)
            return asyncio.run(_run(options, url, folder))
        finally:
            cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
