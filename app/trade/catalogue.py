"""What is offered: each model with its inputs, its price, and who makes it here.

Offerings are data. A name that providers have made known is open where one of them makes it, or
where workers of the network may: whether one that can is there is asked before it is sold
(`app.trade.makers`). In development, and only there, the embedded painter stands in for it, and
every listing says so; production says that it isn't available.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum, auto
from typing import Any, Final

from app.trade.inputs import Schema
from app.trade.model_inputs import (
    BULK_IMAGE_INPUTS,
    BULK_VIDEO_INPUTS,
    MOST_SIDE,
    ONE_IMAGE_INPUTS,
    ONE_VIDEO_INPUTS,
    TIERED_INPUTS,
)
from app.trade.tiers import lanes_of
from pricing.money import MicroUsd, usd_number
from pricing.run_price import RunPrice

PAINTER: Final = "scene-1"
TOOLBOX: Final = "toolbox"  # the tools that run in processes of ours
VISION: Final = "vision"  # and those of them that an extra brings
NEEDS_EXTRA: Final = "Not available here: this server runs without the extra boltwork[tools]."
NETWORK: Final = "network"  # workers far away
PAINTER_SAYS: Final = "a small painter of scenes from words; not a diffusion model"
STAND_INS: Final = {
    PAINTER: PAINTER_SAYS,
    TOOLBOX: "it changes pictures by the words it knows, and is no diffusion model",
}
NOTHING: Final = MicroUsd(0)


class Kind(StrEnum):
    """What an offering makes."""

    IMAGE = auto()
    VIDEO = auto()
    TOOL = auto()  # what a run of a tool gives: `outputs` says it
    AGENT = auto()  # text, for its tokens


LENT: Final = (Kind.IMAGE, Kind.VIDEO)  # what workers of the network make


class Surface(StrEnum):
    """Which of our surfaces sells it: each has its own fields."""

    BULK = auto()  # POST /api/jobs
    GENERATIONS = auto()  # POST /v1/images/generate, /v1/videos/generate
    TOOLS = auto()  # POST /api/v1/generations/execute
    STUDIO = auto()  # POST /api/v1/jobs, by the tier


@dataclass(frozen=True, slots=True)
class Offering:
    """One line of the catalogue. `inputs` is a JSON Schema, without the name of the model."""

    id: str
    name: str
    kind: Kind
    description: str
    inputs: Mapping[Surface, Schema]
    item_microusd: MicroUsd = NOTHING  # of one item, and
    second_microusd: MicroUsd = NOTHING  # of each second of it
    makers: tuple[str, ...] = ()  # executors that make it themselves, the best first
    price: RunPrice | None = None  # of a run, where it is not told by item and second
    outputs: tuple[str, ...] = ()  # of a tool: image, video, vector, text, values
    typical_ms: int = 10_000  # how long one takes where none was measured yet
    licence: str = ""  # of the weights that it runs with
    worker_share_pct: int = 70  # of what one costs, to a worker of the network that makes it
    stand_in: str = PAINTER  # who makes it in development, where nobody else does; "": nobody

    @property
    def command(self) -> str:
        """How a chat calls it."""
        return f"/{self.id}"

    @property
    def lanes(self) -> tuple[str, ...]:
        """Where it is waited for: who makes it makes what waits in all of them."""
        return lanes_of(self.id) if Surface.STUDIO in self.inputs else (self.id,)

    @property
    def version(self) -> str:
        """Return what changes with the inputs that may be asked of a run."""
        plain = json.dumps(self.inputs.get(Surface.TOOLS), sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()[:12]

    def costing(self) -> dict[str, Any]:
        """Return its price as a client can compute it."""
        if self.price is not None:
            return self.price.to_json()
        if self.second_microusd:
            return {"type": "per_second", "usd": usd_number(self.second_microusd)}
        one = "per_film" if self.kind is Kind.VIDEO else "per_image"
        return {"type": one, "usd": usd_number(self.item_microusd)}

    @property
    def most_microusd(self) -> MicroUsd:
        """Return what a run costs at most."""
        return self.price.most_microusd if self.price is not None else self.item_microusd

    def price_microusd(self, inputs: Mapping[str, Any]) -> MicroUsd:
        """Return what one item with these inputs costs, whoever makes it."""
        if self.price is not None:
            return self.price.of(inputs)
        seconds = inputs.get("duration", 0)
        return MicroUsd(self.item_microusd + self.second_microusd * seconds)


@dataclass(frozen=True, slots=True)
class Listed:
    """An offering as it stands here."""

    offering: Offering
    made_by: str  # the executor's name; "" where nobody makes it
    stands_in: bool = False  # it isn't the model of this name that makes it
    is_lent: bool = False  # workers of the network may make it, too

    @property
    def is_open(self) -> bool:
        """Whether it can be bought."""
        return bool(self.made_by)

    @property
    def is_known(self) -> bool:
        """Whether it is made here, always in the same way."""
        return self.made_by == PAINTER and not self.stands_in

    @property
    def why_closed(self) -> str:
        """Why nobody makes it here."""
        return NEEDS_EXTRA if VISION in self.offering.makers else "Not available here."

    @property
    def description(self) -> str:
        """What it is, and who really makes it."""
        says = self.offering.description
        if self.stands_in:
            stand_in = f"{self.made_by} stands in for it: {STAND_INS[self.made_by]}"
            says += f" In development {stand_in}."
        elif not self.is_open:
            return f"{says} {self.why_closed}"
        elif self.made_by == NETWORK:
            return f"{says} Made by workers of the network, while one that can is there."
        elif self.made_by not in (*STAND_INS, VISION):
            says += f" Made by {self.made_by}."
        return f"{says} Workers of the network may make it, too." if self.is_lent else says


@dataclass(frozen=True, slots=True)
class Maker:
    """An executor, as the catalogue has to know it."""

    name: str
    most_side: int = MOST_SIDE  # of a picture, in pixels
    has_tiers: bool = False  # but models that are asked by shape and resolution have their own
    films: Mapping[str, Collection[Any]] = field(default_factory=dict)  # what those may be asked
    own: tuple[Offering, ...] = ()  # models that the operator sells of it, beside those known here


class Catalogue:
    """Which offerings there are, with the makers that are there."""

    def __init__(
        self,
        makers: Collection[Maker | str],
        *,
        development: bool,
        known: Sequence[Offering] | None = None,
    ) -> None:
        there = {maker.name: maker for maker in map(_maker, makers)}
        self._listed = {
            offering.id: _as_it_stands(offering, there, development=development)
            for offering in _with_own(there.values(), OFFERINGS if known is None else known)
        }

    def made_by(self, name: str) -> list[str]:
        """Return the models that an executor makes here, those that it stands in for too."""
        return [model for model, listed in self._listed.items() if listed.made_by == name]

    @property
    def known(self) -> tuple[str, ...]:
        """The models whose pictures are always the same here: the house knows what is right."""
        return tuple(model for model, listed in self._listed.items() if listed.is_known)

    def lanes_of_maker(self, name: str) -> list[str]:
        """Return where what an executor makes here is waited for."""
        return [lane for model in self.made_by(name) for lane in self._listed[model].offering.lanes]

    def maker_of(self, model: str) -> str:
        """Return the executor that makes a model here; "" where none does."""
        listed = self._listed.get(model)
        return "" if listed is None else listed.made_by

    def find(self, model: str, surface: Surface, kind: Kind) -> Listed | None:
        """Return an offering of this surface and kind by its name, open or not."""
        listed = self._listed.get(model)
        if listed is None or listed.offering.kind is not kind:
            return None
        return listed if surface in listed.offering.inputs else None

    def listed(self, surface: Surface, kind: Kind) -> Iterator[Listed]:
        """Yield what can be bought on a surface, in the catalogue's order."""
        for listed in self._listed.values():
            if listed.is_open and self.find(listed.offering.id, surface, kind):
                yield listed

    def tool(self, tool_id: str) -> Listed | None:
        """Return what can be run by this name, open or not."""
        listed = self._listed.get(tool_id)
        return listed if listed and Surface.TOOLS in listed.offering.inputs else None

    def tools(self) -> Iterator[Listed]:
        """Yield all that can be run, open or not, in the catalogue's order."""
        for listed in self._listed.values():
            if Surface.TOOLS in listed.offering.inputs:
                yield listed

    def tiered(self, model: str) -> Listed:
        """Return a model that is sold by the tier, open or not."""
        return self._listed[model]

    def get(self, model: str) -> Listed | None:
        """Return an offering by its name, whatever it makes and wherever it is sold."""
        return self._listed.get(model)


