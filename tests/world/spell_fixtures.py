"""A server with spells for the tests, and somebody who publishes and casts them over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.world.account_fixtures import has, paid_in, signed_in, standing
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import patiently
from tests.world.scripted_tools import ScriptedTools

CHAIN = {
    "slug": "five-steps",
    "name": "Five steps",
    "description": "A picture that is changed four times.",
    "tags": ["landscape", "test"],
    "author_share_pct": 30,
    "parameters": {
        "what": {"type": "string", "default": "a quiet valley", "maxLength": 200},
        "change": {"type": "string", "default": "sepia", "maxLength": 200},
    },
    "steps": [
        {"id": 1, "tool": "text-to-image", "inputs": {"prompt": "{{parameters.what}}, wide"}},
        {"id": 2, "tool": "resize", "inputs": {"image": "{{steps.1.outputs.0}}"}},
        {
            "id": 3,
            "tool": "retouch",
            "inputs": {
                "input_image": {"$from": "#/steps/2/outputs/0"},
                "input_prompt": {"$from": "#/parameters/change"},
            },
        },
        {"id": 4, "tool": "crop", "inputs": {"image": "{{steps.3.outputs.0}}"}},
        {"id": 5, "tool": "caption",
         "inputs": {"image": "{{steps.4.outputs.0}}", "text": "{{parameters.what}}"}},
    ],
}  # fmt: skip


@dataclass
class Stage:
    """A server, what makes things there, and the headers of an author and of a caster."""

    at: Instance
    painter: ScriptedTools
    toolbox: ScriptedTools
    author: dict[str, str]
    caster: dict[str, str]

    async def publish(self, document: dict[str, Any]) -> dict[str, Any]:
        """Publish a spell as the author."""
        answer = await self.at.post("/api/v1/spells", document, headers=self.author)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def cast(self, slug: str, **overrides: Any) -> str:
        """Cast a spell from the caster's account; return the cast's id."""
        body = {"slug": slug, "context": {"parameterOverrides": overrides}}
        answer = await self.at.post("/api/v1/spells/cast", body, headers=self.caster)
        assert answer.status_code == 202, answer.text
        assert answer.json()["status"] == "running"
        return str(answer.json()["castId"])

    async def ended(self, cast_id: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Wait until a cast has ended, and return it."""
        path = f"/api/v1/spells/casts/{cast_id}"
        said: dict[str, Any] = {}
        async for look in patiently("the cast does not end", pause_s=0.05):
            answer = await self.at.http.get(path, headers=headers or self.caster)
            assert answer.status_code == 200, answer.text
            look.saw = said = answer.json()
            if said["status"] in ("completed", "failed"):
                break
        return said

    async def sats(self, headers: dict[str, str]) -> int:
        """Return what an account has."""
        return int((await standing(self.at, headers))["balanceSats"])


@asynccontextmanager
async def stage_on(
    database_url: str, folder: Path, sats: int = 5_000, **settings: Any
) -> AsyncIterator[Stage]:
    """Run a server whose tools are scripted, with a caster who has so much."""
    painter, toolbox = ScriptedTools("scene-1"), ScriptedTools("toolbox")
    async with instance_of(database_url, folder, executors=[painter, toolbox], **settings) as at:
        author, caster = await signed_in(at, "author"), await signed_in(at, "caster")
        await paid_in(at, caster, sats)
        await has(at, caster, sats)
        yield Stage(at, painter, toolbox, author, caster)
