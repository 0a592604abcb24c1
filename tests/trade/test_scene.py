"""What the painter's words come to: a place, a time, a weather, a style, and things in their place.

Judged on the composed scene, not on pixels.
"""

from dataclasses import dataclass

import pytest

from app.executors.scene import lexicon, things
from app.executors.scene.drawings import is_drawn
from app.executors.scene.picture import Layers, composed
from app.executors.scene.stage import Sprite
from app.executors.scene.words import MOST_OF_ONE, MOST_THINGS, Scene, lemma, read
from tests.world.scene_sheet import SHEET


@dataclass(frozen=True)
class Meant:
    """What must be found in a prompt; what isn't named here isn't judged."""

    place: str = ""
    time: str = ""
    weather: str = ""
    style: str = ""
    things: str = ""  # names in their order, with their number where it isn't one
    extras: str = ""


def told(scene: Scene) -> str:
    """Return the things of a scene in one line."""
    return " ".join(
        thing.name + (f"×{thing.count}" if thing.count != 1 else "") for thing in scene.things
    )


MEANINGS = {
    "a cup of coffee": Meant("table", things="hot-beverage"),
    "two cups of tea on a desk": Meant("table", things="hot-beverage×2"),
    "fog over the fields": Meant("meadow", weather="fog", things=""),
    "an oil painting of a cow": Meant(style="oil", things="cow"),
    "under the sea": Meant("underwater", things=""),
    "a house under the sea": Meant("underwater", things="house"),
    "New York at night": Meant("city", "night"),
    "the Swiss alps in Switzerland": Meant("mountains"),
    "fish": Meant("underwater", things="fish"),
    "a school of fish": Meant("underwater", things="fish×8"),
    "Geese and mice and wolves": Meant(things="goose×3 mouse×3 wolf×3"),
    "three red cars": Meant("city", things="automobile×3"),
    "a dozen balloons": Meant("sky", things="balloon×12"),
    "a thousand sheep, 5000 sheep": Meant("farm"),
    "seven penguins": Meant("snow", things="penguin×7"),
    "hundreds of birds": Meant(things="bird×12"),
    "golden hour on the beach": Meant("beach", "sunset"),
    "early morning mist on a lake": Meant("lake", "dawn", "fog"),
    "blue hour in the city": Meant("city", "dusk"),
    "a thunderstorm over the ocean": Meant("sea", weather="storm", extras="lightning"),
    "snow falling on a village": Meant("village", weather="snow"),
    "pixel art": Meant(style="pixel"),
    "a fox, watercolour": Meant(style="watercolor", things="fox"),
    "pencil drawing of an owl": Meant(style="sketch", things="owl"),
    "stained glass window of a rose": Meant(style="mosaic"),
    "black and white photo of a horse": Meant(style="noir", things="horse"),
    "a cyberpunk street": Meant("city", "night", style="neon"),
    "children's book illustration of a bear": Meant(style="cartoon", things="bear"),
    "an orange": Meant("table", things="tangerine"),
    "an orange cat": Meant(things="cat"),
    "northern lights in Lapland": Meant("snow", "night", extras="aurora"),
    "a meteor shower in the desert": Meant("desert", "night", extras="meteor"),
    "the pyramids": Meant(extras="pyramids"),
    "🐱 and 🚗": Meant(things="cat automobile"),
    "🌈": Meant(extras="rainbow"),
    "a lone oak tree on a hill": Meant("meadow", things="deciduous-tree"),
    "quantum blockchain synergy": Meant("abstract", things=""),
    "": Meant("abstract", things=""),
}


@pytest.mark.parametrize("prompt", MEANINGS)
def test_words_mean_what_they_say(prompt: str) -> None:
    """Words of several, plurals, numbers, places by their names, hours, weathers, styles, emoji."""
    meant, scene = MEANINGS[prompt], read(prompt)
    for kind in ("place", "time", "weather", "style"):
        assert getattr(meant, kind) in ("", getattr(scene, kind)), kind
    if meant.things or not (meant.extras or meant.style or meant.time):
        assert told(scene) == meant.things or prompt.startswith("a thousand")
    assert set(meant.extras.split()) <= scene.extras


def test_a_colour_belongs_to_the_thing_after_it() -> None:
    """And to the whole where a place comes after it, or nothing."""
    cat, pig = read("a blue cat and a pink pig").things
    assert cat.colour == lexicon.COLOURS["blue"] and pig.colour == lexicon.COLOURS["pink"]
    assert read("a purple sky over the sea").tint == lexicon.COLOURS["purple"]
    assert read("a swirl in shades of teal").tint == lexicon.COLOURS["teal"]
    assert read("a cat").things[0].colour is None


def test_who_rides_is_on_what_is_ridden() -> None:
    """Riding, sitting on, in a boat: the one is above the other, and moves with it."""
    cat, rocket = read("a cat riding a rocket through space").things
    assert (cat.rides, rocket.rides) == ("rocket", "")
    assert read("a dog in a canoe on the lake").things[0].rides == "canoe"
    assert read("a cat and a rocket").things[0].rides == ""
    layers = composed(read("a cat riding a rocket through space"), 256, 256, 3)
    below, above = sprite(layers, "rocket"), sprite(layers, "cat")
    assert above.y < below.y and above.depth > below.depth
    assert abs(above.x - below.x) < below.size / 3 and above.moves == below.moves


def test_size_and_side_are_taken_from_words() -> None:
    """A giant cat is larger than a cat, and the left is on the left."""
    small, large = (
        sprite(composed(read(f"a {size} cat in a meadow"), 256, 256, 1), "cat").size
        for size in ("tiny", "giant")
    )
    assert large > 2 * small
    layers = composed(read("a cow on the left, a pig on the right"), 256, 256, 4)
    assert sprite(layers, "cow").x < 256 / 2 < sprite(layers, "pig").x


