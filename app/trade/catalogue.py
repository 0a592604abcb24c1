"""What is offered: each model with its inputs, its price, and who makes it here.

Offerings are data. A name that providers have made known is open where one of them, or a worker,
makes it. In development, and only there, the embedded painter stands in for it, and every listing
says so; production says that it isn't available.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum, auto
from typing import Any, Final

from app.trade.inputs import RATIOS, Schema
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
MOST_PROMPT: Final = 4_000
MOST_SEED: Final = 2**31 - 1
MOST_SIDE: Final = 2_048


class Kind(StrEnum):
    """What an offering makes."""

    IMAGE = auto()
    VIDEO = auto()
    TOOL = auto()  # what a run of a tool gives: `outputs` says it
    AGENT = auto()  # text, for its tokens


class Surface(StrEnum):
    """Which of our surfaces sells it: each has its own fields."""

    BULK = auto()  # POST /api/jobs
    GENERATIONS = auto()  # POST /v1/images/generate, /v1/videos/generate
    TOOLS = auto()  # POST /api/v1/generations/execute


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
        return {"type": "per_image", "usd": usd_number(self.item_microusd)}

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

    @property
    def is_open(self) -> bool:
        """Whether it can be bought."""
        return bool(self.made_by)

    @property
    def why_closed(self) -> str:
        """Why nobody makes it here."""
        return NEEDS_EXTRA if VISION in self.offering.makers else "Not available here."

    @property
    def description(self) -> str:
        """What it is, and who really makes it."""
        if self.stands_in:
            return (
                f"{self.offering.description} In development {self.made_by} stands in for it:"
                f" {STAND_INS[self.made_by]}."
            )
        if not self.is_open:
            return f"{self.offering.description} {self.why_closed}"
        if self.made_by in (*STAND_INS, VISION):
            return self.offering.description
        maker = "workers of the network" if self.made_by == NETWORK else self.made_by
        return f"{self.offering.description} Made by {maker}."


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

    def get(self, model: str) -> Listed | None:
        """Return an offering by its name, whatever it makes and wherever it is sold."""
        return self._listed.get(model)


def own_offering(model: str, kind: Kind, price_microusd: MicroUsd, maker: str) -> Offering:
    """Return a model that the operator sells of a maker's, under a name and a price of his."""
    if kind is Kind.IMAGE:
        inputs = {Surface.BULK: _BULK_IMAGE, Surface.GENERATIONS: _ONE_IMAGE}
        says, prices = f"{model}: images from text.", (price_microusd, NOTHING)
    else:
        inputs = {Surface.BULK: _BULK_VIDEO, Surface.GENERATIONS: _ONE_VIDEO}
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
    own = next((name for name in offering.makers if name in makers), "")
    if own:
        maker = makers[own]
        by_tier = maker.has_tiers and Surface.BULK not in offering.inputs
        most_side = MOST_SIDE if by_tier else maker.most_side
        films = maker.films if offering.kind is Kind.VIDEO else {}
        inputs = {
            surface: _narrowed(schema, most_side, films)
            for surface, schema in offering.inputs.items()
        }
        return Listed(replace(offering, inputs=inputs), own)
    if development and offering.stand_in in makers:
        return Listed(offering, offering.stand_in, stands_in=True)
    return Listed(offering, "")


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


def _text(description: str, most: int = MOST_PROMPT, least: int = 0, **more: Any) -> Schema:
    lengths = {"maxLength": most} | ({"minLength": least} if least else {})
    return {"type": "string", "description": description} | lengths | more


def _whole(description: str, least: int, most: int, **more: Any) -> Schema:
    bounds = {"minimum": least, "maximum": most}
    return {"type": "integer", "description": description} | bounds | more


def _one_of(description: str, choices: Collection[Any], default: Any) -> Schema:
    kind = "integer" if isinstance(default, int) else "string"
    return {"type": kind, "description": description, "enum": list(choices), "default": default}


def _object(required: Collection[str], **fields: Schema) -> Schema:
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


