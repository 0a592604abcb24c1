"""Who makes the items of batches, in single steps: claims them, holds them, and delivers files.

It is a worker of the house's in all but that what it brings is made of chance, and is stored as it
comes.
"""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from app.advance import Applied, Shell, Terms
from app.advance.leases import Held
from app.artifacts.keeping import Artifacts
from app.artifacts.object_store import ObjectStore
from app.ports import Recoded
from app.promises.leases import Holding, Leases
from db.engine import Database
from db.promises import Outbox

from .orders import MODEL

AT_ONCE = 8
TERMS = Terms(lease_s=3_600, lease_most_s=7_200)  # nothing lapses while it is looked at


class AsBrought:
    """Keeps the port Recoder, and encodes nothing."""

    async def recode(self, data: bytes, media_type: str) -> Recoded:
        """See Recoder."""
        return Recoded(data, media_type, 1_024, 1_024)

    async def close(self) -> None:
        """See Recoder."""


def _new_id() -> str:
    return uuid4().hex


class Hands:
    """Claims and delivers in one database, into one store."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.db = Database(database_url)
        shell = Shell(self.db, Outbox(self.db), TERMS, lambda: datetime.now(UTC))
        store = ObjectStore.in_folder(folder / "artifacts")
        kept = timedelta(hours=24)
        self._leases = Leases(
            shell, Artifacts(self.db, store, AsBrought(), shell.clock, _new_id, kept)
        )
        self._held: list[Holding] = []

    async def hold(self, most: int) -> int:
        """Claim so many items, and be heard of once with each."""
        held = [each for each in [await self._claim() for _ in range(most)] if each]
        for each in held:
            assert isinstance(await self._leases.beat(each, 40), Held)
        self._held += held
        return len(held)

    async def finish(self, size: int) -> int:
        """Deliver what is held, and all that waits."""
        held, self._held = self._held, []
        for each in held:
            await self._bring(each, size)
        return len(held) + await self.deliver(10**9, size)

    async def deliver(self, most: int, size: int) -> int:
        """Claim and deliver so many items, or all that wait; each is so many bytes."""
        numbers, made = iter(range(most)), 0

        async def one_by_one() -> None:
            nonlocal made
            for _ in numbers:
                held = await self._claim()
                if held is None:
                    return
                await self._bring(held, size)
                made += 1

        await asyncio.gather(*(one_by_one() for _ in range(AT_ONCE)))
        return made

    async def _claim(self) -> Holding | None:
        worker = f"house:{MODEL}:{_new_id()}"
        claimed = await self._leases.claim(worker, [MODEL], 1)
        return Holding(claimed[0].id, claimed[0].number, worker) if claimed else None

    async def _bring(self, held: Holding, size: int) -> None:
        told = await self._leases.submit(held, os.urandom(size), "image/png")
        assert isinstance(told, Applied), told


async def run() -> None:
    """Do as ordered, order by order, until the input ends."""
    hands: Hands | None = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        order: dict[str, Any] = json.loads(line)
        do = order.pop("do")
        done = 0
        if do == "open":
            hands = Hands(order["database_url"], Path(order["folder"]))
            await hands.db.open()
        else:
            assert hands is not None, "it is not open"
            done = await getattr(hands, do)(**order)
        print(json.dumps({"done": done}), flush=True)


if __name__ == "__main__":
    asyncio.run(run())