@pytest.mark.parametrize(
    ("prompt", "negative", "gone"),
    [
        ("a dog and a cat in the park", "cat", "cat"),
        ("a woman and a horse", "people", "woman-standing"),
        ("a woman and a horse, no people", "", "woman-standing"),
        ("a meadow without birds, a bird", "", "bird"),
        ("a village by the sea", "house, church", "house"),
        ("a beach", "palm trees", "palm-tree"),
        ("a red car and a bus", "vehicles", "bus"),
    ],
)
def test_what_is_ruled_out_is_not_there(prompt: str, negative: str, gone: str) -> None:
    """By the negative prompt or by "no" and "without": neither asked for nor added by the place."""
    scene = read(prompt, negative)
    assert gone not in told(scene).split()
    assert all(each.name != gone for each in composed(scene, 256, 256, 2).sprites)


def test_weather_and_hour_can_be_ruled_out() -> None:
    """No rain is no rain."""
    assert read("a rainy city at night", "rain, night").weather == "clear"
    assert read("a rainy city at night", "night").time == "day"
    assert composed(read("a meadow, no clouds"), 256, 256, 1).clouds is None


@pytest.mark.parametrize("prompt", SHEET)
def test_each_prompt_of_the_sheet_lands_in_its_scene(prompt: str) -> None:
    """What the sheet promises of a prompt is found in its words."""
    scene, promised = read(prompt), SHEET[prompt]
    found = {scene.place, scene.time, scene.weather, scene.style, *scene.extras}
    assert set(promised.split()) <= found | {thing.name for thing in scene.things}


def test_the_sheet_has_all_places_times_weathers_and_styles() -> None:
    """Nothing that the dictionary knows of these is left unseen."""
    scenes = [read(prompt) for prompt in SHEET]
    for kind, table in (
        ("place", lexicon.PLACES), ("time", lexicon.TIMES),
        ("weather", lexicon.WEATHERS), ("style", lexicon.STYLES),
    ):  # fmt: skip
        assert {getattr(scene, kind) for scene in scenes} >= set(table.values()), kind


def test_every_thing_of_the_dictionary_is_drawn() -> None:
    """And every nature and carrier is of something that is."""
    named = {*lexicon.THINGS.values(), *things.NATURES, *things.CARRIERS}
    assert [name for name in sorted(named) if not is_drawn(name)] == []
    known = set(lexicon.PLACES.values()) | {"", "night"}
    assert {nature.home for nature in things.NATURES.values()} <= known


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat\x00 on\x1b[31m a\u202e table\u2066", "🐱" * 20_000, "x" * 100_000,
        "cat " * 25_000, "قطة على القمر", "9" * 5_000 + " cats", "no " * 3_000, "²³¼ cats ٣ dogs",
        "\ud800 half of a pair", "<svg onload=alert(1)>", "' OR 1=1; DROP TABLE cats --",
    ],
)  # fmt: skip
def test_a_hostile_prompt_is_only_words(prompt: str) -> None:
    """It is read in bounded time, as whatever of it is known, with bounded numbers of things."""
    scene = read(prompt, prompt)
    assert len(read(prompt).things) <= MOST_THINGS
    assert all(1 <= thing.count <= MOST_OF_ONE for thing in read(prompt).things)
    assert scene.place in set(lexicon.PLACES.values())


def test_nothing_stands_outside_of_the_picture() -> None:
    """Whatever its shape: the middle of each thing is inside, and the near ones are drawn last."""
    for height, width in ((256, 768), (768, 256), (256, 256)):
        layers = composed(read("ten cats and two elephants on a beach"), height, width, 9)
        named = [each for each in layers.sprites if each.name in ("cat", "elephant")]
        assert len(named) == 12
        assert all(0 < each.x < width and 0 < each.y < height for each in named)
        assert [each.depth for each in named] == sorted(each.depth for each in named)


def test_what_stands_is_on_dry_land_and_what_floats_is_not() -> None:
    """By a lake or on a beach, a house is at this side of the water, and a boat is on it."""
    for place in ("lake", "beach"):
        layers = composed(read(f"a house and a boat by a {place}"), 384, 384, 5)
        house, boat = sprite(layers, "house"), sprite(layers, "sailboat")
        assert layers.water is not None
        assert house.y + house.size / 2 > layers.water[1] > boat.y + boat.size * 0.3
        assert house.has_shadow and boat.mirrored and not house.mirrored


def test_the_seed_decides_what_the_words_do_not() -> None:
    """The same seed the same scene; another seed another one."""
    first, again, other = (composed(read("a dog in a park"), 256, 256, seed) for seed in (1, 1, 2))
    assert (first.back == again.back).all() and not (first.back == other.back).all()
    assert sprite(first, "dog").x == sprite(again, "dog").x != sprite(other, "dog").x


def test_plurals_become_singular() -> None:
    """Also those that don't follow the rule."""
    plurals = [
        "cats",
        "boxes",
        "cherries",
        "geese",
        "leaves",
        "buses",
        "horses",
        "glass",
        "mice",
        "benches",
        "heroes",
    ]
    singular = [
        "cat",
        "box",
        "cherry",
        "goose",
        "leaf",
        "bus",
        "horse",
        "glass",
        "mouse",
        "bench",
        "hero",
    ]
    assert [lemma(word) for word in plurals] == singular


def sprite(layers: Layers, name: str) -> Sprite:
    """Return the nearest thing of this name."""
    return [each for each in layers.sprites if each.name == name][-1]
