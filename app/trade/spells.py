"""Spells at work: published, found, priced, and cast as a batch whose items are their steps.

A spell is checked when it is published and again when it is cast: with the tools that are here
then. One whose tools are gone is broken, and says so; nothing of it is rewritten.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import structlog

from app import advance
from app.advance import Applied, Missing, Shell
from app.advance.casts import CastOf
from app.advance.spells import Published, Publishing
from app.ports import Wanted
from app.refusal import Refusal, Why
from app.till import Till
from app.trade.accounts import gone
from app.trade.batches import Line, Order
from app.trade.catalogue import Catalogue, Kind, Offering, Surface
from app.trade.inputs import pictures_in
from app.trade.model_inputs import MOST_SEED
from app.trade.spell_checks import Compiled, Tool, check, compiled
from app.trade.spell_document import SLUG, BadSpell, Document, parse, read
from db import casts, runtimes, spells
from db.casts import CastRow
from db.engine import Database
from db.spells import SpellView
from pricing.money import MicroUsd, Msat, msat_to_sats, shares_of, with_author
from statemachine import cast as law
from statemachine.cast import CastState
from statemachine.filling import needs, worst
from statemachine.item import ItemState

log = structlog.get_logger("boltwork.spells")

PAGE: Final = 100  # spells that are listed at once
STAND_IN_TEXT: Final = 1_000  # characters of a parameter that a quote knows nothing of
FORGOTTEN: Final = "What this cast was given is no longer kept. Cast the spell anew."
EXPIRED: Final = "A file that the missing steps are made from is kept no more. Cast it anew."


@dataclass(frozen=True, slots=True)
class StepQuote:
    """What a step costs without the author's share, and how long it takes."""

    id: int
    tool: str
    price_microusd: MicroUsd
    points: int
    runtime_ms: int
    measured: bool  # and not only said to be typical


@dataclass(frozen=True, slots=True)
class SpellQuote:
    """What a cast costs: each step, the author's share, and their sum, in whole sats."""

    total_msat: Msat
    total_microusd: MicroUsd
    steps: tuple[StepQuote, ...]
    author_pct: int
    author_points: int
    runtime_ms: int  # along the longest way through its steps


