"""The house's own executors make what was bought: by the path that every other worker takes."""

import asyncio
import signal
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from obstore.store import MemoryStore

from app import advance
from app.advance import Applied, Lost, Missing, Otherwise, Replayed, Stale
from app.artifacts.object_store import ObjectStore
from app.artifacts.previews import Preview, Previews
from app.executors.painter import ScenePainter
from app.loops.lanes import Lanes
from app.ports import (
    NotNow,
    Unfit,
    Wanted,
)
from app.promises.leases import Holding, Leases, wish
from db.artifacts import Artifact
from statemachine.batch import BatchState
from statemachine.item import ItemState
from tests.world.market_fixtures import LANE
from tests.world.patience import PATIENCE_S, patiently
from tests.world.workshop import Scripted, Workshop, png

ROOT = Path(__file__).parents[2]


def a(prompt: str) -> Wanted:
    """Return a wish for a small picture."""
    return Wanted("scene-1", prompt, 256, 256)


async def test_each_item_ends_as_its_executor_says(workshop: Workshop) -> None:
    """Delivered, refused with the reason, or tried three times and lost; and charged so."""
    market, executor = workshop.market, Scripted()
    async with workshop.at_work(executor):
        await workshop.bought("b", *map(a, ("a cat", "refuse", "break", "junk", "other", "a dog")))
        await workshop.until("b", BatchState.COMPLETED)
    batch = await market.batch("b")
    assert (batch.delivered, batch.failed, batch.charged_amount) == (2, 4, 2_000)
    shown = await market.items("b")
    assert [(item.state.value, item.tries) for item in shown] == [
        ("completed", 0),
        ("failed", 0),
        ("dead_letter", 3),
        ("dead_letter", 3),
        ("dead_letter", 3),
        ("completed", 0),
    ]
    assert shown[1].reason == "Not this one." and shown[2].reason == "It could not be made."
    assert "memory" not in str(shown)  # what broke is no buyer's
    assert shown[4].reason == "Too large for me." and shown[0].progress == 100
    kept = await workshop.leases.artifacts.find(shown[0].artifact or "")
    assert kept is not None and kept.sha256 == shown[0].sha256
    bytes_ = await workshop.leases.artifacts.read(kept, 0, kept.size)
    assert isinstance(bytes_, bytes) and sha256(bytes_).hexdigest() == shown[0].sha256
    await market.is_right()


async def test_an_outage_of_who_makes_it_costs_no_try(workshop: Workshop) -> None:
    """The item is given back as often as it takes, and made when he is there again."""
    executor = Scripted(at_once=1)
    async with workshop.at_work(executor):
        await workshop.bought("b", a("away"))
        await workshop.until("b", BatchState.COMPLETED)
    [item] = await workshop.market.items("b")
    assert (item.state, item.tries, len(executor.asked)) == (ItemState.COMPLETED, 0, 5)
    await workshop.market.is_right()


async def test_the_embedded_painter_makes_what_was_bought(workshop: Workshop) -> None:
    """Its pictures are encoded anew, and kept by their hash; its steps are the item's progress."""
    async with workshop.at_work(ScenePainter(deadline_s=60)):
        await workshop.bought("b", a("a lighthouse at dusk"), a("mountains in winter"))
        await workshop.until("b", BatchState.COMPLETED)
    kept = [
        await workshop.leases.artifacts.find(item.artifact or "")
        for item in await workshop.market.items("b")
    ]
    assert [(one.media_type, one.width, one.height) for one in kept if one] == [
        ("image/png", 256, 256)
    ] * 2
    await workshop.market.is_right()


async def test_how_it_looks_is_known_to_every_process(workshop: Workshop) -> None:
    """By its row, with how far it is; and forgotten as soon as it is made."""
    executor, artifacts = Scripted(at_once=1), workshop.leases.artifacts
    elsewhere = Previews(artifacts.store, artifacts.recoder)
    async with workshop.at_work(executor):
        await workshop.bought("b", a("wait"))
        async for look in patiently("nothing is to be seen", pause_s=0.02):
            look.saw = [item] = await workshop.market.items("b")
            if item.preview is not None:
                break
        assert item.preview is not None and item.progress == 49
        seen = await elsewhere.read(item.preview)
        assert isinstance(seen, Preview) and seen.media_type == "image/png"
        executor.go.set()
        await workshop.until("b", BatchState.COMPLETED)
        async for _ in patiently("it is not forgotten", pause_s=0.02):
            if await elsewhere.read(item.preview) is None:
                break
    await workshop.market.is_right()


