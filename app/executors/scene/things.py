"""How things are in the world: where each is at home, how it moves, and how tall it stands.

A thing that isn't named here stands on the ground and is as tall as a person's arm.
"""

from dataclasses import dataclass
from typing import Final

from app.executors.scene.lexicon import section

DEFAULT_HEIGHT: Final = 0.75


@dataclass(frozen=True, slots=True)
class Nature:
    """What is known of a thing."""

    height: float = DEFAULT_HEIGHT  # as the eye would have it, not by the metre: a person is 1
    lives: str = "ground"  # ground, air, swim, float, sky, table
    moves: str = "still"  # still, walk, drive, fly, swim, bob, hover, sway, flicker, rise
    home: str = ""  # the place that is meant where none is named


def _natures() -> dict[str, Nature]:
    found = {}
    for rule, names in section("natures"):
        height, lives, moves, *home = rule.split()
        for name in names.split():
            found[name] = Nature(float(height), lives, moves, home[0] if home else "")
    return found


NATURES: Final = _natures()

# What another thing can ride on, and how far up its back is, in parts of its height.
CARRIERS: Final[dict[str, float]] = {
    "rocket": 0.36, "horse": 0.34, "unicorn": 0.34, "elephant": 0.1, "camel": 0.2, "cow": 0.22,
    "two-hump-camel": 0.2, "dragon": 0.25, "whale": 0.2, "dolphin": 0.25, "turtle": 0.2,
    "sailboat": 0.62, "canoe": 0.42, "speedboat": 0.4, "ship": 0.3, "passenger-ship": 0.2,
    "skateboard": 0.3, "bicycle": 0.25, "motorcycle": 0.3, "motor-scooter": 0.3,
    "automobile": 0.12, "racing-car": 0.2, "bus": 0.05, "tractor": 0.15, "locomotive": 0.15,
    "pickup-truck": 0.2, "hot-air-balloon": 0.78, "airplane": 0.3, "flying-saucer": 0.2,
    "couch-and-lamp": 0.5, "bed": 0.45, "chair": 0.4, "books": 0.1, "sled": 0.4, "rock": 0.1,
    "house": 0.02, "castle": 0.05, "mushroom": 0.02, "lotus": 0.3, "cloud": 0.2, "bear": 0.15,
    "sauropod": 0.45, "t-rex": 0.2, "lion": 0.2, "tiger": 0.2, "pig": 0.15, "giraffe": 0.35,
    "wrapped-gift": 0.05, "treasure-chest": 0.15, "taxi": 0.12, "articulated-lorry": 0.1,
    "sport-utility-vehicle": 0.1, "deer": 0.3, "zebra": 0.25, "llama": 0.3, "shark": 0.25,
}  # fmt: skip

_PEOPLE: Final = frozenset((
    "person", "man", "woman", "old", "girl", "boy", "child", "baby", "farmer", "cook", "artist",
    "prince", "princess", "ninja", "mage", "guard", "superhero", "couple", "astronaut", "skier",
    "student", "teacher", "scientist", "detective", "singer",
))  # fmt: skip
# Words for many kinds at once: who rules them out means each.
CLASSES: Final[dict[str, tuple[str, ...]]] = {
    "people": tuple(name for name in NATURES if name.split("-")[0] in _PEOPLE),
    "animal": tuple(
        name
        for name, nature in NATURES.items()
        if nature.moves in ("walk", "swim", "fly") and name.split("-")[0] not in _PEOPLE
    ),
    "building": ("house", "house-with-garden", "houses", "hut", "church", "castle", "mosque",
                 "japanese-castle", "lighthouse", "shinto-shrine", "tokyo-tower"),
    "vehicle": tuple(name for name, nature in NATURES.items() if nature.moves == "drive"),
    "tree": ("evergreen-tree", "deciduous-tree", "palm-tree", "leafless-tree"),
    "flower": ("cherry-blossom", "blossom", "rose", "sunflower", "tulip", "hibiscus",
               "white-flower", "hyacinth"),
    "bird": ("bird", "black-bird", "eagle", "owl", "parrot", "dove"),
    "boat": ("sailboat", "canoe", "speedboat", "ship", "passenger-ship"),
}  # fmt: skip


def nature_of(name: str) -> Nature:
    """Return what is known of a thing."""
    return NATURES.get(name, _PLAIN)


_PLAIN: Final = Nature()
