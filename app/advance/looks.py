"""Pictures that workers bring: one that was given before for something else is not taken."""

from app.advance.act import Act
from db import items, looks
from db.artifacts import Artifact
from statemachine import look as law


async def is_reused(act: Act, item_id: str, made: Artifact) -> bool:
    """Say whether a picture is one that was brought for something else that was asked for."""
    if made.look is None:
        return False
    asked = (await items.asked_for(act.tx, [item_id]))[item_id]
    now = looks.given(made.look, made.sha256, asked)
    return any(law.is_reused(now, old) for old in await looks.near(act.tx, item_id, made.look))


async def keep(act: Act, item_id: str, made: Artifact) -> None:
    """Remember how a picture looks that was taken."""
    if made.look is not None:
        await looks.insert(act.tx, item_id, made.look, act.now)
