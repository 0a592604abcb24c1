"""Spells for people: found by words, looked at step by step, and cast for one invoice."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.throttle import Rule
from app.refusal import Refusal
from app.strict_json import BadInput
from app.trade.spell_checks import levels
from app.trade.spell_document import SLUG, BadSpell, read
from app.trade.spells import SpellQuote, unknown_spell
from app.web.balance import placed, purse_of
from app.web.forms import read_form
from app.web.page import page, render, see
from app.web.troubles import Trouble, WrongField, trouble_of
from db.spells import SpellView

MOST_SEARCH = 200
SAMPLE = 10  # casts by which it is said how long one takes
OVERRIDE = "/context/parameterOverrides/"


@page
async def listed(request: Request) -> Response:
    """GET /spells: those that can be cast, by a tag or by words."""
    house = house_of(request)
    search = request.query_params.get("search", "").replace("\x00", "").strip()[:MOST_SEARCH]
    tag = request.query_params.get("tag", "").replace("\x00", "").strip()[:MOST_SEARCH]
    found = await house.spells.listed(tag or None, search or None)
    return render(request, "spells.html", found=found, search=search, tag=tag)


@page
async def show(request: Request) -> Response:
    """GET /spells/{slug}."""
    return await _shown(request, await _found(request), {})


@page
async def cast(request: Request) -> Response:
    """POST /spells/{slug}: a new cast, and on to its page. The same form sent twice is one cast."""
    house, spell = house_of(request), await _found(request)
    given = await read_form(request)
    try:
        async with house.throttle.turn(request, Rule.SUBMIT):
            overrides = _overrides(spell, given)
            order = house.spells.order(spell, overrides, house.throttle.payer(request), None)
            cast_id = await placed(request, order, given)
    except BadSpell as wrong:
        return await _shown(request, spell, given, _at_its_field(wrong))
    except (BadInput, Refusal) as refused:
        return await _shown(request, spell, given, trouble_of(refused, "buy"))
    return see(f"/casts/{cast_id}")


def _at_its_field(wrong: BadSpell) -> Trouble:
    """Return what is wrong with a parameter, at its field; anything else at the form."""
    if wrong.pointer.startswith(OVERRIDE):
        place = f"p-{wrong.pointer.removeprefix(OVERRIDE)}"
        return trouble_of(WrongField(place, wrong.sentence), "buy")
    return trouble_of(BadInput(wrong.sentence), "buy")


async def _found(request: Request) -> SpellView:
    slug: str = request.path_params["slug"]
    if len(slug) > 64 or not SLUG.fullmatch(slug):
        raise unknown_spell(slug)
    return await house_of(request).spells.show(slug)


def _overrides(spell: SpellView, given: dict[str, str]) -> dict[str, Any]:
    """Return what a form gives a spell's parameters, or raise WrongField."""
    found: dict[str, Any] = {}
    for name, rule in spell.document["parameters"].items():
        text, place = given.get(f"p-{name}", ""), f"p-{name}"
        if rule["type"] == "boolean":
            found[name] = bool(text)
        elif not text and "default" in rule:
            continue
        elif rule["type"] == "string":
            found[name] = text
        else:
            found[name] = _number(rule["type"], text, place)
    return found


async def _quoted(house: House, spell: SpellView, given: dict[str, str]) -> SpellQuote:
    """Return what a cast of what a form holds costs; where that is wrong, of the defaults."""
    try:
        return await house.spells.quote(spell, _overrides(spell, given) if given else {}, SAMPLE)
    except BadInput:
        return await house.spells.quote(spell, {}, SAMPLE)


def _number(kind: str, text: str, place: str) -> float:
    try:
        return int(text) if kind == "integer" else float(text)
    except ValueError:
        raise WrongField(place, "Enter a number.") from None


async def _shown(
    request: Request, spell: SpellView, given: dict[str, str], wrong: Trouble | None = None
) -> Response:
    house = house_of(request)
    broken, quote = house.spells.broken(spell), None
    if broken is None:
        try:
            quote = await _quoted(house, spell, given)
        except Refusal as refused:
            wrong = wrong or trouble_of(refused, "buy")
    return render(
        request,
        "spell.html",
        wrong=wrong,
        given=given,
        spell=spell,
        document=spell.document,
        stages=stages(house, spell),
        broken=broken,
        quote=quote,
        purse=await purse_of(request),
        key=house.new_id(),
    )


def stages(house: House, spell: SpellView) -> list[list[dict[str, Any]]]:
    """Return a spell's steps in stages: those of one stage are made side by side."""
    document = read(spell.document)
    found: dict[int, list[dict[str, Any]]] = {}
    for step, level in zip(document.steps, levels(document), strict=True):
        listed = house.catalogue.tool(step.tool)
        name = listed.offering.name if listed is not None else step.tool
        found.setdefault(level, []).append({"id": step.id, "tool": step.tool, "name": name})
    return [found[level] for level in sorted(found)]
