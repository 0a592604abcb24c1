"""The process that asks. It is told what to ask for how long, and answers what it measured."""

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

from .buyers import Buyers
from .closed import ClosedLoop
from .lines import OpenLoop
from .window import Load, Window, cpu_of

PATIENCE_S = 15
LOADS = {"closed": ClosedLoop, "open": OpenLoop, "buyers": Buyers}


async def measure(
    load: str, pids: list[int], warm_s: float, seconds: float, **how: Any
) -> dict[str, Any]:
    """Ask for so many seconds, after a beginning that is not counted (connections are made, caches
    filled); return rate, CPU a counted answer of the servers and of this process, and latencies.
    """
    window = Window()
    asking: Load = LOADS[load](window, **how)
    await asking.begin()
    await asyncio.sleep(warm_s)
    window.is_open = True
    began = time.perf_counter(), sum(map(cpu_of, pids)), time.process_time()
    await asyncio.sleep(seconds)
    longest = began[0] + seconds + PATIENCE_S
    # On a very busy machine not one answer may come in a short slice.
    while not window.has_any and time.perf_counter() < longest:  # noqa: ASYNC110
        await asyncio.sleep(seconds)
    window.is_open = False
    ended = time.perf_counter(), sum(map(cpu_of, pids)), time.process_time()
    window.is_over = True
    await asking.end()
    if window.wrong is not None or not window.latencies_us:
        return {"wrong": repr(window.wrong or "no answer at all")}
    answers = len(window.latencies_us)
    took, cpu_s, own_s = (end - begin for begin, end in zip(began, ended, strict=True))
    return {
        "rate": answers / took,
        "cpu_us": cpu_s / answers * 1e6,
        "load_cpu_us": own_s / answers * 1e6,
        "latencies_us": window.latencies_us,
    }


def main() -> None:
    """Measure as ordered, order by order, until the input ends."""
    for line in sys.stdin:
        print(json.dumps(uvloop.run(measure(**json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
