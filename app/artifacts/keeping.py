"""Artifacts are taken, read and let go. First the bytes, then the row: never a row without bytes.

Bytes that no row speaks of, or whose row has expired, are swept; not before they are hours old:
their row may be about to be written, by a process that stood still, and clocks may disagree.
"""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final

import structlog

from app.artifacts.previews import Previews
from app.ports import Clock, NotNow, Recoder, Store, Unfit
from db import artifacts
from db.artifacts import Artifact
from db.engine import Database

ORPHANED: Final = timedelta(hours=6)  # after it was put: no row is written after one hour
GRACE: Final = timedelta(minutes=10)  # after it expired: somebody may be reading it

log = structlog.get_logger("boltwork.artifacts")


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The desk that keeps what items made."""

    db: Database
    store: Store
    recoder: Recoder
    clock: Clock
    new_id: Callable[[], str]
    kept: timedelta

    @property
    def previews(self) -> Previews:
        """Where it lies how items look while they are made."""
        return Previews(self.store, self.recoder)

    async def take(self, data: bytes, media_type: str) -> Artifact | Unfit | NotNow:
        """Encode what an executor made anew, and store it.

        What is returned is there once its row is written too, by `db.artifacts.insert` in the
        transaction that ends the item; else its bytes are swept.
        """
        made = await self.recoder.recode(data, media_type)
        if isinstance(made, Unfit | NotNow):
            return made
        now, artifact_id = self.clock(), self.new_id()
        away = await self.store.put(artifact_id, made.data)
        return away or Artifact(
            artifact_id,
            made.media_type,
            sha256(made.data).hexdigest(),
            len(made.data),
            made.width,
            made.height,
            made.duration_ms,
            now,
            now + self.kept,
            look=made.look,
        )

    async def find(self, artifact_id: str) -> Artifact | None:
        """Return an artifact, expired or not. Raises DatabaseAway."""
        return await artifacts.find(self.db, artifact_id)

    async def living(self, artifact_ids: Sequence[str]) -> dict[str, Artifact]:
        """Return those of these artifacts that are still kept, by their ids."""
        found = await artifacts.living(self.db, artifact_ids, self.clock())
        return {artifact.id: artifact for artifact in found}

    def has_expired(self, artifact: Artifact) -> bool:
        """Say whether it is kept no more, whether or not its bytes are gone yet."""
        return artifact.expires_at <= self.clock()

    async def read(self, artifact: Artifact, start: int, length: int) -> bytes | NotNow | None:
        """Return some of its bytes; None where they are gone."""
        return await self.store.read(artifact.id, start, length)

    async def sweep(self) -> None:
        """Delete bytes that no row speaks of, and those whose row has expired."""
        now, swept = self.clock(), 0
        async with aclosing(self.store.older(now - ORPHANED)) as pages:
            async for page in pages:
                if isinstance(page, NotNow):
                    break
                kept = await artifacts.kept(self.db, page, now - GRACE)
                gone = [name for name in page if name not in kept]
                if gone and await self.store.delete(gone) is not None:
                    break
                swept += len(gone)
        if swept:
            log.info("artifacts_swept", count=swept)
