"""The catalogue: what is offered, what it costs, who makes it, and what may be asked of it."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from app.executors.painter import refused
from app.strict_json import BadInput
from app.trade.catalogue import (
    OFFERINGS,
    PAINTER,
    TOOLBOX,
    Catalogue,
    Kind,
    Listed,
    Maker,
    Offering,
    Surface,
    own_offering,
)
from app.trade.inputs import KNOWN as KNOWN_WORDS
from app.trade.inputs import WIDGETS, Schema, wanted, widget_of, with_defaults
from app.trade.tools import KNOWN as ALL
from app.trade.tools import TOOLS, agent_offering
from pricing.money import MicroUsd
from pricing.rates import Usage
from pricing.run_price import Tokens

HERE = Catalogue({PAINTER}, development=True)
LIVE = Catalogue({PAINTER}, development=False)
SCHEMAS = [
    pytest.param(offering, schema, id=f"{offering.id} {surface}")
    for offering in OFFERINGS
    for surface, schema in offering.inputs.items()
]
AGENT = agent_offering("claude", Tokens("m", 10**6, 5 * 10**6, 2_000, 20, 8_000, 1_024))
RUNS = [
    pytest.param(offering, offering.inputs[Surface.TOOLS], id=offering.id)
    for offering in (*TOOLS, AGENT)
]


def found(
    model: str, surface: Surface, kind: Kind = Kind.IMAGE, within: Catalogue = HERE
) -> Listed:
    """Return an offering that there is."""
    listed = within.find(model, surface, kind)
    assert listed is not None
    return listed


def of_bulk(model: str, kind: Kind = Kind.IMAGE) -> Schema:
    """Return what may be asked of a model in bulk."""
    return found(model, Surface.BULK, kind).offering.inputs[Surface.BULK]


def test_the_models_that_are_known_by_name_are_offered() -> None:
    """In bulk and one by one, images and films, beside the painter under its own name."""

    def names(surface: Surface, kind: Kind) -> set[str]:
        return {listed.offering.id for listed in HERE.listed(surface, kind)}

    assert names(Surface.BULK, Kind.IMAGE) >= {"seedream-v4", "chroma", "scene-1"}
    assert names(Surface.BULK, Kind.VIDEO) == {"grok-imagine-text-to-video", "scene-1-film"}
    one_by_one = {"nano-banana-2", "nano-banana-pro", "seedream-4.0", "seedream-4.6", "scene-1"}
    assert names(Surface.GENERATIONS, Kind.IMAGE) == one_by_one
    films = {"veo-3.1-fast", "veo-3.1-lite", "scene-1-film"}
    assert names(Surface.GENERATIONS, Kind.VIDEO) == films


def test_the_painter_stands_in_only_in_development_and_says_so() -> None:
    """In production a model that nobody makes isn't listed, and can't be bought."""
    listed = found("seedream-v4", Surface.BULK)
    assert (listed.made_by, listed.stands_in, listed.is_open) == ("scene-1", True, True)
    assert "scene-1 stands in" in listed.description
    assert "not a diffusion model" in listed.description
    live = found("seedream-v4", Surface.BULK, within=LIVE)
    assert (live.made_by, live.stands_in, live.is_open) == ("", False, False)
    assert live.description.endswith("Not available here.")
    assert [each.offering.id for each in LIVE.listed(Surface.BULK, Kind.IMAGE)] == ["scene-1"]
    own = found("scene-1", Surface.BULK, within=LIVE)
    assert own.made_by == "scene-1" and not own.stands_in


def test_who_makes_a_model_itself_comes_before_the_stand_in() -> None:
    """A provider, or else the network of workers, in development too."""
    own = (own_offering("seedream-v4", Kind.IMAGE, MicroUsd(60_000), "venice"),)
    for development in (True, False):
        makers: list[Maker | str] = ["network", Maker("venice", own=own), PAINTER]
        there = Catalogue(makers, development=development)
        listed = found("seedream-v4", Surface.BULK, within=there)
        assert (listed.made_by, listed.stands_in) == ("venice", False)
    assert found("veo-3.1-fast", Surface.GENERATIONS, Kind.VIDEO,
                 Catalogue({"network"}, development=True)).made_by == "network"  # fmt: skip


def test_what_workers_alone_make_is_open_and_says_so() -> None:
    """In production. In development the painter keeps standing in; a maker of the house's is the
    one who is named; and tools are no workers' to make.
    """
    lends = {"network", PAINTER, TOOLBOX}
    live, here = (Catalogue(lends, development=dev, known=ALL) for dev in (False, True))
    alone = found("seedream-v4", Surface.BULK, within=live)
    assert (alone.made_by, alone.stands_in, alone.is_open) == ("network", False, True)
    assert alone.description.endswith(
        "Made by workers of the network, while one that can is there."
    )
    assert set(live.lanes_of_maker("network")) >= {"chroma", "z-image-turbo", "z-image-turbo/pro"}
    stands_in = found("seedream-v4", Surface.BULK, within=here)
    assert (stands_in.made_by, stands_in.stands_in) == ("scene-1", True)
    assert stands_in.description.endswith("Workers of the network may make it, too.")
    assert here.lanes_of_maker("network") == []
    assert found("scene-1", Surface.BULK, within=live).made_by == "scene-1"
    tool = live.tool("kontext")
    assert tool is not None and not tool.is_open


def test_an_operator_sells_models_of_his_makers_under_his_own_prices() -> None:
    """A new name is a new line; a known one has his price, and his maker before all others."""
    own = tuple(
        own_offering(model, Kind.IMAGE, MicroUsd(70_000), "here")
        for model in ("flux", "seedream-v4")
    )
    film = own_offering("wan", Kind.VIDEO, MicroUsd(9_000), "here")
    there = Catalogue([Maker("here", 1_280, own=(*own, film)), PAINTER], development=True)
    assert there.made_by("here") == ["seedream-v4", "flux", "wan"]
    assert {"chroma", "scene-1"} < set(there.made_by(PAINTER))
    for model in ("flux", "seedream-v4"):
        listed = found(model, Surface.BULK, within=there)
        assert (listed.made_by, listed.stands_in) == ("here", False)
        assert listed.offering.price_microusd({}) == 70_000
        assert listed.description.endswith("Made by here.")
    films = found("wan", Surface.BULK, Kind.VIDEO, there).offering
    assert films.price_microusd({"duration": 10}) == 90_000
    assert found("flux", Surface.GENERATIONS, within=there)


def test_no_more_is_asked_of_a_maker_than_it_makes() -> None:
    """Its longest side is the schema's, so that nothing is paid for that can't be made."""
    chroma = own_offering("chroma", Kind.IMAGE, MicroUsd(25_000), "venice")
    banana = own_offering("nano-banana-2", Kind.IMAGE, MicroUsd(150_000), "venice")
    venice = Maker("venice", 1_280, has_tiers=True, own=(chroma, banana))
    there = Catalogue([venice], development=True)
    schema = found("chroma", Surface.BULK, within=there).offering.inputs[Surface.BULK]
    assert with_defaults(schema, {"prompt": "x", "width": 1_280})["height"] == 1_024
    with pytest.raises(BadInput, match="'width' must be 256 to 1280"):
        with_defaults(schema, {"prompt": "x", "width": 1_281})
    large = own_offering("flux", Kind.IMAGE, MicroUsd(1), "small")
    tiers = found("nano-banana-2", Surface.GENERATIONS, within=there).offering.inputs
    assert with_defaults(tiers[Surface.GENERATIONS], {"prompt": "x", "resolution": "2k"})
    small = Catalogue([Maker("small", 1_024, own=(large,))], development=True)
    one = found("flux", Surface.GENERATIONS, within=small).offering.inputs[Surface.GENERATIONS]
    with pytest.raises(BadInput, match="'resolution' must be one of: 1k"):
        with_defaults(one, {"prompt": "x", "resolution": "2k"})


def test_without_an_executor_nothing_is_open() -> None:
    """And nothing is listed."""
    empty = Catalogue((), development=True)
    assert not any(list(empty.listed(surface, kind)) for surface in Surface for kind in Kind)


@pytest.mark.parametrize(
    ("model", "surface", "kind"),
    [
        ("seedream-v4", Surface.GENERATIONS, Kind.IMAGE),
        ("nano-banana-2", Surface.BULK, Kind.IMAGE),
        ("grok-imagine-text-to-video", Surface.BULK, Kind.IMAGE),
        ("scene-1", Surface.BULK, Kind.VIDEO),
        ("", Surface.BULK, Kind.IMAGE),
        ("no-such", Surface.BULK, Kind.IMAGE),
    ],
)
def test_a_model_of_another_surface_or_kind_is_not_found(
    model: str, surface: Surface, kind: Kind
) -> None:
    """Each surface sells its own."""
    assert HERE.find(model, surface, kind) is None


@pytest.mark.parametrize(
    ("model", "kind", "inputs", "microusd"),
    [
        ("seedream-v4", Kind.IMAGE, {}, 25_000),
        ("nano-banana-pro", Kind.IMAGE, {}, 50_000),
        ("veo-3.1-fast", Kind.VIDEO, {"duration": 5}, 250_000),
        ("grok-imagine-text-to-video", Kind.VIDEO, {"duration": 15}, 750_000),
        ("scene-1", Kind.IMAGE, {}, 4_000),
        ("scene-1-film", Kind.VIDEO, {"duration": 10}, 80_000),
    ],
)
def test_an_item_has_its_price(
    model: str, kind: Kind, inputs: dict[str, Any], microusd: int
) -> None:
    """In micro-USD, whoever makes it; a film by its seconds where its length can be chosen."""
    (offering,) = [each for each in OFFERINGS if each.id == model]
    assert offering.kind is kind
    assert offering.price_microusd(inputs) == MicroUsd(microusd)


@pytest.mark.parametrize(("offering", "schema"), SCHEMAS)
def test_an_offering_keeps_to_the_words_that_are_judged(offering: Offering, schema: Schema) -> None:
    """Its schema is one, uses no word that isn't known here, and its defaults keep its rules."""
    Draft202012Validator.check_schema(schema)
    for rule in [schema, *schema["properties"].values()]:
        assert set(rule) <= KNOWN_WORDS
    least = {"prompt": "a cat"} | ({"mode": "t2v"} if "mode" in schema["required"] else {})
    inputs = with_defaults(schema, least)
    assert not list(Draft202012Validator(schema).iter_errors(inputs))
    assert offering.price_microusd(inputs) > 0