def own_offering(model: str, kind: Kind, price_microusd: MicroUsd, maker: str) -> Offering:
    """Return a model that the operator sells of a maker's, under a name and a price of his."""
    if kind is Kind.IMAGE:
        inputs = {Surface.BULK: BULK_IMAGE_INPUTS, Surface.GENERATIONS: ONE_IMAGE_INPUTS}
        says, prices = f"{model}: images from text.", (price_microusd, NOTHING)
    else:
        inputs = {Surface.BULK: BULK_VIDEO_INPUTS, Surface.GENERATIONS: ONE_VIDEO_INPUTS}
        says, prices = f"{model}: films from text.", (NOTHING, price_microusd)
    return Offering(model, model, kind, says, inputs, *prices, makers=(maker,))


def _maker(given: Maker | str) -> Maker:
    return given if isinstance(given, Maker) else Maker(given)


def _with_own(makers: Collection[Maker], all_known: Sequence[Offering]) -> Iterator[Offering]:
    """Yield what is known here and what operators sell: one name is one line of the catalogue.

    An operator who sells a known name says its price, and his maker comes before others.
    """
    own = {offering.id: offering for maker in makers for offering in maker.own}
    for known in all_known:
        mine = own.pop(known.id, None)
        if mine is not None and mine.kind is known.kind:
            yield replace(
                known,
                item_microusd=mine.item_microusd,
                second_microusd=mine.second_microusd,
                price=mine.price,
                makers=(*mine.makers, *known.makers),
            )
        else:
            yield mine or known
    yield from own.values()


