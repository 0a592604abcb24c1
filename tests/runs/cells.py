"""Two cells sell behind one router, and one of them is lost for a while.

`scripts/cells` starts them on 127.0.0.1, each with a Postgres and a rail of its own. Buyers who
know the router alone buy in every way there is. One cell is killed: its addresses answer 503, and
the other sells on; it is started again, and they answer again. In the end each address is found by
a new connection and opened by its own cell alone, and the books and the rail of each cell agree.
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2

from tests.runs import hosts_tools
from tests.runs.cells_buyers import KINDS, Callers, Sides
from tests.runs.cells_town import ANSWERS_S, CellHouse, Router
from tests.runs.crash_server import MovableClock
from tests.runs.crash_world import LnbitsSide, Side, StubSide
from tests.runs.hosts_times import Times
from tests.world.lnbits_server import LnbitsServer
from tests.world.messages_server import MessagesServer
from tests.world.patience import patiently

HOME, OTHER = "0a", "b7"
AT_ONCE = 4
PROBES = 24  # keys that are tried while a cell is away
MEANWHILE = 3  # purchases then
Table = dict[str, Counter[str]]  # of each cell, what was seen how often


@asynccontextmanager
async def town(rail: str, folder: Path) -> AsyncIterator[tuple[dict[str, CellHouse], Router]]:
    """Start the cells and the router, and end them and their data afterwards."""
    async with AsyncExitStack() as stack:
        model = MessagesServer()
        await model.start()
        stack.push_async_callback(model.stop)
        lnbits = None
        if rail == "lnbits":
            lnbits = await stack.enter_async_context(LnbitsServer.running())
        cells: dict[str, CellHouse] = {}
        for digits in (HOME, OTHER):
            own = folder / digits
            own.mkdir(mode=0o711)
            side: Side = (
                StubSide(own, MovableClock(folder / "clock"))
                if lnbits is None
                else await LnbitsSide.on(lnbits)
            )
            stack.push_async_callback(side.close)
            cells[digits] = CellHouse(digits, own, side, model)
            stack.push_async_callback(asyncio.to_thread, cells[digits].server.stop)
            stack.push_async_callback(cells[digits].forget)
            await cells[digits].start()
        router = Router(folder, cells, HOME)
        stack.callback(router.stop)
        await router.start()
        yield cells, router


async def each_is_found(router: Router, buyers: Callers, away: Sequence[str]) -> list[str]:
    """Look at each address by a new connection; return what is answered otherwise than it should
    be, where these cells are away.
    """
    wrong = []
    for path, digits in dict(buyers.found).items():
        answer = await router.look(path)
        right = answer.status_code in ((401, 404) if path in buyers.private else (200,))
        if digits in away:
            right = answer.status_code == 503 and "retry-after" in answer.headers
        if not right:
            wrong.append(f"{path} answers {answer.status_code} while {list(away)} are away")
    return wrong


async def opened_by_its_own(cells: dict[str, CellHouse], buyers: Callers) -> list[str]:
    """Ask each cell itself for each address; return those that another cell opens too, or that
    its own doesn't.
    """
    wrong = []
    async with httpx2.AsyncClient(timeout=ANSWERS_S, trust_env=False) as http:
        for path, digits in buyers.found.items():
            for other, cell in cells.items():
                answer = await http.get(cell.url + path)
                opens = other == digits and path not in buyers.private
                if (answer.status_code == 200) != opens:
                    wrong.append(f"{path} is answered {answer.status_code} by {other}")
    return wrong


async def lost(
    cells: dict[str, CellHouse], router: Router, buyers: Callers, seen: Table
) -> list[str]:
    """Kill a cell, look at what is answered meanwhile, and start it again."""
    while OTHER not in buyers.found.values():  # all that was bought came to the other, by chance
        await buyers.unnamed("another one")
    await cells[OTHER].kill()
    of_it = next(path for path, digits in buyers.found.items() if digits == OTHER)
    async for look in patiently("the router never says that it is away", pause_s=0.2):
        look.saw = answer = await router.look(of_it)
        if answer.status_code == 503:
            break
    known = dict(buyers.found)
    wrong = await each_is_found(router, buyers, [OTHER])
    seen[OTHER]["503 while away"] = list(known.values()).count(OTHER)
    seen[HOME]["answers meanwhile"] = list(known.values()).count(HOME)
    for number in range(PROBES):
        named = {"Idempotency-Key": f"a key for a probe {number}"}
        status = (await router.look("/api/models", **named)).status_code
        seen[OTHER if status == 503 else HOME]["keys, while one is away"] += 1
        if status not in (200, 503):
            wrong.append(f"a key is answered {status} while one cell is away")
    before = len(buyers.found)
    for number in range(MEANWHILE):
        await buyers.unnamed(f"meanwhile {number}")
    new = list(buyers.found.values())[before:]
    seen[HOME]["sold meanwhile"] = new.count(HOME)
    if new.count(HOME) < MEANWHILE:
        wrong.append(f"{new} was sold while {OTHER} was away")
    await cells[OTHER].start()
    async for look in patiently("it is never back", pause_s=0.2):
        look.saw = answer = await router.look(of_it)
        if answer.status_code == 200:
            break
    return wrong + await each_is_found(router, buyers, [])


async def sell(jobs: int, rail: str, folder: Path) -> int:
    """Have buyers buy while one cell is lost and is back; 1 where anything is wrong."""
    async with town(rail, folder) as (cells, router):
        say(f"Cells {', '.join(cells)} sell behind {router.url}.")
        seen: Table = {digits: Counter() for digits in cells}
        buyers = Callers(router.url, Sides(cells), Times())  # type: ignore[arg-type]
        buyers.enough.set()
        buying = asyncio.create_task(buyers.buy(jobs, AT_ONCE, KINDS))  # type: ignore[arg-type]
        await until_both_have_sold(buyers, buying, jobs // 3)
        say(f"{buyers.done.total()} purchases are done. {OTHER} is killed.")
        wrong = await lost(cells, router, buyers, seen)
        say(f"{OTHER} is back.")
        await buying
        wrong += await each_is_found(router, buyers, [])
        wrong += await opened_by_its_own(cells, buyers)
        for digits, cell in cells.items():
            seen[digits]["addresses"] = list(buyers.found.values()).count(digits)
            wrong += [f"{digits}: {sentence}" for sentence in await cell.wrong()]
        await buyers.close()
        return told(buyers, seen, wrong)


async def until_both_have_sold(buyers: Callers, buying: asyncio.Task[None], least: int) -> None:
    """Wait until so many purchases are done, and each cell has sold one."""
    async for look in patiently("not both cells sell", pause_s=0.2):
        look.saw = dict(buyers.done)
        if buying.done():
            buying.result()
            break
        if buyers.done.total() >= least and {HOME, OTHER} <= set(buyers.found.values()):
            break


def told(buyers: Callers, seen: Table, wrong: list[str]) -> int:
    """Print what was seen; 1 where anything is wrong."""
    kinds = ", ".join(f"{count} by {kind}" for kind, count in sorted(buyers.done.items()))
    say(f"{buyers.done.total()} purchases: {kinds}")
    for what in dict.fromkeys(what for each in seen.values() for what in each):
        counts = "".join(f"{each[what]:>8}" for each in seen.values())
        say(f"{what:<26}{counts}")
    for sentence in wrong:
        say(f"WRONG: {sentence[:2_000]}")
    say("The books and the rail of each cell agree." if not wrong else "Not all is well.")
    return 1 if wrong else 0


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="scripts/cells", description=__doc__)
    parser.add_argument("--jobs", type=int, default=42, help="purchases, of all kinds in turn")
    parser.add_argument("--rail", choices=("stub", "lnbits"), default="stub")
    options = parser.parse_args()
    hosts_tools.debian("haproxy")
    with tempfile.TemporaryDirectory(prefix="boltwork-cells-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # Postgres runs as another user, and must get in
        return asyncio.run(sell(options.jobs, options.rail, folder))


if __name__ == "__main__":
    sys.exit(main())