async def test_who_loses_his_lease_stops(workshop: Workshop) -> None:
    """When another has brought the result, the executor is told at its next beat, and cancelled."""
    market, executor = workshop.market, Scripted(at_once=1)
    await workshop.bought("b", a("wait"), a("a cat"))
    [early] = await market.claim("early")
    market.clock.forward(seconds=31)
    await Lanes(market.db, market.shell, market.clock).turn()
    async with workshop.at_work(executor), asyncio.timeout(PATIENCE_S):
        await executor.begun.wait()
        held = Holding(early.id, early.number, "early")
        assert await workshop.leases.submit(held, png(), "image/png") == Applied()
        await executor.stopped.wait()
        await workshop.until("b", BatchState.COMPLETED)
    assert (await market.batch("b")).delivered == 2
    await market.is_right()


async def test_whoever_is_told_to_end_gives_back_what_he_holds(workshop: Workshop) -> None:
    """Without a try: another process makes it at once."""
    executor = Scripted(at_once=1)
    await workshop.bought("b", a("wait"))
    async with workshop.at_work(executor), asyncio.timeout(PATIENCE_S):
        await executor.begun.wait()
    [item] = await workshop.market.items("b")
    assert (item.state, item.tries) == (ItemState.PENDING, 0)
    await workshop.market.is_right()
    other = Scripted()
    other.go.set()
    async with workshop.at_work(other):
        await workshop.until("b", BatchState.COMPLETED)


class Shut(ObjectStore):
    """A store that is away until it is opened."""

    is_open = False
    tried: asyncio.Event

    async def put(self, name: str, data: bytes) -> NotNow | None:
        """Keep bytes, once it is open."""
        self.tried.set()
        return await super().put(name, data) if self.is_open else NotNow("The store is away.")

    async def read(self, name: str, start: int, length: int) -> bytes | NotNow | None:
        """Return bytes, once it is open."""
        self.tried.set()
        if not self.is_open:
            return NotNow("The store is away.")
        return await super().read(name, start, length)


async def test_what_was_made_is_kept_until_the_store_is_back(workshop: Workshop) -> None:
    """It is not made again, and its buyer loses no try by it."""
    executor, store = Scripted(), Shut(MemoryStore(), None, 1, 1)
    store.tried = asyncio.Event()
    workshop.leases = Leases(workshop.market.shell, replace(workshop.leases.artifacts, store=store))
    await workshop.bought("b", a("a cat"))
    async with workshop.at_work(executor), asyncio.timeout(PATIENCE_S):
        await store.tried.wait()
        store.is_open = True
        await workshop.until("b", BatchState.COMPLETED)
    [item] = await workshop.market.items("b")
    assert (item.state, item.tries, len(executor.asked)) == (ItemState.COMPLETED, 0, 1)
    await workshop.market.is_right()


async def test_what_is_made_of_a_file_waits_until_the_store_is_back(workshop: Workshop) -> None:
    """It is held meanwhile, and loses no try: that a file can't be read is nobody's failure."""
    executor, store = Scripted(), Shut(MemoryStore(), None, 1, 1)
    store.tried, store.is_open = asyncio.Event(), True
    workshop.leases = Leases(workshop.market.shell, replace(workshop.leases.artifacts, store=store))
    async with workshop.at_work(executor), asyncio.timeout(PATIENCE_S):
        await workshop.bought("b", a("a cat"))
        await workshop.until("b", BatchState.COMPLETED)
        [cat] = await workshop.market.items("b")
        store.tried.clear()
        store.is_open = False
        inputs = {"prompt": "a dog", "image": f"artifact:{cat.artifact}"}
        await workshop.bought("c", replace(a("a dog"), inputs=inputs))
        await store.tried.wait()
        store.is_open = True
        await workshop.until("c", BatchState.COMPLETED)
    [item] = await workshop.market.items("c")
    assert (item.state, item.tries, len(executor.asked)) == (ItemState.COMPLETED, 0, 2)
    assert list(executor.asked[1].files) == [inputs["image"]]
    await workshop.market.is_right()


