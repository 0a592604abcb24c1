"""Casts: what is written with a batch of one, and what the end of a step is to those after it.

A step that was made gives those their turn that need nothing else; one that is lost takes with it
all that was to be made from it. Both in the transaction that ends it, whose batch is locked.
"""

from dataclasses import dataclass
from typing import Any

from app.advance.act import Act
from db import casts, items
from db.batches import BatchRow, OfCast
from statemachine import batch as batch_law
from statemachine import item as law
from statemachine.filling import Outputs, Unfit, fill


@dataclass(frozen=True, slots=True)
class CastOf:
    """Of what spell a batch is a cast, and whose share of it is."""

    version_id: str
    parameters: dict[str, Any]
    author_id: str | None = None
    author_pct: int = 0
    resumes: str | None = None  # the cast that is to go on; None: it is a new one

    def id_of(self, begun: batch_law.BatchFacts) -> str:
        """Return the cast's id: that of its first batch."""
        return self.resumes or begun.id

    def of(self, begun: batch_law.BatchFacts) -> OfCast:
        """Return what the batch's row holds of it."""
        return OfCast(self.id_of(begun), self.author_id, self.author_pct)

    async def write(self, act: Act, begun: batch_law.BatchFacts) -> None:
        """Write a new cast, before its batch."""
        if self.resumes is None:
            await casts.insert(act.tx, begun.id, self.version_id, self.parameters, act.now)


async def follow(act: Act, batch: BatchRow, made: str) -> list[batch_law.Event]:
    """Give those items their turn that waited for this one last.

    Where what was made doesn't fit an item, it is declined, and what would be made from that one is
    cancelled: that is what the batch counts.
    """
    if batch.cast_id is None:
        return []
    due = await items.due(act.tx, batch.id, made)
    outputs = await casts.outputs(act.tx, batch.cast_id) if due else {}
    asked = await items.asked_for(act.tx, [row.id for row in due]) if due else {}
    lost: list[batch_law.Event] = []
    for row in due:
        facts, filled = items.facts_of(row, batch), _filled(asked[row.id], outputs)
        if isinstance(filled, Unfit):
            declined = law.decide(facts, law.Declined(str(filled))).facts
            await items.move(act.tx, row, declined, act.now)
            lost.append(batch_law.ItemLost(with_it=await forsake(act, batch, row.id)))
        else:
            await items.ready(act.tx, row, law.decide(facts, law.Readied()).facts, filled)
    return lost


def _filled(asked: dict[str, Any], outputs: Outputs) -> dict[str, Any] | Unfit:
    try:
        filled: dict[str, Any] = fill(asked, outputs)
    except Unfit as unfit:
        return unfit
    return filled


async def forsake(act: Act, batch: BatchRow, lost: str) -> int:
    """Cancel what was to be made from an item that is lost; return how many those were."""
    if batch.cast_id is None:
        return 0
    return await items.forsake(act.tx, batch.id, lost, act.now)