_PROMPT: Final = _text("What is to be seen.", least=1)
_FINER: Final = {
    "negative_prompt": _text("What must not be seen."),
    "steps": _whole("How many passes; more are finer.", 1, 50),
    "seed": _whole("The same seed makes the same picture again.", 0, MOST_SEED),
}
_BULK_IMAGE: Final = _object(
    ("prompt",),
    prompt=_PROMPT,
    width=_whole("Width in pixels.", 256, MOST_SIDE, default=1_024),
    height=_whole("Height in pixels.", 256, MOST_SIDE, default=1_024),
    params={
        "type": "object",
        "description": "Handed on to who makes it; these are known, others are ignored.",
        "properties": _FINER,
    },
)
_BULK_VIDEO: Final = _object(
    ("prompt",),
    prompt=_PROMPT,
    duration=_one_of("Length in seconds.", (5, 10, 15), 5),
    resolution=_one_of("The shorter side.", ("480p", "720p"), "720p"),
    aspect_ratio=_one_of("Width to height.", RATIOS, "16:9"),
)
_ONE_IMAGE: Final = _object(
    ("prompt",),
    prompt=_PROMPT,
    aspect_ratio=_one_of("Width to height.", RATIOS, "1:1"),
    resolution=_one_of("The longer side.", ("1k", "2k"), "1k"),
)
_ONE_VIDEO: Final = _object(
    ("prompt", "mode"),
    prompt=_PROMPT,
    mode={"type": "string", "description": "Text to video.", "enum": ["t2v"]},
    aspect_ratio=_one_of(
        "Width to height.", ("landscape", "portrait", "square", *RATIOS), "landscape"
    ),
    resolution=_one_of("The shorter side.", ("480p", "720p"), "720p"),
    duration=_one_of("Length in seconds.", (5,), 5),
)

BULK_IMAGE: Final = MicroUsd(25_000)
ONE_IMAGE: Final = MicroUsd(50_000)
ONE_VIDEO: Final = MicroUsd(250_000)
VIDEO_SECOND: Final = MicroUsd(50_000)


def _bulk(model: str, name: str) -> Offering:
    return Offering(
        model, name, Kind.IMAGE, f"{name}: images from text.", {Surface.BULK: _BULK_IMAGE},
        BULK_IMAGE, makers=(NETWORK,),
    )  # fmt: skip


def _one(model: str, kind: Kind, says: str) -> Offering:
    is_image = kind is Kind.IMAGE
    return Offering(
        model, model, kind, says,
        {Surface.GENERATIONS: _ONE_IMAGE if is_image else _ONE_VIDEO},
        ONE_IMAGE if is_image else ONE_VIDEO, makers=(NETWORK,),
    )  # fmt: skip


OFFERINGS: Final = (
    _bulk("seedream-v4", "SeedreamV4.5"),
    _bulk("chroma", "Chroma"),
    _bulk("z-image-turbo", "Z-Image Turbo"),
    Offering(
        "grok-imagine-text-to-video", "Grok Imagine", Kind.VIDEO, "Grok Imagine: films from text.",
        {Surface.BULK: _BULK_VIDEO}, second_microusd=VIDEO_SECOND, makers=(NETWORK,),
    ),
    _one("nano-banana-2", Kind.IMAGE, "Fast image generation."),
    _one("nano-banana-pro", Kind.IMAGE, "High quality image generation."),
    _one("seedream-4.0", Kind.IMAGE, "Seedream v4.0."),
    _one("seedream-4.6", Kind.IMAGE, "Seedream v4.6."),
    _one("veo-3.1-fast", Kind.VIDEO, "Fast video generation."),
    _one("veo-3.1-lite", Kind.VIDEO, "Lightweight video generation."),
    Offering(
        PAINTER, "Scene 1", Kind.IMAGE, f"Scene 1: {PAINTER_SAYS}.",
        {Surface.BULK: _BULK_IMAGE, Surface.GENERATIONS: _ONE_IMAGE}, MicroUsd(4_000),
        makers=(PAINTER,),
    ),
    Offering(
        f"{PAINTER}-film", "Scene 1 in motion", Kind.VIDEO, f"Scene 1 in motion: {PAINTER_SAYS}.",
        {Surface.BULK: _BULK_VIDEO, Surface.GENERATIONS: _ONE_VIDEO},
        second_microusd=MicroUsd(8_000), makers=(PAINTER,),
    ),
)  # fmt: skip
