"""Guessers: they guess at everybody's passwords, at a pace of their own, each guess from one of
many addresses.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter

import uvloop

from .lines import Lines, request

ADDRESSES = 10_000
HUNG_UP = 0  # in place of a status


class Guessing:
    """Guesses until it is told to end."""

    def __init__(self, port: int, names: list[str], rate: float) -> None:
        self._lines, self._names, self._pause_s = Lines(port), names, 1 / rate
        self._guesses: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count()
        self.told: Counter[int] = Counter()

    async def guess(self) -> None:
        """Guess until cancelled, whether or not answers come."""
        due = time.perf_counter()
        while True:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            guessing = asyncio.create_task(self._guess(next(self._numbers)))
            self._guesses.add(guessing)
            guessing.add_done_callback(self._guesses.discard)
            due += self._pause_s

    async def _guess(self, number: int) -> None:
        name, at = self._names[number % len(self._names)], number % ADDRESSES
        body = json.dumps({"username": name, "password": f"guess {number}"})
        address = f"X-Forwarded-For: 198.18.{at // 250}.{at % 250 + 1}"
        try:
            async with self._lines.one() as line:
                answer = await line.ask(request("POST", "/api/auth/login", body, address))
        except (OSError, asyncio.IncompleteReadError):  # a server may hang up on who guesses
            self.told[HUNG_UP] += 1
        else:
            self.told[answer.status] += 1

    async def answered(self) -> None:
        """Wait for the last answers."""
        await asyncio.gather(*self._guesses)


async def run() -> None:
    """Begin and end as ordered, order by order, until the input ends; say how guesses were answered
    so far.
    """
    guessing: Guessing | None = None
    pacing: asyncio.Task[None] | None = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        if order.pop("do") == "begin":
            guessing = guessing or Guessing(**order)
            pacing = asyncio.create_task(guessing.guess())
        elif guessing is not None and pacing is not None:
            pacing.cancel()
            await guessing.answered()
        print(json.dumps({"told": guessing.told if guessing else {}}), flush=True)


if __name__ == "__main__":
    uvloop.run(run())
