"""The painter's dictionary: which words mean which place, time, weather, style, colour or thing.

The tables stand in `dictionary.txt`. What isn't there is looked for among the names and keywords
of the vendored drawings.
"""

from functools import cache
from importlib.resources import files
from typing import Final


@cache
def section(name: str) -> tuple[tuple[str, str], ...]:
    """Return the lines of one section of the dictionary: each meaning, and its words."""
    text = files(__package__).joinpath("dictionary.txt").read_text("utf-8")
    text = text.replace("\n    ", " ")  # lines that go on
    lines = text.partition(f"[{name}]\n")[2].partition("\n\n")[0].splitlines()
    return tuple((meaning, words) for meaning, _, words in (each.partition(":") for each in lines))


def _table(name: str) -> dict[str, str]:
    """Return word → meaning of one section."""
    return {word.strip(): meaning for meaning, words in section(name) for word in words.split(",")}


PLACES: Final = _table("places")

TIMES: Final = _table("times")

WEATHERS: Final = _table("weathers")

STYLES: Final = _table("styles")

EXTRAS: Final = _table("extras")

THINGS: Final = _table("things")

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (214, 48, 44), "crimson": (176, 24, 52), "scarlet": (226, 44, 30),
    "orange": (240, 134, 32), "yellow": (246, 208, 52), "golden": (226, 176, 54),
    "gold": (226, 176, 54), "green": (64, 158, 72), "emerald": (24, 150, 98),
    "teal": (22, 138, 140), "turquoise": (54, 198, 194), "cyan": (46, 196, 222),
    "blue": (46, 104, 214), "navy": (28, 46, 110), "azure": (58, 146, 236),
    "indigo": (70, 58, 168), "purple": (132, 66, 176), "violet": (146, 82, 206),
    "magenta": (208, 52, 158), "pink": (242, 138, 178), "brown": (128, 84, 52),
    "black": (38, 38, 44), "white": (244, 244, 246), "grey": (136, 140, 146),
    "gray": (136, 140, 146), "silver": (184, 190, 198), "beige": (222, 204, 172),
    "lavender": (178, 156, 222), "lime": (160, 214, 56), "maroon": (116, 24, 40),
}  # fmt: skip

NUMBERS: Final[dict[str, int]] = {
    "a": 1, "an": 1, "one": 1, "single": 1, "lone": 1, "lonely": 1, "two": 2, "pair": 2,
    "couple": 2, "both": 2, "three": 3, "trio": 3, "few": 3, "four": 4, "several": 4, "some": 3,
    "five": 5, "six": 6, "half": 6, "seven": 7, "group": 5, "many": 8, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "dozen": 12, "herd": 6, "flock": 8, "school": 8,
    "swarm": 9, "fleet": 5, "pack": 5, "crowd": 9, "bunch": 5, "row": 5, "pile": 5,
}  # fmt: skip
PAIRED: Final = {"a pair of": 2, "a couple of": 2, "half a dozen": 6, "hundreds of": 12,
                 "dozens of": 12, "lots of": 9, "thousands of": 12}  # fmt: skip

SIZES: Final = {
    "tiny": 0.5, "small": 0.7, "little": 0.7, "miniature": 0.5, "big": 1.35, "large": 1.35,
    "huge": 1.7, "giant": 1.8, "enormous": 1.8, "tall": 1.3, "massive": 1.7, "gigantic": 1.9,
}  # fmt: skip

IRREGULAR: Final = {
    "geese": "goose", "mice": "mouse", "wolves": "wolf", "men": "man", "women": "woman",
    "children": "child", "leaves": "leaf", "loaves": "loaf", "knives": "knife", "oxen": "ox",
    "cacti": "cactus", "octopi": "octopus", "butterflies": "butterfly", "buses": "bus",
    "kisses": "kiss", "glasses": "glasses", "bus": "bus", "lens": "lens", "paris": "paris",
    "mars": "mars", "alps": "alps", "octopus": "octopus", "cactus": "cactus", "lotus": "lotus",
    "venus": "venus", "circus": "circus", "hibiscus": "hibiscus", "iris": "iris", "us": "us",
    "andes": "andes", "rockies": "rockies", "himalayas": "himalaya", "christmas": "christmas",
    "claus": "claus", "koalas": "koala", "atlantis": "atlantis", "canvas": "canvas",
    "los": "los", "angeles": "angeles", "fireflies": "fireflies", "daisies": "daisies",
    "lovers": "lovers", "tennis": "tennis", "brontosaurus": "brontosaurus", "t": "t",
    "tyrannosaurus": "tyrannosaurus", "brachiosaurus": "brachiosaurus", "series": "series",
    "fireworks": "fireworks", "borealis": "borealis", "childrens": "childrens", "this": "this",
    "canoes": "canoe", "shoes": "shoe", "horses": "horse", "houses": "house", "roses": "rose",
    "vases": "vase", "dunes": "dune", "noses": "nose", "bees": "bee", "trees": "tree",
    "axes": "axe", "eyes": "eye", "pies": "pie", "ties": "tie", "cookies": "cookie",
    "zombies": "zombie", "fairies": "fairy", "movies": "movie",
}  # fmt: skip
