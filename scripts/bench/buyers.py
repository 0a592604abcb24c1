"""Buyers: each buys whole jobs on the stub rail, from the first invoice to the result.

As a load they buy one job after another, or arrive at their own pace; then what is measured is
the time from paying for the work to seeing its result, as a buyer sees it who holds a poll open.
"""

import asyncio
import json
import time
from typing import Any

from .lines import Answer, Line, Lines, Wrong, request
from .window import Window

REQUEST = '{"request":"Say what a Lightning invoice is."}'
PATIENCE_S = 30
PAUSE_S = 0.5  # of those who arrive: a poll is held, and asks the rail no more just now
FINAL = ("complete", "failed", "rejected")


def _taken(answer: Answer, *statuses: int) -> dict[str, Any]:
    if answer.status not in statuses:
        raise Wrong(f"{answer.status}: {answer.body[:300]!r}")
    return answer.json()


async def watched(line: Line, job_id: str, etag: str) -> tuple[dict[str, Any], str]:
    """Hold a poll until the job is another than it was; return it with its new ETag."""
    while True:
        path = f"/api/jobs/{job_id}?wait=30"
        answer = await line.ask(request("GET", path, "", f"If-None-Match: {etag}"))
        if answer.status != 304:
            return _taken(answer, 200), answer.header(b"etag")


async def pay(line: Line, invoice: dict[str, Any]) -> None:
    """Pay with the stub's wallet."""
    path = f"/api/dev/stub/pay/{invoice['paymentHash']}"
    _taken(await line.ask(request("POST", path)), 200)


async def buy(asking: Line, holding: Line, pause_s: float = 0) -> tuple[float, dict[str, Any]]:
    """Buy one job; return the seconds from paying for its work to seeing its result, and it.

    `pause_s`: so long it looks at the price, with a poll held open, before it pays.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await _buy(asking, holding, pause_s)
    except TimeoutError:
        raise Wrong(f"a job was not done within {PATIENCE_S} s") from None


async def _buy(asking: Line, holding: Line, pause_s: float) -> tuple[float, dict[str, Any]]:
    made = _taken(await asking.ask(request("POST", "/api/jobs", REQUEST)), 201)
    await pay(asking, made["evalInvoice"])
    job, etag = await watched(holding, made["jobId"], '""')
    while "workInvoice" not in job:
        if job["state"] in FINAL:
            raise Wrong(str(job)[:300])
        job, etag = await watched(holding, job["jobId"], etag)
    paying = asyncio.create_task(_pay_soon(asking, job["workInvoice"], pause_s))
    while job["state"] not in FINAL:
        job, etag = await watched(holding, job["jobId"], etag)
    ended = time.perf_counter()
    took_s = ended - await paying
    if job["state"] != "complete":
        raise Wrong(str(job)[:300])
    return took_s, job


async def take_back(line: Line, job: dict[str, Any]) -> None:
    """Claim what a job owes, with the stub's wallet."""
    sats = job["costLedger"]["refundAmountSats"]
    asked = request("POST", "/api/dev/stub/invoice", json.dumps({"amountSats": sats}))
    claim = json.dumps({"invoice": _taken(await line.ask(asked), 201)["paymentRequest"]})
    _taken(await line.ask(request("POST", f"/api/jobs/{job['jobId']}/refund", claim)), 200)


async def _pay_soon(line: Line, invoice: dict[str, Any], pause_s: float) -> float:
    """Pay after a pause; return when that was."""
    await asyncio.sleep(pause_s)
    began = time.perf_counter()
    await pay(line, invoice)
    return began


class Buyers:
    """Buyers in a closed loop (so many at once), or arriving at a pace (so many a second)."""

    def __init__(self, window: Window, port: int, at_once: int = 0, rate: float = 0) -> None:
        self._window, self._at_once, self._rate = window, at_once, rate
        self._pause_s = PAUSE_S if rate else 0
        self._lines = Lines(port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._pacing: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Begin to buy."""
        for _ in range(self._at_once):
            self._start(self._over_and_over())
        if self._rate:
            self._pacing = asyncio.create_task(self._pace())

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pace(self) -> None:
        due = time.perf_counter()
        while True:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self._start(self._once(self._window.is_open))
            due += 1 / self._rate

    async def _over_and_over(self) -> None:
        while not self._window.is_over and self._window.wrong is None:
            await self._once(None)

    async def _once(self, counts: bool | None) -> None:
        """Buy one job. It counts if it was begun in the window, or (None) ended in it."""
        try:
            async with self._lines.one() as asking, self._lines.one() as holding:
                took_s, _ = await buy(asking, holding, self._pause_s)
        except (OSError, asyncio.IncompleteReadError, Wrong) as error:
            self._window.wrong = self._window.wrong or repr(error).encode()
            return
        if counts or (counts is None and self._window.is_open):
            self._window.latencies_us.append(int(took_s * 1e6))

    async def end(self) -> None:
        """Begin no more, and wait for those who have begun."""
        if self._pacing is not None:
            self._pacing.cancel()
        await asyncio.gather(*self._tasks)
        self._lines.close()
