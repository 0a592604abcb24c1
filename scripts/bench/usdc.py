"""A purchase in USDC, from the signed order to the 201, without the time that the facilitator took.

The facilitator is the stub, as a process of its own that says how long each of its answers took;
what HTTP between the two costs is counted as ours.
"""

import asyncio
import statistics
from typing import Any

from .lines import Line, request
from .orders import PATH, cancel, expected, order, signed
from .rows import Row, Verdict, Want
from .slices import Pace, percentile, side_of, undisturbed
from .stand import Server, Stand
from .turns import Ask, Once, by_turns, timed

ITEMS = 500
MOST_MS = 25


def row(stand: Stand, pace: Pace) -> Row:
    """Buy one picture and five hundred in turn, each from an address of its own."""
    folder = str(stand.folder / "usdc")
    facilitator = stand.server("facilitator", "", folder=folder)
    url = stand.database()
    server = stand.server(
        "house", url, worker=False, folder=folder, facilitator=f"http://127.0.0.1:{facilitator[1]}"
    )
    one_item, all_items = (_buying(server, facilitator, items) for items in (1, ITEMS))
    both = asyncio.run(by_turns(stand, one_item, all_items, pace.seconds))
    kept = undisturbed(both)
    one, many = side_of([each for each, _ in kept]), side_of([each for _, each in kept])
    fractions = [each.latencies_us[0] / 1000 for each, _ in kept]
    low, _, high = statistics.quantiles(fractions, n=4, method="inclusive")
    middle = percentile(fractions, 50)
    verdict = Verdict("p50 of 1 item, ms", middle, Want("p50", most=MOST_MS), (low, high))
    foreign = statistics.median(max(a.foreign, b.foreign) for a, b in kept)
    sides = {"1 item": one, f"{ITEMS} items": many}
    name = "x402: a signed order → 201, without the facilitator's time"
    return Row(name, sides, (verdict,), len(kept), len(both), foreign)


def _buying(server: Server, facilitator: Server, items: int) -> Ask:
    line, its, body = Line(server[1]), Line(facilitator[1]), order(items)

    async def ask() -> Once:
        offer = expected(await line.ask(request("POST", PATH, body)), 402)
        asked = request("POST", PATH, body, signed(offer))
        expected(await its.ask(request("GET", "/bench/took")), 200)  # what is asked for health
        made: list[dict[str, Any]] = []

        async def retry() -> None:
            made.append(expected(await line.ask(asked), 201))

        once = await timed(server[0].pid, retry)
        told = expected(await its.ask(request("GET", "/bench/took")), 200)
        await cancel(line, made[0])  # what waits for long makes the next one wait
        return Once(once.took_s - sum(told["settle"]), once.cpu_s)

    return ask
