"""Spells: published under a name that is one author's for ever, and hidden by an operator."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome
from db import people, spells


@dataclass(frozen=True, slots=True)
class Publishing:
    """A document that was checked, with the versions of the tools that it was checked with."""

    spell_id: str  # where it is new
    version_id: str
    author_id: str | None  # None: it comes with the server
    document: dict[str, Any]
    pins: dict[str, str]


@dataclass(frozen=True, slots=True)
class Published:
    """It is the version of this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Its name is another author's: nothing changed."""


async def publish(act: Act, new: Publishing) -> Published | Taken | Missing:
    """Publish a spell, or the next version of one of the same author's. Missing: the author's
    account was forgotten at this moment.
    """
    if new.author_id is not None and await people.lock(act.tx, new.author_id) is None:
        return Missing()
    told = new.document, dict(new.pins), act.now
    if await spells.insert(act.tx, new.spell_id, new.author_id, new.version_id, *told):
        return Published(1)
    row = await spells.lock(act.tx, new.document["slug"])
    if row is None or row.author_id != new.author_id:
        return Taken()
    await spells.publish(act.tx, row, new.version_id, *told)
    return Published(row.latest + 1)


async def install(act: Act, new: Sequence[Publishing]) -> None:
    """Publish spells that come with the server; a name that an author has is left to them.

    Of two processes that start at once the second finds that there is nothing to do.
    """
    for each in new:
        row = await spells.lock(act.tx, each.document["slug"])
        if row is None or not await spells.is_latest(act.tx, row, each.document):
            await publish(act, each)


async def hide(act: Act, slug: str, why: str | None) -> Outcome:
    """Hide a spell with a reason that is shown to its author; None: show it again."""
    return Applied() if await spells.hide(act.tx, slug, why, act.now) else Missing()
