"""Casts: what a cast costs beside the time of its tools, a step.

The tools are the house's own, which say how long each run took. All else is the cast's: paying for
it, claiming its steps one after the other, keeping what each gives, and telling its buyer.
"""

import asyncio
import json
import statistics
from typing import Any

from .accounts import opened
from .lines import Line, Wrong, request
from .orders import expected
from .rows import Row, Side, Verdict, Want
from .slices import Pace, percentile, side_of, undisturbed
from .stand import Server, Stand
from .turns import Ask, Once, by_turns, timed

STEPS = 5
MOST_MS = 40
PATH = "/api/v1/spells"
PATIENCE_S = 60
_TOOLS: list[tuple[str, dict[str, Any]]] = [
    ("qr-code", {"text": "{{parameters.text}}", "size": 256}),
    ("resize", {"width": 512, "height": 512}),
    ("adjust", {"contrast": 1.2}),
    ("crop", {"aspect_ratio": "4:3"}),
    ("caption", {"text": "Scan me", "position": "bottom"}),
]


def rows(stand: Stand, pace: Pace) -> list[Row]:
    """Cast a spell of five steps, each made from the one before, and one of a single step."""
    url = stand.database()
    server = stand.server("house", url, timed=True, settings={"V1_REQUESTS_PER_15_MINUTES": 0})
    [key] = opened(url, 1).values()
    many, one = (asyncio.run(_published(server, key, steps)) for steps in (STEPS, 1))
    asks = _casting(server, key, many), _casting(server, key, one)
    both = asyncio.run(by_turns(stand, *asks, pace.seconds))
    kept = undisturbed(both)
    steps = [five.latencies_us[0] / 1000 / STEPS for five, _ in kept]
    low, _, high = statistics.quantiles(steps, n=4, method="inclusive")
    verdict = Verdict(
        "p50 a step, ms", percentile(steps, 50), Want("p50", most=MOST_MS), (low, high)
    )
    foreign = statistics.median(max(a.foreign, b.foreign) for a, b in kept)
    sides: dict[str, Side] = {
        f"{STEPS} steps": side_of([five for five, _ in kept]),
        "1 step": side_of([single for _, single in kept]),
    }
    name = f"a cast of {STEPS} steps, without its tools' time"
    return [Row(name, sides, (verdict,), len(kept), len(both), foreign)]


async def _published(server: Server, key: str, count: int) -> str:
    steps = []
    for number, (tool, inputs) in enumerate(_TOOLS[:count], start=1):
        made_of = {"image": f"{{{{steps.{number - 1}.outputs.0}}}}"} if number > 1 else {}
        steps.append({"id": number, "tool": tool, "inputs": {**made_of, **inputs}})
    text = {"type": "string", "title": "Text", "default": "Boltwork", "maxLength": 80}
    spell = {
        "slug": f"bench-{count}",
        "name": f"{count} steps",
        "description": "Measures what a cast costs.",
        "tags": ["bench"],
        "parameters": {"text": text},
        "steps": steps,
    }
    line = Line(server[1])
    asked = request("POST", PATH, json.dumps(spell), f"x-api-key: {key}")
    made = expected(await line.ask(asked), 201)
    line.close()
    return str(made["slug"])


def _casting(server: Server, key: str, slug: str) -> Ask:
    line, shown = Line(server[1]), f"x-api-key: {key}"
    asked = request("POST", f"{PATH}/cast", json.dumps({"slug": slug}), shown)

    async def ask() -> Once:
        expected(await line.ask(request("GET", "/bench/took")), 200)

        async def cast() -> None:
            made = expected(await line.ask(asked), 202)
            path = f"{PATH}/casts/{made['castId']}?wait={PATIENCE_S - 10}"
            seen = expected(await line.ask(request("GET", path, "", shown)), 200)
            if seen["status"] != "completed":
                raise Wrong(f"a cast has not ended well: {seen}")

        once = await timed(server[0].pid, cast)
        told = expected(await line.ask(request("GET", "/bench/took")), 200)
        return Once(once.took_s - sum(told["made"]), once.cpu_s)

    return ask