async def test_progress_is_seen_while_an_item_is_made(workshop: Workshop) -> None:
    """In percent, and not whole before it is delivered."""
    executor = Scripted(at_once=1)
    await workshop.bought("b", a("wait"))
    async with workshop.at_work(executor), asyncio.timeout(PATIENCE_S):
        async for _ in patiently("no beat was seen"):
            if (await workshop.market.items("b"))[0].progress == 49:
                break
        assert (await workshop.market.items("b"))[0].state is ItemState.PROCESSING
        executor.go.set()
        await workshop.until("b", BatchState.COMPLETED)


async def test_a_result_is_taken_once(workshop: Workshop) -> None:
    """The same bytes again are a replay and are not stored again; what is no picture is refused,
    and may be brought anew; nobody brings what is another's."""
    market, leases = workshop.market, workshop.leases
    await workshop.bought("b", a("a cat"))
    [claim] = await leases.claim("w", [LANE], 5)
    held = Holding(claim.id, claim.number, "w")
    assert wish(claim.asked) == a("a cat")
    assert await leases.claim("v", [LANE], 5) == []
    assert isinstance(await leases.submit(held, b"no picture", "image/png"), Unfit)
    theirs = Holding(claim.id, claim.number, "v")
    assert await leases.submit(theirs, png(), "image/png") == Missing()
    assert await leases.submit(held, png(), "image/png") == Applied()
    assert await leases.submit(held, png(), "image/png") == Replayed()
    assert await leases.submit(held, png() + b" ", "image/png") == Otherwise()
    rows = await market.db.read_all("SELECT id FROM artifact")
    assert len(rows) == 1
    await market.is_right()


async def test_a_result_that_lay_too_long_is_brought_again(workshop: Workshop) -> None:
    """A process that stood still between the bytes and the row writes no row: its bytes may be
    swept. Whoever brings them again is taken."""
    market, leases = workshop.market, workshop.leases
    await workshop.bought("b", a("a cat"))
    [claim] = await leases.claim("w", [LANE], 1)
    made = await leases.artifacts.take(png(), "image/png")
    assert isinstance(made, Artifact)
    market.clock.forward(hours=1, seconds=1)
    brought = sha256(png()).hexdigest()
    whose = claim.id, claim.number, "w"
    assert await market.shell.do(advance.leases.submit, *whose, brought, made) == Stale()
    assert (await market.items("b"))[0].artifact is None
    assert await leases.submit(Holding(*whose), png(), "image/png") == Applied()
    await market.is_right()


async def test_who_gave_an_item_back_brings_no_result(workshop: Workshop) -> None:
    """Nothing is encoded or stored for him."""
    await workshop.bought("b", a("a cat"))
    [claim] = await workshop.leases.claim("w", [LANE], 1)
    held = Holding(claim.id, claim.number, "w")
    assert await workshop.leases.release(held) == Applied()
    assert await workshop.leases.submit(held, png(), "image/png") == Lost()
    assert await workshop.leases.fail(held, "no") == Lost()
    assert await workshop.leases.decline(held, "no") == Lost()
    assert await workshop.market.db.read_all("SELECT id FROM artifact") == []


CLAIMS = """
import asyncio, sys
from datetime import datetime, UTC
from app import advance
from app.advance import Shell, Terms
from db.engine import Database
from db.promises import Outbox

async def main():
    db = Database(sys.argv[1], pool_size=1)
    await db.open()
    now = datetime.fromisoformat(sys.argv[2])
    shell = Shell(db, Outbox(db), Terms(), lambda: now)
    print(await shell.do(advance.leases.claim, "dead", [sys.argv[3]], 2), flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_what_a_killed_process_held_is_made_by_another(
    workshop: Workshop, database_url: str
) -> None:
    """Its leases lapse, and no msat is lost."""
    market = workshop.market
    await workshop.bought("b", a("a cat"), a("a dog"), a("a cow"))
    arguments = [database_url, market.clock().isoformat(), LANE]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLAIMS, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        assert b"bi1" in await child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    await child.wait()
    assert await market.states("b") == {"claimed": 2, "pending": 1}
    market.clock.forward(seconds=31)
    await Lanes(market.db, market.shell, market.clock).turn()
    async with workshop.at_work(Scripted()):
        await workshop.until("b", BatchState.COMPLETED)
    assert [item.tries for item in await market.items("b")] == [1, 1, 0]
    assert (await market.batch("b")).charged_amount == 3_000
    await market.is_right()
