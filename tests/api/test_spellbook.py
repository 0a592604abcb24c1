"""The spells that come with the server: each is cast whole, with the tools that make it here."""

from pathlib import Path

import pytest

from app.trade.spells import shipped
from tests.world.account_fixtures import has, paid_in, signed_in
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import patiently
from tests.world.scripted_tools import ScriptedTools

SPELLS = {document.slug: document for document in shipped()}


def test_six_spells_come_with_the_server() -> None:
    """Nobody has a share of them."""
    assert len(SPELLS) == 6
    assert all(document.author_share_pct == 0 for document in SPELLS.values())


async def cast(at: Instance, slug: str, holder: dict[str, str]) -> dict[str, object]:
    """Cast a spell with its defaults; return the cast when it has ended."""
    begun = await at.post("/api/v1/spells/cast", {"slug": slug}, headers=holder)
    assert begun.status_code == 202, begun.text
    path = f"/api/v1/spells/casts/{begun.json()['castId']}"
    said: dict[str, object] = {}
    async for look in patiently("the cast does not end", pause_s=0.1):
        look.saw = said = (await at.http.get(path, headers=holder)).json()
        if said["status"] in ("completed", "failed"):
            break
    return said


@pytest.mark.parametrize("slug", sorted(set(SPELLS) - {"told-picture"}))
async def test_a_spell_of_the_house_is_cast_whole(
    database_url: str, tmp_path: Path, slug: str
) -> None:
    """All of its steps are made by the real tools, none of which asks anybody outside."""
    async with instance_of(database_url, tmp_path, executors=None) as at:
        holder = await signed_in(at, "caster")
        await paid_in(at, holder, 2_000)
        await has(at, holder, 2_000)
        listed = (await at.http.get("/api/v1/spells/marketplace")).json()
        assert slug in [each["slug"] for each in listed]
        said = await cast(at, slug, holder)
        assert said["status"] == "completed", said
        steps = said["steps"]
        assert isinstance(steps, list) and len(steps) == len(SPELLS[slug].steps)


async def test_what_the_agent_writes_is_painted(database_url: str, tmp_path: Path) -> None:
    """A step of text and steps of pictures mix; what it says of references is its text."""
    tools = [ScriptedTools(name) for name in ("scene-1", "toolbox", "agent")]
    async with instance_of(database_url, tmp_path, executors=tools) as at:
        holder = await signed_in(at, "caster")
        await paid_in(at, holder, 2_000)
        await has(at, holder, 2_000)
        said = await cast(at, "told-picture", holder)
        assert said["status"] == "completed", said
    painted = tools[0].asked[0].inputs["prompt"]
    assert painted == "A calm lake, {{steps.1.outputs.0}}."