def _as_it_stands(offering: Offering, makers: Mapping[str, Maker], *, development: bool) -> Listed:
    is_lent = NETWORK in makers and offering.kind in LENT
    own = next((name for name in offering.makers if name in makers and name != NETWORK), "")
    if own:
        maker = makers[own]
        by_tier = maker.has_tiers and Surface.BULK not in offering.inputs
        most_side = MOST_SIDE if by_tier else maker.most_side
        films = maker.films if offering.kind is Kind.VIDEO else {}
        inputs = {
            surface: _narrowed(schema, most_side, films)
            for surface, schema in offering.inputs.items()
        }
        return Listed(replace(offering, inputs=inputs), own, is_lent=is_lent)
    if development and offering.stand_in in makers:
        return Listed(offering, offering.stand_in, stands_in=True, is_lent=is_lent)
    alone = NETWORK if is_lent and NETWORK in offering.makers else ""
    return Listed(offering, alone, is_lent=is_lent)


def _narrowed(schema: Schema, most_side: int, choices: Mapping[str, Collection[Any]]) -> Schema:
    """Return a schema that asks for no side and no choice beyond what its maker makes."""
    fields = dict(schema["properties"])
    for name in set(choices) & set(fields):
        kept = [choice for choice in fields[name]["enum"] if choice in choices[name]]
        default = fields[name]["default"]
        fields[name] = {
            **fields[name], "enum": kept, "default": default if default in kept else kept[0]
        }  # fmt: skip
    for name in {"width", "height"} & set(fields):
        most = min(fields[name]["maximum"], most_side)
        fields[name] = {
            **fields[name], "maximum": most, "default": min(fields[name]["default"], most)
        }  # fmt: skip
    named = fields.get("resolution", {})
    if "2k" in named.get("enum", ()) and most_side < MOST_SIDE:
        fields["resolution"] = {**named, "enum": ["1k"]}
    return {**schema, "properties": fields}


