"""Spells for programs: found, looked at, priced, and how their casts stand.

    import asyncio

    from app.buyer.client import Client
    from app.buyer.spells import quoted, spells

    async def main() -> None:
        async with Client("http://127.0.0.1:8402") as client:
            for spell in await spells(client, tag="picture"):
                print(spell["slug"], (await quoted(client, spell["slug"]))["totalSats"])

    asyncio.run(main())

`app.buyer.making` casts them, and saves what they make.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from app.buyer import spell_answers as answers
from app.buyer.answer_fields import is_id
from app.buyer.client import Client, without_none
from app.buyer.spell_answers import Card, CastShown, Quote, Spell

AT = "/api/v1/spells"
CASTS = f"{AT}/casts"


async def spells(client: Client, search: str = "", tag: str = "") -> list[Card]:
    """Return spells that can be cast, those that were cast most first."""
    asked = without_none(search=search or None, tag=tag or None)
    return client.strictly(answers.cards, await client.listed(f"{AT}/marketplace", **asked))


async def spell(client: Client, slug: str) -> Spell:
    """Return a spell, with its parameters and its steps. Raises Refused (404)."""
    return client.strictly(answers.spell, await client.call("GET", _at(slug)))


async def quoted(
    client: Client, slug: str, overrides: Mapping[str, Any] | None = None, sample: int = 10
) -> Quote:
    """Return what a cast costs now, and how long it takes. Free."""
    body = {"sampleSize": sample, "parameterOverrides": dict(overrides or {})}
    parsed = await client.call("POST", f"{_at(slug)}/quote", json=body, repeatable=True)
    return client.strictly(answers.quote, parsed)


class Cast:
    """One cast, as whoever knows its id sees it, or the account that has paid for it."""

    def __init__(
        self, client: Client, cast_id: str, headers: Mapping[str, str] | None = None
    ) -> None:
        if not is_id(cast_id):
            raise ValueError("the id of a cast is 32 hex digits")
        self.id, self.at = cast_id, f"{CASTS}/{cast_id}"
        self._client, self._headers = client, dict(headers or {})

    async def show(self) -> CastShown:
        """Return the cast as it stands, with all of its steps."""
        return self._read(await self._client.call("GET", self.at, headers=self._headers))

    async def cancel(self) -> CastShown:
        """Cancel it: what nobody makes yet is not made, and not charged."""
        options: dict[str, Any] = {"headers": self._headers, "repeatable": True}
        return self._read(await self._client.call("POST", f"{self.at}/cancel", **options))

    def _read(self, parsed: Mapping[str, Any]) -> CastShown:
        return self._client.strictly(answers.cast_, parsed, self.id)


def _at(slug: str) -> str:
    return f"{AT}/{quote(slug, safe='')}"
