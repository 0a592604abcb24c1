"""Claimers on a host that sells, as a program: `python -m tests.runs.hosts_claimers URL FIRST AT_S
SECONDS`. They go the way that the house's own makers go, from one moment (time.monotonic) on.
"""

import asyncio
import json
import sys
import time

from scripts.bench.claimers import Claimers

COUNT = 8
STAYS_S = 4.0  # afterwards, so that its processor time can still be read


async def claim(url: str, first: int, at_s: float, seconds: float) -> dict[str, float]:
    """Claim for so long; return how many were claimed, and for how many processor seconds."""
    claimers = Claimers("ours", url, first)
    await claimers.side.open()
    await asyncio.sleep(at_s - time.monotonic())
    told = await claimers.claim(COUNT, seconds)
    assert isinstance(told["latencies_us"], list) and isinstance(told["cpu_s"], float)
    return {"count": len(told["latencies_us"]), "cpu_s": told["cpu_s"]}


if __name__ == "__main__":
    _, url, first, at_s, seconds = sys.argv
    said = asyncio.run(claim(url, int(first), float(at_s), float(seconds)))
    print(json.dumps(said), flush=True)
    time.sleep(STAYS_S)
