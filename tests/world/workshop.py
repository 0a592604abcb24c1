"""Who makes items in tests at their own pace, and the desk where they claim and deliver."""

import asyncio
import contextlib
import io
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial

import pytest
from obstore.store import MemoryStore
from PIL import Image

from app import advance
from app.advance.batches import Ordered
from app.artifacts.object_store import ObjectStore
from app.loops.making import Making
from app.ports import (
    Declined,
    Executor,
    Made,
    NotBegun,
    Step,
    Stepped,
    Undoable,
    Wanted,
    unwatched_step,
)
from app.promises.leases import Leases, asked_of
from db.items import NewItem
from db.signals import Signals
from statemachine.batch import BatchState, invoice_id
from tests.world.artifact_fixtures import desk_of
from tests.world.market_fixtures import LANE, Market
from tests.world.patience import PATIENCE_S


def png() -> bytes:
    """Return a small picture."""
    kept = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(kept, "PNG")
    return kept.getvalue()


@dataclass
class Scripted:
    """An executor that does what the prompt says."""

    name: str = "scripted"
    at_once: int = 2
    go: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Wanted] = field(default_factory=list)

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """Make it, or do not."""
        self.asked.append(wanted)
        stepped(Step(1, 2, png()))
        self.begun.set()
        match wanted.prompt:
            case "wait":
                try:
                    await self.go.wait()
                except asyncio.CancelledError:
                    self.stopped.set()
                    raise
            case "away" if len(self.asked) < 5:
                raise NotBegun
            case "refuse":
                return Declined("Not this one.")
            case "break":
                raise RuntimeError("no memory")
            case "junk":
                return Made(b"no picture", "image/png", 8, 8)
            case "other":
                return Undoable("Too large for me.")
        return Made(png(), "image/png", 8, 8)

    async def healthy(self) -> Undoable | None:
        """It always is."""
        return None

    async def close(self) -> None:
        """Nothing is held."""


@dataclass
class Workshop:
    """A market, and the desk of those who make things."""

    market: Market
    leases: Leases
    signals: Signals

    async def bought(self, batch_id: str, *wants: Wanted) -> None:
        """Buy a batch of these."""
        items = [
            NewItem(f"{batch_id}i{place}", LANE, 1, 1_000, asked_of(wanted))
            for place, wanted in enumerate(wants)
        ]
        price_msat = 1_000 * len(wants)
        opened = self.market.invoice(price_msat)
        ordered = Ordered(items, "p", {})
        await self.market.shell.do(advance.batches.begin, batch_id, ordered, price_msat, opened)
        await self.market.pay(invoice_id(batch_id), opened)

    @contextlib.asynccontextmanager
    async def at_work(self, executor: Executor) -> AsyncIterator[None]:
        """Have an executor at work for as long as the block lasts."""
        new_id = partial(secrets.token_hex, 8)
        making = Making(
            executor, [LANE], self.leases, self.signals, new_id, beat_s=0.05, shows_s=0.05
        )
        running = asyncio.create_task(making.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await executor.close()

    async def until(self, batch_id: str, *states: BatchState) -> None:
        """Wait until a batch is in one of these states."""
        changed, stop = self.signals.watch(batch_id)
        async with asyncio.timeout(PATIENCE_S):
            while (await self.market.batch(batch_id)).state not in states:
                await self.signals.wait(changed, 1)
                changed.clear()
        stop()


@pytest.fixture
async def workshop(market: Market) -> AsyncIterator[Workshop]:
    """A workshop whose artifacts lie in memory."""
    artifacts = desk_of(market.db, ObjectStore(MemoryStore(), None, 1, 1), market.clock)
    signals = Signals(market.db)
    listening = asyncio.create_task(signals.listen())
    yield Workshop(market, Leases(market.shell, artifacts), signals)
    listening.cancel()
    await artifacts.recoder.close()