BULK_IMAGE: Final = MicroUsd(25_000)
CREDIT: Final = MicroUsd(25_000)  # in USDC, where a picture that costs credits is paid for so
ONE_IMAGE: Final = MicroUsd(50_000)
ONE_VIDEO: Final = MicroUsd(250_000)
VIDEO_SECOND: Final = MicroUsd(50_000)


def _bulk(model: str, name: str) -> Offering:
    return Offering(
        model, name, Kind.IMAGE, f"{name}: images from text.", {Surface.BULK: BULK_IMAGE_INPUTS},
        BULK_IMAGE, makers=(NETWORK,),
    )  # fmt: skip


def _tiered(model: str, name: str, *others: Surface) -> Offering:
    inputs = {Surface.BULK: BULK_IMAGE_INPUTS, Surface.STUDIO: TIERED_INPUTS}
    return Offering(
        model, name, Kind.IMAGE, f"{name}: images from text.",
        {surface: inputs[surface] for surface in (*others, Surface.STUDIO)}, CREDIT,
        makers=(NETWORK,),
    )  # fmt: skip


def _one(model: str, kind: Kind, says: str) -> Offering:
    is_image = kind is Kind.IMAGE
    return Offering(
        model, model, kind, says,
        {Surface.GENERATIONS: ONE_IMAGE_INPUTS if is_image else ONE_VIDEO_INPUTS},
        ONE_IMAGE if is_image else ONE_VIDEO, makers=(NETWORK,),
    )  # fmt: skip


OFFERINGS: Final = (
    _bulk("seedream-v4", "SeedreamV4.5"),
    _bulk("chroma", "Chroma"),
    _tiered("z-image-turbo", "Z-Image Turbo", Surface.BULK),
    _tiered("flux-schnell", "FLUX.1 Schnell"),
    Offering(
        "grok-imagine-text-to-video", "Grok Imagine", Kind.VIDEO, "Grok Imagine: films from text.",
        {Surface.BULK: BULK_VIDEO_INPUTS}, second_microusd=VIDEO_SECOND, makers=(NETWORK,),
    ),
    _one("nano-banana-2", Kind.IMAGE, "Fast image generation."),
    _one("nano-banana-pro", Kind.IMAGE, "High quality image generation."),
    _one("seedream-4.0", Kind.IMAGE, "Seedream v4.0."),
    _one("seedream-4.6", Kind.IMAGE, "Seedream v4.6."),
    _one("veo-3.1-fast", Kind.VIDEO, "Fast video generation."),
    _one("veo-3.1-lite", Kind.VIDEO, "Lightweight video generation."),
    Offering(
        PAINTER, "Scene 1", Kind.IMAGE, f"Scene 1: {PAINTER_SAYS}.",
        {Surface.BULK: BULK_IMAGE_INPUTS, Surface.GENERATIONS: ONE_IMAGE_INPUTS}, MicroUsd(4_000),
        makers=(PAINTER,),
    ),
    Offering(
        f"{PAINTER}-film", "Scene 1 in motion", Kind.VIDEO, f"Scene 1 in motion: {PAINTER_SAYS}.",
        {Surface.BULK: BULK_VIDEO_INPUTS, Surface.GENERATIONS: ONE_VIDEO_INPUTS},
        second_microusd=MicroUsd(8_000), makers=(PAINTER,),
    ),
)  # fmt: skip