@dataclass(frozen=True, slots=True)
class Spells:
    """The desk of spells."""

    db: Database
    shell: Shell
    catalogue: Catalogue
    till: Till
    new_id: Callable[[], str]

    def tools(self) -> dict[str, Tool]:
        """Return what steps can use: all tools that can be bought here."""
        return {
            listed.offering.id: _tool(listed.offering)
            for listed in self.catalogue.tools()
            if listed.is_open
        }

    async def publish(self, document: Document, author_id: str | None) -> SpellView:
        """Publish a spell, or the next version of one of this author's; return that.

        Raises BadSpell, and Refusal (403) where its name is another author's.
        """
        pins = check(document, self.tools())
        ids, plain = (self.new_id(), self.new_id()), document.to_json()
        new = Publishing(*ids, author_id, plain, pins)
        told = await self.shell.do(advance.spells.publish, new)
        if isinstance(told, Missing):
            raise gone()
        if not isinstance(told, Published):
            raise Refusal(
                Why.NOT_ALLOWED,
                f"There is a spell {document.slug!r} of another author.",
                "Publish yours under another slug.",
            )
        found = await spells.by_slug(self.db, document.slug)
        assert found is not None, "it was just written"
        return found

    async def listed(self, tag: str | None, search: str | None) -> list[SpellView]:
        """Return spells that can be cast: those of a tag, those that some words fit."""
        found = await spells.listed(self.db, tag, search, PAGE)
        return [each for each in found if self.broken(each) is None]

    async def show(self, slug: str, reader: str | None = None) -> SpellView:
        """Return a spell; one that an operator has hidden only to its author. Raises Refusal."""
        found = await spells.by_slug(self.db, slug) if SLUG.fullmatch(slug) else None
        if found is None or (found.hidden_why is not None and found.author_id != reader):
            raise unknown_spell(slug)
        return found

    def broken(self, spell: SpellView) -> str | None:
        """Return why a spell can't be cast any more, None where it can.

        Where a tool has another version than the one that is pinned, the document is held to that.
        """
        tools = self.tools()
        for place, step in enumerate(spell.document["steps"]):
            if step["tool"] not in tools:
                return f"At /steps/{place}/tool: {step['tool']!r} isn't available here any more."
        if all(tools[tool].version == version for tool, version in spell.pins.items()):
            return None
        try:
            check(read(spell.document), tools)
        except BadSpell as bad:
            return str(bad)
        return None

    async def quote(self, spell: SpellView, given: Mapping[str, Any], sample: int) -> SpellQuote:
        """Return what a cast costs now. What must be given and isn't is priced at its longest.

        Raises BadSpell, and Refusal: 409 where it can't be cast, 503 where there is no price.
        """
        self._check_castable(spell)
        document = read(spell.document)
        steps, _ = compiled(document, self.tools(), {**_stand_ins(document), **given})
        lines = [self._line(step, 0) for step in steps]
        _, pct = self._author(spell, document)
        charged = [with_author(line.price_microusd, pct) for line in lines]
        total = (await self.till.batch(charged)).total_msat
        own = [line.price_microusd for line in lines]
        on_top = sum(charged) - sum(own)
        points = shares_of(msat_to_sats(total), [*own, on_top])
        took = await casts.runtimes(self.db, spell.version_id, sample)
        quoted = await self._steps(steps, own, points, took)
        return SpellQuote(
            total,
            MicroUsd(sum(charged)),
            tuple(quoted),
            pct,
            points[-1],
            _longest(steps, {step.id: step.runtime_ms for step in quoted}),
        )

    async def _steps(
        self,
        steps: Sequence[Compiled],
        prices: Sequence[MicroUsd],
        points: Sequence[int],
        took: Mapping[int, int],
    ) -> list[StepQuote]:
        lanes = await runtimes.of(self.db, [step.tool for step in steps])
        quoted = []
        for step, price, share in zip(steps, prices, points, strict=False):
            seen, typical = lanes.get(step.tool), self._offering(step.tool).typical_ms
            runtime = took.get(step.id, seen.median_ms if seen else typical)
            measured = step.id in took or seen is not None
            quoted.append(StepQuote(step.id, step.tool, price, share, runtime, measured))
        return quoted

    def order(
        self, spell: SpellView, given: Mapping[str, Any], payer: str, refund_to: str | None
    ) -> Order:
        """Return what is ordered by a cast. Raises BadSpell, and Refusal (409)."""
        self._check_castable(spell)
        document = read(spell.document)
        steps, values = compiled(document, self.tools(), given)
        of = CastOf(spell.version_id, values, *self._author(spell, document))
        return self._ordered(steps, document, payer, refund_to, of)

    def _author(self, spell: SpellView, document: Document) -> tuple[str | None, int]:
        """Return whose a share is, and how much; what came with the server is nobody's."""
        return spell.author_id, document.author_share_pct if spell.author_id is not None else 0

    async def resumption(self, row: CastRow, payer: str, refund_to: str | None) -> Order | None:
        """Return what is missing of a cast; None: it goes on, or all of it was made.

        Raises BadSpell, and Refusal: 409 where it can't be cast any more, or a file that it needs
        is kept no more.
        """
        stood = [step.made for step in await casts.steps(self.db, row.id)]
        if law.state_of(stood) in (CastState.RUNNING, CastState.COMPLETED):
            return None
        if row.forgotten_at is not None:
            raise Refusal(Why.NOT_POSSIBLE_NOW, FORGOTTEN)
        spell = await spells.by_version(self.db, row.version_id)
        assert spell is not None, "a version is never deleted"
        self._check_castable(spell)
        document, missing = read(spell.document), set(law.missing(stood)) or _unpaid(stood)
        all_steps, _ = compiled(document, self.tools(), row.parameters)
        steps = [step for step in all_steps if step.id in missing]
        made = await casts.outputs(self.db, row.id)
        kept = await casts.kept(self.db, row.id, self.shell.clock())
        if set().union(*(step.needs for step in steps)) - missing - kept:
            raise Refusal(Why.NOT_POSSIBLE_NOW, EXPIRED)
        author = self._author(spell, document)
        of = CastOf(spell.version_id, row.parameters, *author, resumes=row.id)
        return self._ordered(steps, document, payer, refund_to, of, made)

    def _ordered(
        self,
        steps: Sequence[Compiled],
        document: Document,
        payer: str,
        refund_to: str | None,
        of: CastOf,
        made: Mapping[int, list[str]] | None = None,
    ) -> Order:
        pct = of.author_pct
        lines = [self._line(step, pct, {each.id for each in steps}) for step in steps]
        tools = tuple(dict.fromkeys(step.tool for step in steps))
        return Order(lines, payer, Kind.TOOL, refund_to, tools=tools, cast=of, made=made or {})

    def _line(self, step: Compiled, author_pct: int, among: set[int] | None = None) -> Line:
        offering, inputs = self._offering(step.tool), step.inputs
        schema = offering.inputs[Surface.TOOLS]
        if "seed" in schema["properties"]:
            inputs = {"seed": int(self.new_id(), 16) & MOST_SEED, **inputs}
        price = with_author(offering.price_microusd(worst(inputs)), author_pct)
        pictures = [name for name in pictures_in(schema) if not needs(inputs.get(name))]
        return Line(
            Wanted(offering.id, inputs=inputs),
            offering.id,
            price,
            tuple(pictures),
            step=step.id,
            needs=tuple(sorted(step.needs & (among or set()))),
        )

    def _offering(self, tool: str) -> Offering:
        listed = self.catalogue.tool(tool)
        assert listed is not None, "it was checked"
        return listed.offering

    def _check_castable(self, spell: SpellView) -> None:
        against = spell.hidden_why and "The operator has withdrawn this spell."
        against = against or self.broken(spell)
        if against:
            raise Refusal(Why.NOT_POSSIBLE_NOW, f"This spell can't be cast. {against}")

    async def install(self) -> None:
        """Publish the spells that come with the server, where they are new or were changed.

        One whose tools aren't here, or can't do what it asks of them, is left out. Raises
        DatabaseAway.
        """
        tools, new = self.tools(), []
        known = await spells.of_house(self.db)
        for document in shipped():
            plain = document.to_json()
            if known.get(document.slug) == plain or not all(
                step.tool in tools for step in document.steps
            ):
                continue
            try:
                checked = check(document, tools)
            except BadSpell as bad:  # here its tools may do less than it asks of them
                log.warning("spell_left_out", spell=document.slug, reason=str(bad))
                continue
            ids = self.new_id(), self.new_id()
            new.append(Publishing(*ids, None, plain, checked))
        if new:
            await self.shell.do(advance.spells.install, new)

    async def keep_installed(self) -> None:
        """Do that, and return no more. Raises DatabaseAway."""
        await self.install()
        await asyncio.Event().wait()

    async def hide(self, slug: str, why: str | None) -> bool:
        """Hide a spell with a reason, or show it again; False: there is none of this name."""
        return isinstance(await self.shell.do(advance.spells.hide, slug, why), Applied)


