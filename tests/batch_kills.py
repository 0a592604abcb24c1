"""A large batch of which much fails, while the server is killed again and again: `scripts/kills`.

Each item is delivered once or lost for good, what was delivered is charged, and the rest is back to
the last sat, whoever paid: an invoice, or a session's balance.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from db.embedded import EmbeddedPostgres
from db.migrate import migrate
from tests import crash_batches as batches
from tests.crash_buyer import Buyer, Died, Json
from tests.crash_run import Databases
from tests.crash_server import ForkedServer
from tests.crash_world import Books, StubSide, audit
from tests.patience import PATIENCE_S

LOST = 0.3  # of its items
PAYERS = ("invoice", "session")


@dataclass(frozen=True)
class Told:
    """What came of one batch."""

    payer: str
    kills: int
    delivered: int
    lost: int
    charged_sats: int
    wrong: tuple[str, ...]


def body(items: int, dice: random.Random) -> Json:
    """Return an order of so many images, of which some are refused and some never made."""
    lost = set(dice.sample(range(items), int(items * LOST)))
    words = ("REFUSE", "BREAK")
    prompts = [f"{words[n % 2]} {n}" if n in lost else f"a cat, {n}" for n in range(items)]
    return {"defaults": {"model": "scene-1"}, "images": [{"prompt": said} for said in prompts]}


async def sold(databases: Databases, payer: str, items: int, kills: int, seed: int) -> Told:
    """Sell one batch to a payer, with the server killed so often on the way."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="boltwork-kills-") as folder:
        async with databases.one() as url:
            server = ForkedServer(Path(folder), url, {})
            side = StubSide(server.folder, server.clock)
            buyer = Buyer(side, Books(url), server.clock, server.command)
            order, killed = body(items, dice), 0

            def more() -> int:
                return dice.randrange(1, 2 + items // (4 * kills))

            async def story() -> None:
                if payer == "session":
                    await batches.on_a_session(buyer, order)
                else:
                    await batches.bought(buyer, order)

            try:
                async with buyer.wallet.running():
                    while True:
                        await server.start()
                        buyer.url = server.url
                        telling = asyncio.create_task(story())
                        if killed < kills and await _killed(server, buyer, more(), telling):
                            killed += 1
                            continue
                        await telling
                        break
                    return await _told(buyer, side, payer, killed)
            finally:
                await server.kill()
                await buyer.close()
                await buyer.books.close()
                await side.close()


async def _killed(
    server: ForkedServer, buyer: Buyer, more: int, telling: "asyncio.Task[None]"
) -> bool:
    """Kill the server once some more items have ended; False where the story has ended before."""
    query, until_s = "SELECT count(*) AS n FROM item WHERE ended_at IS NOT NULL", time.monotonic()
    [was] = await buyer.books.ask(query)
    while not telling.done() and time.monotonic() < until_s + PATIENCE_S:
        [now] = await buyer.books.ask(query)
        if now["n"] >= was["n"] + more:
            break
        await asyncio.sleep(0.05)
    if telling.done():
        return False
    await server.kill()
    buyer.url = ""
    with suppress(Died):
        await telling
    return True


async def _told(buyer: Buyer, side: StubSide, payer: str, killed: int) -> Told:
    [batch] = await buyer.books.ask(
        "SELECT items, delivered, failed, charged_amount FROM batch WHERE state = 'completed'"
    )
    wrong = await audit(buyer.books, side)
    lost = int(batch["items"] * LOST)
    if (batch["failed"], batch["delivered"]) != (lost, batch["items"] - lost):
        wrong.append(f"{batch['delivered']} were delivered, and {batch['failed']} lost")
    sats = batch["charged_amount"] // 1_000
    return Told(payer, killed, batch["delivered"], batch["failed"], sats, tuple(wrong))


async def _main(template_url: str, items: int, kills: int, seed: int) -> int:
    wrong = 0
    for payer in PAYERS:
        told = await sold(Databases(template_url), payer, items, kills, seed)
        print(f"{told}", flush=True)
        wrong += bool(told.wrong)
    return 1 if wrong else 0


def main() -> int:
    """Sell as the command line asks for, on a Postgres of its own."""
    parser = argparse.ArgumentParser(prog="scripts/kills", description=__doc__)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="boltwork-kills-") as folder:
        Path(folder).chmod(0o711)  # as root, the server is another user and must get in
        cluster = EmbeddedPostgres(Path(folder) / "data", fast_for_tests=True)
        url = cluster.start()
        try:
            migrate(url)
            return asyncio.run(_main(url, options.items, options.kills, options.seed))
        finally:
            cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
