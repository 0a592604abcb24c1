"""Spells: found, looked at, priced and published."""

import re
from typing import Annotated, Any, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.body import json_response, parse, read_body
from app.http.fields import Body
from app.http.spell_status import card, details, quote_shape
from app.http.throttle import Rule
from app.strict_json import BadInput
from app.trade import spell_document
from app.trade.spell_document import SLUG
from app.trade.spells import unknown_spell

YAML: Final = re.compile(r"(?:application|text)/(?:x-)?yaml\b", re.IGNORECASE)
MOST_SEARCH: Final = 200
Fields = dict[str, Any]


class Quote(Body):
    """POST /api/v1/spells/{slug}/quote."""

    sample_size: Annotated[int, Field(ge=1, le=100)] = Field(10, alias="sampleSize")
    overrides: Fields = Field(default_factory=dict, alias="parameterOverrides")


async def marketplace(request: Request) -> Response:
    """GET /api/v1/spells/marketplace: what can be cast, by a tag or by words."""
    house = house_of(request)
    tag, search = _query(request, "tag", 32), _query(request, "search", MOST_SEARCH)
    found = await house.spells.listed(tag, search)
    return json_response([card(spell) for spell in found])


def _query(request: Request, name: str, most: int) -> str | None:
    given = request.query_params.getlist(name)
    text = given[0].strip() if given else ""
    if len(given) > 1 or len(text) > most or "\x00" in text:
        raise BadInput(f"The parameter {name!r} is one text of at most {most} characters.")
    return text or None


def slug_of(request: Request) -> str:
    """Return the slug in the path, or refuse what can't be one as unknown."""
    slug: str = request.path_params["slug"]
    if len(slug) > 64 or not SLUG.fullmatch(slug):
        raise unknown_spell(slug)
    return slug


async def show(request: Request) -> Response:
    """GET /api/v1/spells/{slug}: what it does, step by step."""
    house, slug = house_of(request), slug_of(request)
    holder = await house.callers.account(request)
    spell = await house.spells.show(slug, holder.account_id if holder else None)
    return json_response(details(spell, house.spells.broken(spell)))


async def quote(request: Request) -> Response:
    """POST /api/v1/spells/{slug}/quote: what a cast costs, step by step; free."""
    house, slug = house_of(request), slug_of(request)
    await house.callers.account(request)  # a key that doesn't hold is a 401
    async with house.throttle.turn(request, Rule.ESTIMATE):
        asked = parse(await read_body(request), Quote)
        spell = await house.spells.show(slug)
        quoted = await house.spells.quote(spell, asked.overrides, asked.sample_size)
    return json_response(quote_shape(quoted))


async def publish(request: Request) -> Response:
    """POST /api/v1/spells: 201 with a new spell, or with the next version of one's own."""
    house = house_of(request)
    holder = await house.callers.needed_account(request)
    async with house.throttle.turn(request, Rule.CREATE):
        body = await read_body(request)
        is_yaml = YAML.match(request.headers.get("content-type", "")) is not None
        document = spell_document.parse(body, is_yaml=is_yaml)
        spell = await house.spells.publish(document, holder.account_id)
    where = {"Location": f"/api/v1/spells/{spell.slug}"}
    return json_response(details(spell, None), 201, where)