@cache
def shipped() -> tuple[Document, ...]:
    """Return the spells that come with the server, as the package has them: read once."""
    folder = resources.files("app.trade") / "spellbook"
    found = sorted(folder.iterdir(), key=lambda each: each.name)
    yaml = (each.read_bytes() for each in found if each.name.endswith(".yaml"))
    return tuple(parse(each, is_yaml=True) for each in yaml)


def unknown_spell(slug: str) -> Refusal:
    """Return what is said of a spell that is not there."""
    return Refusal(
        Why.UNKNOWN,
        f"Spell {slug[:64]!r} not found.",
        "GET /api/v1/spells/marketplace lists those that can be cast.",
    )


def _tool(offering: Offering) -> Tool:
    return Tool(offering.inputs[Surface.TOOLS], offering.outputs, offering.version)


def _unpaid(stood: Sequence[law.Made]) -> set[int]:
    """Return the steps of a cast that wait to be paid for."""
    return {
        made.step for made in stood if not made.is_paid and made.state is not ItemState.COMPLETED
    }


def _stand_ins(document: Document) -> dict[str, Any]:
    """Return a value for each parameter that has no default: the longest, the largest."""
    return {
        name: _stand_in(rule) for name, rule in document.parameters.items() if "default" not in rule
    }


def _stand_in(rule: Mapping[str, Any]) -> Any:
    if "enum" in rule:
        return rule["enum"][0]
    if rule["type"] == "string":
        return "x" * min(rule.get("maxLength", STAND_IN_TEXT), STAND_IN_TEXT)
    if rule["type"] == "boolean":
        return True
    return rule.get("maximum", rule.get("minimum", 1))


def _longest(steps: Sequence[Compiled], took: Mapping[int, int]) -> int:
    """Return how long the longest way through the steps is: others are made beside it."""
    until: dict[int, int] = {}
    for step in steps:
        until[step.id] = took[step.id] + max((until[other] for other in step.needs), default=0)
    return max(until.values())
