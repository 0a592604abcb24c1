"""Batches: five hundred pictures beside one, their polls beside the ceiling's, claims beside the
bare claim, what is paid in USDC, and what reading five hundred results takes of memory.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from . import claiming, reading, usdc
from .lines import Line, request
from .orders import PATH, bought, cancel, expected, order
from .polls import CEILING_ID, answer_as_much, get
from .prepaid import many
from .rows import Row, Want
from .slices import Pace, Pair, closed, compare, row_of
from .stand import Process, Server, Stand
from .turns import Ask, Once, by_turns, timed

ITEMS = 500
TIMES_ONE = 12  # what five hundred may cost, where one costs one
PAGE = 100
FEW_ITEMS = 100  # of a batch that is polled, when all is measured for a moment only
HELD = 8  # items that are being made while a batch is polled
AS_ONE = (f"{ITEMS} items", "1 item")
WANTS = (Want("p50", most=TIMES_ONE), Want("cpu", most=TIMES_ONE))
CEILING = (Want("rate"), Want("cpu", most=1.25))


def rows(stand: Stand, pace: Pace) -> Iterator[Row]:
    """Measure all of it."""
    yield from _created(stand, pace)
    yield from _polled(stand, pace)
    yield from claiming.rows(stand, pace)
    yield usdc.row(stand, pace)
    yield reading.row(stand, pace)


def _created(stand: Stand, pace: Pace) -> Iterator[Row]:
    """Offer batches for sale (a 402, with the invoice that pays), then have a session pay."""
    url = stand.database()
    server = stand.server("house", url, worker=False)
    seconds = pace.seconds / 2

    def offered(items: int) -> Ask:
        line, asked = Line(server[1]), request("POST", PATH, order(items))

        async def ask() -> Once:
            async def offer() -> None:
                expected(await line.ask(asked), 402)

            return await timed(server[0].pid, offer)

        return ask

    pairs = asyncio.run(by_turns(stand, offered(ITEMS), offered(1), seconds))
    yield row_of("create a batch, unpaid", pairs, WANTS, AS_ONE)
    [session] = asyncio.run(many(url, server, 1))

    def paid(items: int) -> Ask:
        header = session.header.strip()
        line, asked = Line(server[1]), request("POST", PATH, order(items), header)

        async def ask() -> Once:
            made: list[dict[str, Any]] = []

            async def buy() -> None:
                made.append(expected(await line.ask(asked), 201))

            once = await timed(server[0].pid, buy)
            await cancel(line, made[0])  # nobody has more than ten under way
            return once

        return ask

    pairs = asyncio.run(by_turns(stand, paid(ITEMS), paid(1), seconds))
    yield row_of("create a batch, a session pays", pairs, WANTS, AS_ONE)


def _polled(stand: Stand, pace: Pace) -> Iterator[Row]:
    """Poll a batch that is being made and one that is done; nothing of them changes meanwhile."""
    items, url = FEW_ITEMS if pace.quick else ITEMS, stand.database()
    server = stand.server("house", url, worker=False)
    bare = stand.server("ceiling", url)
    hands = stand.process("hands", "hands-polled")
    hands.ask(do="open", database_url=url, folder=str(stand.folder / "polled"))
    for state, path in _unchanged(server, url, hands, items):
        etag, size = asyncio.run(_seen(server, path))
        answer_as_much(url, 0)
        ceiling = closed(bare, get(f"/{CEILING_ID}"))
        same = closed(server, get(path, f"If-None-Match: {etag}\r\n"), status=304)
        pair = Pair(f"poll of {items} items, {state}, 304", same, ceiling, CEILING)
        yield compare(pair, stand, pace, share=0.5)
        answer_as_much(url, size)
        pages = [f"{path}?offset={first}&limit={PAGE}" for first in range(0, items, PAGE)]
        read = closed(server, *(get(page) for page in pages))
        wants = CEILING if state == "done" else (Want("rate"), Want("cpu"))
        pair = Pair(f"{items} items by page, {state}", read, ceiling, wants)
        yield compare(pair, stand, pace, share=0.5)


def _unchanged(server: Server, url: str, hands: Process, items: int) -> Iterator[tuple[str, str]]:
    batch_id = asyncio.run(bought(server, url, items))
    hands.ask(do="deliver", most=items // 2, size=64)
    hands.ask(do="hold", most=HELD)
    yield "being made", f"{PATH}/{batch_id}"
    hands.ask(do="finish", size=64)
    yield "done", f"{PATH}/{batch_id}"


async def _seen(server: Server, path: str) -> tuple[str, int]:
    line = Line(server[1])
    seen = await line.ask(request("GET", path))
    expected(seen, 200)
    line.close()
    return seen.header(b"etag"), len(seen.body)
