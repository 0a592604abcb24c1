"""Who makes pictures and films: what the settings name, and what a file is by its first bytes."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.adapters import make_catalogue, make_executors
from app.executors.measure import Measured, measured
from app.settings import Settings
from app.settings.makers import OWN_TOOLS
from app.settings.problems import of_settings
from app.trade.catalogue import Kind, Surface
from app.trade.tools import AGENT, EDIT, TOOLS
from pricing.money import MicroUsd
from pricing.offers import Offer, parse_offers
from tests.world.comfy_server import WORKFLOW
from tests.world.hostile_media import film as real_film
from tests.world.provider_server import picture


def test_an_offer_is_a_name_a_price_and_a_name_there() -> None:
    """In dollars, of a picture or of a second of a film."""
    assert parse_offers("flux-dev=0.02, wan=0.05/s@wan/2.6:q4 ,a=1") == (
        Offer("flux-dev", MicroUsd(20_000), False, "flux-dev"),
        Offer("wan", MicroUsd(50_000), True, "wan/2.6:q4"),
        Offer("a", MicroUsd(1_000_000), False, "a"),
    )
    assert parse_offers("") == ()


@pytest.mark.parametrize(
    "text",
    ["flux", "flux=", "=1", "flux=-1", "flux=1e3", "flux=0.0000001", "Flux=1", "flux=1@", "f=1/m",
     "a=1,a=2", "a=1@b c", "a=12345"],
)  # fmt: skip
def test_an_offer_that_cant_be_read_is_refused(text: str) -> None:
    """Twice the same name, no price, or one of less than a micro-dollar."""
    with pytest.raises(ValueError, match=r"."):
        parse_offers(text)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"IMAGES_URL": "http://x/v1"}, "IMAGES_URL and IMAGES_MODELS go together"),
        ({"IMAGES_MODELS": "a=1"}, "IMAGES_URL and IMAGES_MODELS go together"),
        ({"IMAGES_KEY": "planted"}, "IMAGES_KEY is of no use"),
        ({"COMFYUI_URL": "http://x"}, "COMFYUI_WORKFLOWS and COMFYUI_MODELS go together"),
        ({"COMFYUI_KEY": "planted"}, "COMFYUI_KEY is of no use"),
        ({"COMFYUI_URL": "http://x", "COMFYUI_MODELS": "sd=1", "COMFYUI_WORKFLOWS": "/no/such"},
         "COMFYUI_WORKFLOWS: the workflow of sd can't be read"),
        ({"VENICE_MODELS": "chroma"}, "VENICE_MODELS must be name=price"),
        ({"GEMINI_MEDIA": "a=1"}, "GEMINI_MEDIA is of no use without GEMINI_API_KEY"),
        ({"IMAGES_URL": "http://x", "IMAGES_MODELS": "a=1/s"}, "make pictures only"),
        ({"IMAGES_URL": "http://x", "IMAGES_EDITS": "a=1/s"}, "make pictures only"),
        ({"IMAGES_EDITS": "a=1"}, "IMAGES_URL and IMAGES_MODELS go together"),
        ({"IMAGES_URL": "http://x", "IMAGES_EDITS": "a=1", "IMAGES_MODELS": "a=1"},
         "give it another name"),
        ({"IMAGES_URL": "http://x", "IMAGES_EDITS": "upscale=1"}, "a tool that runs here"),
        ({"IMAGES_URL": "http://x", "IMAGES_MODELS": "A=1"}, "IMAGES_MODELS must be name=price"),
        ({"IMAGES_URL": "http://x", "IMAGES_MODELS": "a=1", "IMAGES_NAME": "venice"},
         "IMAGES_NAME must be small letters"),
    ],
)  # fmt: skip
def test_settings_that_name_no_maker_are_refused(given: dict[str, str], sentence: str) -> None:
    """In a sentence that says what to write, and quotes no key."""
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate(given)
    said = " ".join(of_settings(refused.value))
    assert sentence in said and "planted" not in said


def test_no_maker_is_sold_under_the_name_of_a_tool_that_runs_here() -> None:
    """Those names are all that take something else than a picture and words."""
    mine = {each.id for each in TOOLS if each.inputs[Surface.TOOLS] != EDIT}
    assert set(OWN_TOOLS) == mine | {AGENT}


async def test_the_settings_name_the_makers() -> None:
    """The painter beside a server of the operator's, whose models are lines of the catalogue."""
    sold = {"IMAGES_URL": "http://127.0.0.1:9/v1", "IMAGES_MODELS": "flux=0.02@flux-1"}
    given = Settings.model_validate(sold | {"IMAGES_NAME": "ours", "IMAGES_MOST_SIDE": "1280"})
    executors = make_executors(given)
    assert [executor.name for executor in executors] == ["scene-1", "toolbox", "vision", "ours"]
    listed = make_catalogue(given, executors).find("flux", Surface.BULK, Kind.IMAGE)
    assert listed is not None and listed.made_by == "ours"
    assert listed.offering.inputs[Surface.BULK]["properties"]["width"]["maximum"] == 1_280
    for executor in executors:
        await executor.close()


