"""Where items are claimed and delivered: the one path of all who make things.

The house's own executors take it, and whoever comes through a door. What is brought is encoded anew
and stored before the item's end is written, so that there is never an item without its bytes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from app import advance
from app.advance import Lost, Missing, Otherwise, Outcome, Replayed, Shell, Stale
from app.advance.leases import Held
from app.artifacts.keeping import Artifacts
from app.ports import NotNow, Unfit, Wanted
from db import leases
from db.items import Claim
from statemachine.lease import LeaseState

LONGEST_REASON = 500  # characters of what a holder says


def asked_of(wanted: Wanted) -> dict[str, Any]:
    """Return what an item asks for, as its row keeps it. ValueError: no row keeps a picture."""
    asked = asdict(wanted)
    if asked.pop("reference"):
        raise ValueError("a picture to go by is kept as an artifact, and not in a row")
    return asked


def wish(asked: dict[str, Any]) -> Wanted:
    """Return what an item asks for, as an executor is told it."""
    return Wanted(**asked)


@dataclass(frozen=True, slots=True)
class Holding:
    """Which lease, and whose."""

    item_id: str
    number: int
    worker: str


@dataclass(frozen=True, slots=True)
class Leases:
    """The desk of those who make items."""

    shell: Shell
    artifacts: Artifacts

    async def claim(self, worker: str, in_lanes: Sequence[str], most: int) -> list[Claim]:
        """Claim up to so many items in one of these lanes; an empty list: nothing waits there."""
        return await self.shell.do(advance.leases.claim, worker, in_lanes, most)

    async def beat(self, held: Holding, progress: int) -> Held | Lost | Missing:
        """Be heard of: it is held on. Lost: whoever makes it is to stop."""
        whose = held.item_id, held.number, held.worker
        return await self.shell.do(advance.leases.beat, *whose, min(100, max(0, progress)))

    async def submit(
        self, held: Holding, data: bytes, media_type: str
    ) -> Outcome | Lost | Otherwise | Unfit | NotNow:
        """Take a result in. Unfit: it is nothing that is kept, and the item is still held.

        The same bytes again are Replayed, and are neither encoded nor stored again.
        """
        brought = sha256(data).hexdigest()
        before = await leases.get(self.shell.db, held.item_id, held.number)
        if before is None or before.worker != held.worker:
            return Missing()
        if before.state is LeaseState.DONE:
            return Replayed() if before.sha256 == brought else Otherwise()
        if before.state is LeaseState.RELEASED:
            return Lost()
        made = await self.artifacts.take(data, media_type)
        if isinstance(made, Unfit | NotNow):
            return made
        whose = held.item_id, held.number, held.worker
        told = await self.shell.do(advance.leases.submit, *whose, brought, made)
        return NotNow("It lay too long before it was written.") if isinstance(told, Stale) else told

    async def decline(self, held: Holding, reason: str) -> Outcome | Lost:
        """Say that the item can't be made, whoever tries; the buyer reads the reason."""
        whose = held.item_id, held.number, held.worker
        return await self.shell.do(advance.leases.decline, *whose, reason[:LONGEST_REASON])

    async def fail(self, held: Holding, reason: str) -> Outcome | Lost:
        """Say that this holder could not make it: another may."""
        whose = held.item_id, held.number, held.worker
        return await self.shell.do(advance.leases.fail, *whose, reason[:LONGEST_REASON])

    async def release(self, held: Holding) -> Outcome | Lost:
        """Give the item back, without blame."""
        return await self.shell.do(advance.leases.release, held.item_id, held.number, held.worker)
