"""The settings of who makes pictures and films for us: servers of the operator's, and providers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings

from app.settings.forms import HttpAddress, Key, Positive
from app.workflow import Workflow, read_workflows
from pricing.offers import Offer, parse_offers

TAKEN = (
    "agent",
    "comfyui",
    "gemini",
    "network",
    "scene-1",
    "toolbox",
    "venice",
    "vision",
)  # names of other makers
OWN_TOOLS = (
    "adjust", "agent", "caption", "contact-sheet", "convert", "crop", "cut-out", "moderate",
    "palette", "pan-and-zoom", "qr-code", "read-text", "resize", "restyle", "text-to-image",
    "trace", "upscale",
)  # fmt: skip
# What Venice asked for pictures on 2026-11-30; what is sold of them is above that.
COSTS = "chroma=0.01,z-image-turbo=0.01,seedream-v4=0.05"
VENICE = (
    "chroma=0.025,z-image-turbo=0.025,seedream-v4=0.06,"
    "grok-imagine-text-to-video=0.1/s@grok-imagine-text-to-video-private"
)


def _offers(given: str) -> str:
    try:
        parse_offers(given)
    except ValueError:
        raise ValueError(
            "must be name=price in dollars (name=price/s of a second of a film), like flux-dev=0.02"
            " or flux-dev=0.02@its-name-there; several are separated by commas, each of a name of"
            " its own in small letters"
        ) from None
    return given


def _name(given: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,39}", given) or given in TAKEN:
        raise ValueError(
            f"must be small letters, digits, dots and hyphens, and none of {', '.join(TAKEN)}"
        )
    return given


def _costs(given: str) -> str:
    try:
        is_cost = all(offer.theirs == offer.name for offer in parse_offers(given))
    except ValueError:
        is_cost = False
    if not is_cost:
        raise ValueError(
            "must be name=cost in dollars (name=cost/s of a second of a film), like flux-dev=0.01;"
            " several are separated by commas, each of a name of its own"
        )
    return given


Offers = Annotated[str, AfterValidator(_offers)]


class WorkerSettings(BaseSettings):
    """Machines that others lend. Each field is the environment variable of its alias."""

    workers: bool = Field(
        False,
        validation_alias="WORKERS",
        description="strangers may lend machines, see what is to be made, and are paid for it; what"
        " protects buyers: pictures are compared with those brought for other words, canaries"
        " (`WORKER_CANARY_EVERY`), and the part of a new worker's pay that is held back",
    )
    worker_canary_every: Annotated[int, Field(ge=0, le=10_000)] = Field(
        20,
        validation_alias="WORKER_CANARY_EVERY",
        description="of so many items that a worker delivers one is followed by one that the house"
        " orders and whose answer it knows; a worker that brings something else loses what is held"
        " of its pay, to those who had its last items; before the first of these all is held;"
        " 0: never",
    )
    worker_payout_sats: Annotated[int, Field(ge=0, le=100_000_000)] = Field(
        1_000,
        validation_alias="WORKER_PAYOUT_SATS",
        description="free pay of a worker from which on it is sent by itself; 0: never",
    )
    worker_payout_usdc: Annotated[int, Field(ge=0, le=100_000)] = Field(
        5, validation_alias="WORKER_PAYOUT_USDC", description="the same in USDC"
    )
    worker_requests_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        3_000,
        validation_alias="WORKER_REQUESTS_PER_MINUTE",
        description="requests of one worker a minute to each process, and ten times as many of one"
        " address; 0: no limit",
    )
    unmade_s: Annotated[int, Field(ge=60, le=604_800)] = Field(
        900,
        validation_alias="UNMADE_S",
        description="seconds after which an item that is made by workers alone is given up, where"
        " none came that could make it; what was paid for it goes back",
    )


class MakerSettings(WorkerSettings):
    """Makers. Each field is the environment variable of its alias."""

    images_url: HttpAddress | None = Field(
        None,
        validation_alias="IMAGES_URL",
        description="a server that speaks OpenAI's Images API, with its path"
        " (`https://api.openai.com/v1`)",
    )
    images_key: Key | None = Field(
        None, validation_alias="IMAGES_KEY", description="the key for it, where it wants one"
    )
    images_models: Offers = Field(
        "",
        validation_alias="IMAGES_MODELS",
        description="what it sells: `name=price[@its-name-there]` in USD a picture, separated by"
        " commas",
    )
    images_edits: Offers = Field(
        "",
        validation_alias="IMAGES_EDITS",
        description="tools of its: what changes a picture as words say, as"
        " `name=price[@its-name-there]` in USD a run (`kontext=0.05@gpt-image-1`)",
    )
    images_name: Annotated[str, AfterValidator(_name)] = Field(
        "images-api",
        validation_alias="IMAGES_NAME",
        description="who makes them, as buyers read it (`madeBy`)",
    )
    images_at_once: Positive = Field(
        2, validation_alias="IMAGES_AT_ONCE", description="pictures that it makes at once"
    )
    images_most_side: Annotated[int, Field(ge=1_024, le=2_048)] = Field(
        2_048,
        validation_alias="IMAGES_MOST_SIDE",
        description="longest side that it makes, in pixels",
    )
    images_finer: bool = Field(
        False,
        validation_alias="IMAGES_FINER",
        description="sends `seed`, `steps` and `negative_prompt` too; OpenAI refuses them",
    )

    maker_costs: Annotated[str, AfterValidator(_costs)] = Field(
        COSTS,
        validation_alias="MAKER_COSTS",
        description="what a maker wants of us: `name=cost[/s]` in USD a picture, or a second of a"
        " film, by the names of our models; the books show it as `expense:makers`",
    )
    provider_timeout_s: Annotated[int, Field(ge=1, le=840)] = Field(
        180,
        validation_alias="PROVIDER_TIMEOUT_S",
        description="longest wait for one picture of a maker",
    )

    provider_film_timeout_s: Annotated[int, Field(ge=1, le=840)] = Field(
        600, validation_alias="PROVIDER_FILM_TIMEOUT_S", description="and for one film of a maker"
    )
    venice_api_key: Key | None = Field(
        None,
        validation_alias="VENICE_API_KEY",
        description="key for Venice's pictures and films; without it Venice isn't asked",
    )
    venice_base_url: HttpAddress | None = Field(
        None, validation_alias="VENICE_BASE_URL", description="another server of that API"
    )
    venice_models: Offers = Field(
        VENICE,
        validation_alias="VENICE_MODELS",
        description="what is sold of Venice: `name=price[/s][@its-name-there]` in USD a picture, or"
        " a second of a film",
    )
    venice_at_once: Positive = Field(
        4, validation_alias="VENICE_AT_ONCE", description="pictures and films that it makes at once"
    )

    comfyui_url: HttpAddress | None = Field(
        None,
        validation_alias="COMFYUI_URL",
        description="a ComfyUI of yours (`http://127.0.0.1:8188`)",
    )
    comfyui_key: Key | None = Field(
        None,
        validation_alias="COMFYUI_KEY",
        description="a bearer token for it, where a proxy before it wants one",
    )
    comfyui_workflows: Path | None = Field(
        None,
        validation_alias="COMFYUI_WORKFLOWS",
        description="folder of its workflows, exported for the API, as `name.json`",
    )
    comfyui_models: Offers = Field(
        "",
        validation_alias="COMFYUI_MODELS",
        description="what it sells: `name=price[/s][@name-of-the-file]` in USD a picture, or a"
        " second of a film",
    )
    comfyui_at_once: Positive = Field(
        1, validation_alias="COMFYUI_AT_ONCE", description="pieces that are queued there at once"
    )

    gemini_media: Offers = Field(
        "",
        validation_alias="GEMINI_MEDIA",
        description="pictures and films sold of Gemini: `name=price[/s][@its-name-there]` in USD;"
        " none without it",
    )
    gemini_media_at_once: Positive = Field(
        2, validation_alias="GEMINI_MEDIA_AT_ONCE", description="of these at once"
    )

    @model_validator(mode="after")
    def _have_makers(self) -> "MakerSettings":
        rules = (
            (
                (self.images_url is None) != (self.images_models + self.images_edits == ""),
                "IMAGES_URL and IMAGES_MODELS go together, or IMAGES_EDITS: set both, or neither",
            ),
            (
                self.images_key is not None and self.images_url is None,
                "IMAGES_KEY is of no use without IMAGES_URL and IMAGES_MODELS",
            ),
            (
                any(offer.is_film for offer in (*self.images_offers, *self.edit_offers)),
                "IMAGES_MODELS names a price for a second (/s): these servers make pictures only",
            ),
            (
                not {offer.name for offer in self.edit_offers}.isdisjoint(
                    (*OWN_TOOLS, *(offer.name for offer in self.images_offers))
                ),
                "IMAGES_EDITS names a model of IMAGES_MODELS, or a tool that runs here: give it"
                " another name",
            ),
            (
                len({self.comfyui_url is None, self.comfyui_workflows is None,
                     self.comfyui_models == ""}) > 1,
                "COMFYUI_URL, COMFYUI_WORKFLOWS and COMFYUI_MODELS go together: set all, or none",
            ),
            (
                self.comfyui_key is not None and self.comfyui_url is None,
                "COMFYUI_KEY is of no use without COMFYUI_URL",
            ),
        )  # fmt: skip
        for is_so, sentence in rules:
            if is_so:
                raise ValueError(sentence)
        try:
            self.comfyui_read()
        except ValueError as wrong:
            raise ValueError(f"COMFYUI_WORKFLOWS: {wrong}") from None
        return self

    def comfyui_read(self) -> dict[str, Workflow]:
        """Return the workflow of each model that the ComfyUI sells; they are read now."""
        if self.comfyui_workflows is None:
            return {}
        names = {offer.name: offer.theirs for offer in self.comfyui_offers}
        return read_workflows(self.comfyui_workflows, names)

    @property
    def comfyui_offers(self) -> tuple[Offer, ...]:
        """What the ComfyUI sells."""
        return parse_offers(self.comfyui_models)

    @property
    def asks_venice(self) -> bool:
        """Whether Venice makes pictures and films."""
        return self.venice_api_key is not None or self.venice_base_url is not None

    @property
    def venice_offers(self) -> tuple[Offer, ...]:
        """What is sold of Venice."""
        return parse_offers(self.venice_models)

    @property
    def gemini_offers(self) -> tuple[Offer, ...]:
        """What is sold of Gemini's pictures and films."""
        return parse_offers(self.gemini_media)

    @property
    def costs(self) -> Mapping[str, Offer]:
        """What makers want of us, by the names of our models."""
        return {offer.name: offer for offer in parse_offers(self.maker_costs)}

    @property
    def edit_offers(self) -> tuple[Offer, ...]:
        """What the server of IMAGES_URL sells as tools."""
        return parse_offers(self.images_edits)

    @property
    def images_offers(self) -> tuple[Offer, ...]:
        """What the server of IMAGES_URL sells."""
        return parse_offers(self.images_models)