def least_of(schema: Schema) -> dict[str, Any]:
    """Return the least that may be asked of a tool."""
    return {
        name: ["artifact:a"] * 2 if schema["properties"][name]["type"] == "array" else "a cat"
        for name in schema["required"]
    }


@pytest.mark.parametrize(("offering", "schema"), RUNS)
def test_a_tool_keeps_to_the_words_that_are_judged(offering: Offering, schema: Schema) -> None:
    """A stock form draws it: each field has a title, a place, a hint from a closed list and bounds;
    its least inputs and each end and choice cost something, and never more than its maximum."""
    Draft202012Validator.check_schema(schema)
    fields = schema["properties"]
    assert sorted(rule["x-order"] for rule in fields.values()) == [*range(1, len(fields) + 1)]
    for rule in fields.values():
        assert set(rule) <= KNOWN_WORDS and widget_of(rule) in WIDGETS
        assert rule["title"] and rule["description"] and "multipleOf" not in rule
    asked = [least_of(schema)]
    for name, rule in fields.items():
        ends = [rule[end] for end in ("minimum", "maximum", "default") if end in rule]
        asked += [asked[0] | {name: choice} for choice in rule.get("enum", ends)]
    for each in asked:
        inputs = with_defaults(schema, each)
        assert not list(Draft202012Validator(schema).iter_errors(inputs))
        assert 0 < offering.price_microusd(inputs) <= offering.most_microusd
    assert offering.outputs and offering.costing()["type"] and len(offering.version) == 12


