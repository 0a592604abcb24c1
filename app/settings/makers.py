"""The settings of who makes pictures and films for us: servers of the operator's, and providers."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings

from app.settings.forms import HttpAddress, Key, Positive
from pricing.offers import Offer, parse_offers

TAKEN = ("comfyui", "gemini", "network", "scene-1", "venice")  # names of other makers


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


Offers = Annotated[str, AfterValidator(_offers)]


class MakerSettings(BaseSettings):
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

    provider_timeout_s: Annotated[int, Field(ge=1, le=840)] = Field(
        180,
        validation_alias="PROVIDER_TIMEOUT_S",
        description="longest wait for one picture of such a server",
    )

    @model_validator(mode="after")
    def _have_makers(self) -> "MakerSettings":
        rules = (
            (
                (self.images_url is None) != (self.images_models == ""),
                "IMAGES_URL and IMAGES_MODELS go together: set both, or neither",
            ),
            (
                self.images_key is not None and self.images_url is None,
                "IMAGES_KEY is of no use without IMAGES_URL and IMAGES_MODELS",
            ),
            (
                any(offer.is_film for offer in self.images_offers),
                "IMAGES_MODELS names a price for a second (/s): these servers make pictures only",
            ),
        )
        for is_so, sentence in rules:
            if is_so:
                raise ValueError(sentence)
        return self

    @property
    def images_offers(self) -> tuple[Offer, ...]:
        """What the server of IMAGES_URL sells."""
        return parse_offers(self.images_models)
