"""A large batch of which much fails, while the server is killed again and again: `scripts/kills`.

Each item is delivered once or lost for good, what was delivered is charged, and the rest is back to
the last msat and the last millionth of USDC, whoever paid: an invoice, a session's balance, an
account's in sats or in USDC, or an order in USDC. The first of the kills is while it is bought, and
the last one while what was not delivered goes back.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from statemachine.item import MOST_TRIES
from tests.runs import crash_accounts as accounts
from tests.runs import crash_batches as batches
from tests.runs import crash_usdc as usdc
from tests.runs.crash_buyer import Buyer, Died, Json
from tests.runs.crash_run import Databases
from tests.runs.crash_server import ForkedServer
from tests.runs.crash_world import Books, StubSide, audit
from tests.runs.own_postgres import own_postgres
from tests.world.patience import PATIENCE_S

LOST = 0.3  # of its items
STORIES: dict[str, Callable[[Buyer, Json], Coroutine[Any, Any, None]]] = {
    "invoice": batches.bought,
    "session": batches.on_a_session,
    "account": accounts.in_sats,
    "account in USDC": accounts.in_usdc,
    "x402": usdc.delivered_in_part,
}
PAYERS = tuple(STORIES)
ORDERED = "SELECT count(*) AS n FROM batch"
ENDED = "SELECT count(*) AS n FROM item WHERE ended_at IS NOT NULL"
OWED = "SELECT count(*) AS n FROM payout"
# Whoever held such an item was killed, as often as the law tries: nothing was wrong with it.
KILLED = f"""
SELECT count(*) AS n FROM item i
 WHERE i.state = 'failed' AND starts_with(i.asked->>'prompt', 'a cat,')
   AND {MOST_TRIES} = (SELECT count(*) FROM lease l WHERE l.item_id = i.id AND l.state = 'lapsed')
"""


@dataclass(frozen=True)
class Told:
    """What came of one batch."""

    payer: str
    kills: int
    delivered: int
    lost: int
    held_by_killed: int  # of these, as often as an item is tried
    charged: str
    wrong: tuple[str, ...]
    took_s: float


def body(items: int, dice: random.Random) -> Json:
    """Return an order of so many images, of which some are refused and some never made."""
    lost = set(dice.sample(range(items), int(items * LOST)))
    words = ("REFUSE", "BREAK")
    prompts = [f"{words[n % 2]} {n}" if n in lost else f"a cat, {n}" for n in range(items)]
    return {"defaults": {"model": "scene-1"}, "images": [{"prompt": said} for said in prompts]}


def moments(items: int, kills: int, dice: random.Random) -> Iterator[tuple[str, int]]:
    """Yield when to kill: at so many more of what a query counts."""
    yield ORDERED, 1
    for _ in range(kills - 2):
        yield ENDED, dice.randrange(1, 2 + items // (2 * kills))
    yield OWED, 1


async def sold(databases: Databases, payer: str, items: int, kills: int, seed: int) -> Told:
    """Sell one batch to a payer, with the server killed so often on the way."""
    dice, began_s = random.Random(seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="boltwork-kills-") as folder:
        async with databases.one() as url:
            server = ForkedServer(Path(folder), url, {})
            side = StubSide(server.folder, server.clock)
            buyer = Buyer(side, Books(url), server.clock, server.command)
            order, killed = body(items, dice), 0
            try:
                async with buyer.wallet.running():
                    for moment in moments(items, kills, dice):
                        killed += await _killed(server, buyer, moment, order, payer)
                    await _started(server, buyer)
                    await STORIES[payer](buyer, order)
                    return await _told(buyer, side, payer, killed, began_s)
            finally:
                await server.kill()
                await buyer.close()
                await buyer.books.close()
                await side.close()


async def _started(server: ForkedServer, buyer: Buyer) -> None:
    await server.start()
    buyer.url = server.url


async def _killed(
    server: ForkedServer, buyer: Buyer, moment: tuple[str, int], order: Json, payer: str
) -> bool:
    """Start the server, and kill it at a moment; False where the story has ended before."""
    await _started(server, buyer)
    telling = asyncio.create_task(STORIES[payer](buyer, order))
    (query, more), until_s = moment, time.monotonic() + PATIENCE_S
    [was] = await buyer.books.ask(query)
    while not telling.done() and time.monotonic() < until_s:
        [now] = await buyer.books.ask(query)
        if now["n"] >= was["n"] + more:
            break
        await asyncio.sleep(0.02)
    is_over = telling.done()
    await server.kill()
    buyer.url = ""
    with suppress(Died):
        await telling
    return not is_over


async def _told(buyer: Buyer, side: StubSide, payer: str, killed: int, began_s: float) -> Told:
    [batch] = await buyer.books.ask(
        "SELECT items, delivered, failed, charged_amount, price_amount, asset FROM batch"
        " WHERE state = 'completed'"
    )
    wrong = await audit(buyer.books, side)
    [killed_each_time] = await buyer.books.ask(KILLED)
    lost = int(batch["items"] * LOST) + killed_each_time["n"]
    if (batch["failed"], batch["delivered"]) != (lost, batch["items"] - lost):
        wrong.append(f"{batch['delivered']} were delivered, and {batch['failed']} lost")
    charged = f"{batch['charged_amount']} of {batch['price_amount']} {batch['asset']}"
    told = batch["delivered"], batch["failed"], killed_each_time["n"], charged
    return Told(payer, killed, *told, tuple(wrong), round(time.monotonic() - began_s, 1))


async def _main(template_url: str, payers: list[str], items: int, kills: int, seed: int) -> int:
    wrong = 0
    for payer in payers:
        told = await sold(Databases(template_url), payer, items, kills, seed)
        print(f"{told}", flush=True)
        wrong += bool(told.wrong) or told.kills < kills
    return 1 if wrong else 0


def main() -> int:
    """Sell as the command line asks for, on a Postgres of its own."""
    parser = argparse.ArgumentParser(prog="scripts/kills", description=__doc__)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--payer", action="append", choices=PAYERS, help="only this payer")
    options = parser.parse_args()
    with own_postgres("kills") as (url, _):
        payers = options.payer or [*PAYERS]
        return asyncio.run(_main(url, payers, options.items, options.kills, options.seed))


if __name__ == "__main__":
    sys.exit(main())