def test_a_run_of_tokens_is_charged_what_it_used() -> None:
    """Never more than its maximum, which is that of its text's bytes and the longest answer."""
    price = AGENT.price
    assert isinstance(price, Tokens)
    asked = {"prompt": "é" * 100, "max_tokens": 500}
    most = price.of(asked)
    assert most == 6_840  # (1,200 read + 500 written x 5 + 2,000 of the machine's) x 1.2
    assert price.used(Usage(10, 20)) == 2_532 and price.used(Usage(0, 0)) == 2_400


def test_names_stand_in_in_development_alone() -> None:
    """A tool of ours stands in for a known name, and its listing says so."""
    here = Catalogue({PAINTER, TOOLBOX}, development=True, known=ALL)
    live = Catalogue({PAINTER, TOOLBOX}, development=False, known=ALL)
    there, gone = here.tool("kontext"), live.tool("kontext")
    assert there is not None and there.made_by == TOOLBOX and "stands in" in there.description
    assert gone is not None and not gone.is_open
    own = live.tool("resize")
    assert own is not None and own.made_by == TOOLBOX and "stand" not in own.description
    assert {"text-to-image", "resize", "seedream-v4"} <= {each.offering.id for each in here.tools()}
    assert here.tool("scene-1") is None and here.tool("") is None


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"brightness": "1"}, "'brightness' must be a number"),
        ({"brightness": float("inf")}, "'brightness' must be a number"),
        ({"brightness": True}, "'brightness' must be a number"),
        ({"brightness": 3.1}, "'brightness' must be 0 to 3"),
        ({"mirror": 1}, "'mirror' must be a boolean"),
        ({"rotate": "45"}, "'rotate' must be one of: 0, 90, 180, 270"),
        ({"image": ["artifact:a"]}, "'image' must be a string"),
        ({"image": ""}, "'image' is empty"),
    ],
)
def test_what_breaks_a_tools_rule_is_refused(asked: dict[str, Any], sentence: str) -> None:
    """A number is finite, and true is none."""
    [tool] = [each for each in TOOLS if each.id == "adjust"]
    with pytest.raises(BadInput, match=sentence):
        with_defaults(tool.inputs[Surface.TOOLS], {"image": "artifact:a"} | asked)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (["a"], "'images' must have 2 to 16 items"),
        (["a"] * 17, "'images' must have 2 to 16 items"),
        (["a", 7], r"'images\[1\]' must be a string"),
        ("a", "'images' must be an array"),
    ],
)
def test_a_list_is_judged_item_by_item(images: Any, sentence: str) -> None:
    """Its length, and each of its items by its place."""
    [tool] = [each for each in TOOLS if each.id == "contact-sheet"]
    with pytest.raises(BadInput, match=sentence):
        with_defaults(tool.inputs[Surface.TOOLS], {"images": images})