async def test_venice_makes_what_is_sold_of_it() -> None:
    """With a key: names of the catalogue, at prices above what they cost there."""
    given = Settings.model_validate({"VENICE_API_KEY": "planted"})
    executors = make_executors(given)
    assert [executor.name for executor in executors] == ["scene-1", "toolbox", "vision", "venice"]
    catalogue = make_catalogue(given, executors)
    assert set(catalogue.made_by("venice")) == {
        "seedream-v4", "chroma", "z-image-turbo", "grok-imagine-text-to-video",
    }  # fmt: skip
    assert "planted" not in repr(given)
    for executor in executors:
        await executor.close()


async def test_gemini_makes_what_is_named_and_no_more() -> None:
    """A key alone converses; a film is asked for only in shapes and lengths that it makes."""
    alone = {"GEMINI_API_KEY": "planted"}
    assert [each.name for each in make_executors(Settings.model_validate(alone))] == [
        "scene-1",
        "toolbox",
        "vision",
    ]
    sold = {"GEMINI_MEDIA": "nano-banana-2=0.13@gemini-3.1-flash-image,omni=0.2/s@omni-1"}
    given = Settings.model_validate(alone | sold)
    executors = make_executors(given)
    catalogue = make_catalogue(given, executors)
    assert catalogue.made_by("gemini") == ["nano-banana-2", "omni"]
    bulk = catalogue.find("omni", Surface.BULK, Kind.VIDEO)
    one = catalogue.find("omni", Surface.GENERATIONS, Kind.VIDEO)
    assert bulk is not None and one is not None
    fields = bulk.offering.inputs[Surface.BULK]["properties"]
    assert fields["aspect_ratio"]["enum"] == ["16:9", "9:16"]
    assert fields["duration"]["enum"] == [5, 10, 15]
    shapes = one.offering.inputs[Surface.GENERATIONS]["properties"]["aspect_ratio"]
    assert shapes["enum"] == ["landscape", "portrait", "16:9", "9:16"]
    assert shapes["default"] == "landscape"
    for executor in executors:
        await executor.close()


async def test_a_comfyui_makes_pictures_and_films_of_its_workflows(tmp_path: Path) -> None:
    """A price for a second makes a model one of films."""
    (tmp_path / "flux-9.json").write_text(json.dumps(WORKFLOW))
    (tmp_path / "wan.json").write_text(json.dumps(WORKFLOW))
    given = Settings.model_validate({
        "COMFYUI_URL": "http://127.0.0.1:9", "COMFYUI_WORKFLOWS": str(tmp_path),
        "COMFYUI_MODELS": "flux=0.02@flux-9,wan=0.05/s",
    })  # fmt: skip
    executors = make_executors(given)
    catalogue = make_catalogue(given, executors)
    assert catalogue.made_by("comfyui") == ["flux", "wan"]
    films = [each.offering.id for each in catalogue.listed(Surface.BULK, Kind.VIDEO)]
    assert "wan" in films and "flux" not in films
    for executor in executors:
        await executor.close()


@pytest.mark.parametrize("seconds", [1, 3])
def test_a_film_says_its_length(seconds: int) -> None:
    """Without decoding it."""
    found = measured(real_film(frames=seconds * 12))
    assert found is not None and found.is_film
    assert abs(found.duration_ms - seconds * 1_000) <= 200


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(
        [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}),
         ("WEBP", {"lossless": True}), ("WEBP", {"exif": b"Exif\0\0II*\0"})]
    ),
    st.integers(1, 300), st.integers(1, 300),
)  # fmt: skip
def test_a_picture_says_its_size(
    kind: tuple[str, dict[str, object]], width: int, height: int
) -> None:
    """Of every kind that is kept, without decoding it."""
    name, how = kind
    data = picture(width, height, name, **how)
    assert measured(data) == Measured(f"image/{name.lower()}", width, height)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF0000WEBPVP8X"]),
       st.binary(max_size=64))  # fmt: skip
def test_junk_is_measured_without_a_fault(head: bytes, rest: bytes) -> None:
    """Whatever the bytes: a claim, or none."""
    found = measured(head + rest)
    assert found is None or not found.is_film or found.media_type == "video/mp4"