@pytest.mark.parametrize(("offering", "schema"), SCHEMAS)
def test_the_painter_can_make_all_that_may_be_asked(offering: Offering, schema: Schema) -> None:
    """Whatever a schema lets through, the stand-in doesn't refuse: every choice, both ends."""
    fields = schema["properties"]
    least = {"prompt": "a cat"} | ({"mode": "t2v"} if "mode" in fields else {})
    for name, rule in fields.items():
        choices = rule.get("enum", [rule[end] for end in ("minimum", "maximum") if end in rule])
        for choice in choices:
            item = wanted(offering.id, with_defaults(schema, least | {name: choice}), 7)
            assert refused(item) is None, item
            assert (item.duration_ms > 0) is (offering.kind is Kind.VIDEO)


def test_an_items_own_fields_come_before_those_of_its_batch() -> None:
    """And those before the offering's own."""
    schema = of_bulk("chroma")
    batch, item = {"width": 512, "height": 512}, {"prompt": "x", "width": 1_280}
    assert with_defaults(schema, item, batch) == {"prompt": "x", "width": 1_280, "height": 512}
    assert with_defaults(schema, {"prompt": "x"})["height"] == 1_024


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "'prompt' is missing"),
        ({"prompt": ""}, "'prompt' is empty"),
        ({"prompt": " \n"}, "'prompt' is empty"),
        ({"prompt": 7}, "'prompt' must be a string"),
        ({"prompt": "x" * 4_001}, "longer than 4000"),
        ({"prompt": "x", "width": 255}, "'width' must be 256 to 2048"),
        ({"prompt": "x", "height": 2_049}, "'height' must be 256 to 2048"),
        ({"prompt": "x", "width": "512"}, "'width' must be an integer"),
        ({"prompt": "x", "width": True}, "'width' must be an integer"),
        ({"prompt": "x", "width": 512.0}, "'width' must be an integer"),
        ({"prompt": "x", "colour": "red"}, "'colour' isn't known"),
        ({"prompt": "x", "params": {"steps": 51}}, "'steps' must be 1 to 50"),
        ({"prompt": "x", "params": []}, "'params' must be an object"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_its_name(asked: dict[str, Any], sentence: str) -> None:
    """A field by its name, and what it may be."""
    with pytest.raises(BadInput, match=sentence):
        with_defaults(of_bulk("seedream-v4"), asked)


def test_a_films_choices_are_named() -> None:
    """What can be chosen stands in the refusal."""
    schema = of_bulk("grok-imagine-text-to-video", Kind.VIDEO)
    with pytest.raises(BadInput, match="must be one of: 5, 10, 15"):
        with_defaults(schema, {"prompt": "x", "duration": 7})


@pytest.mark.parametrize(
    ("resolution", "ratio", "size"),
    [
        ("720p", "16:9", (1_280, 720)), ("720p", "9:16", (720, 1_280)), ("720p", "1:1", (720, 720)),
        ("480p", "16:9", (852, 480)), ("480p", "3:2", (720, 480)), ("480p", "4:3", (640, 480)),
        ("1k", "16:9", (1_024, 576)), ("2k", "9:16", (1_152, 2_048)), ("2k", "1:1", (2_048, 2_048)),
        ("720p", "landscape", (1_280, 720)), ("720p", "portrait", (720, 1_280)),
    ],
)  # fmt: skip
def test_a_resolution_and_a_shape_are_a_size(
    resolution: str, ratio: str, size: tuple[int, int]
) -> None:
    """Even sides: the shorter one by its lines, or the longer one by its thousands."""
    asked = {"prompt": "x", "resolution": resolution, "aspect_ratio": ratio}
    item = wanted("m", asked, 1)
    assert (item.width, item.height) == size


def test_what_finer_wishes_there_are_reaches_the_executor() -> None:
    """Negative prompt, steps and seed; a seed is given where the buyer has given none."""
    params = {"negative_prompt": "people", "steps": 12, "seed": 5, "cfg_scale": 7}
    inputs = with_defaults(of_bulk("scene-1"), {"prompt": "a beach", "params": params})
    item = wanted("scene-1", inputs, 99)
    assert (item.negative_prompt, item.steps, item.seed) == ("people", 12, 5)
    assert wanted("scene-1", with_defaults(of_bulk("scene-1"), {"prompt": "x"}), 99).seed == 99
