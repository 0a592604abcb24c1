"""A prompt, read: which place, time, weather, style and things its words name.

Words alone decide, longest first; what they don't say follows from the things that are named.
Untrusted text: cut, cleaned, and never anything but looked up.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from app.executors.scene import lexicon, things
from app.executors.scene.drawings import by_sign, named

MOST_CHARACTERS: Final = 2_000  # what comes after them isn't read
MOST_THINGS: Final = 6
MOST_OF_ONE: Final = 12
LONGEST: Final = 5  # words of an entry of the dictionary

ON: Final = frozenset(
    [
        "on",
        "riding",
        "ride",
        "atop",
        "aboard",
        "in",
        "inside",
        "driving",
        "sailing",
        "flying",
        "onto",
    ]
)
WITHOUT: Final = frozenset(["no", "without", "not", "never", "except", "avoid", "minus"])
JOINING: Final = frozenset(
    ["of", "the", "a", "an", "and", "with", "its", "his", "her", "in", "on", "at", "to"]
)


@dataclass(frozen=True, slots=True)
class Thing:
    """One kind of thing that is to be seen."""

    name: str  # of a drawing
    count: int = 1
    colour: tuple[int, int, int] | None = None
    scale: float = 1.0
    side: float | None = None  # 0 left … 1 right, where the words say so
    rides: str = ""  # the name of the thing that it is on


@dataclass(frozen=True, slots=True)
class Scene:
    """What is to be painted."""

    place: str = "abstract"
    time: str = "day"
    weather: str = "clear"
    style: str = "oil"
    things: tuple[Thing, ...] = ()
    extras: frozenset[str] = frozenset()
    tint: tuple[int, int, int] | None = None
    empty_of: frozenset[str] = frozenset()  # what must not be added either


_TABLES: Final = {
    "place": lexicon.PLACES,
    "time": lexicon.TIMES,
    "weather": lexicon.WEATHERS,
    "style": lexicon.STYLES,
    "extra": lexicon.EXTRAS,
}
_MANY: Final = {"person-standing": "people"}  # one word for all of a class


@dataclass(slots=True)
class _Reading:
    """What was found so far."""

    meant: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in _TABLES})
    things: list[Thing] = field(default_factory=list)
    without: set[str] = field(default_factory=set)
    tint: tuple[int, int, int] | None = None
    count: int = 0
    scale: float = 1.0
    colour: tuple[int, int, int] | None = None
    colour_age: int = 99
    on: bool = False
    denying: int = 0


def lemma(word: str) -> str:
    """Return the singular of a word."""
    if word in lexicon.IRREGULAR:
        return lexicon.IRREGULAR[word]
    for plural, single in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss"),
                           ("xes", "x"), ("oes", "o"), ("s", "")):  # fmt: skip
        long = len(word) > max(len(plural) + 1, 3)
        if word.endswith(plural) and long and not word.endswith("ss"):
            return word[: -len(plural)] + single
    return word


def cleaned(text: str) -> str:
    """Return a stranger's text with one kind of blank, small letters and nothing that is unseen."""
    text = unicodedata.normalize("NFKC", text[:MOST_CHARACTERS]).casefold()[:MOST_CHARACTERS]
    text = text.replace("'s ", " ").replace("’s ", " ")
    return "".join(c if unicodedata.category(c)[0] != "C" else " " for c in text)


def tokens_of(text: str) -> list[str]:
    """Return the words, numbers and single signs (emoji) of a text, in their order."""
    return re.findall(r"[^\W\d_]+|\d+|[,.;:!?]|[^\w\s]", cleaned(text))


def read(prompt: str, negative: str = "") -> Scene:
    """Return the scene that a prompt names, without what it or `negative` rules out."""
    found = _Reading()
    _walk(found, tokens_of(prompt))
    denied = _Reading(denying=MOST_CHARACTERS)
    _walk(denied, tokens_of(negative), keep=True)
    return _settled(found, found.without | denied.without)


def _walk(found: _Reading, tokens: Sequence[str], *, keep: bool = False) -> None:
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token in ",.;:!?":
            found.on = False
            found.denying = found.denying if keep else 0
            at += 1
            continue
        at += _entry(found, tokens, at)
        found.colour_age += 1
        if not keep and found.denying:
            found.denying -= 1


def _entry(found: _Reading, tokens: Sequence[str], at: int) -> int:
    """Take in the longest entry that begins here; return how many words it has."""
    for length in range(min(LONGEST, len(tokens) - at), 0, -1):
        words = tokens[at : at + length]
        phrase = " ".join(words)
        if length > 1 and phrase in lexicon.PAIRED:
            found.count = lexicon.PAIRED[phrase]
            return length
        if _told(found, phrase, " ".join([*words[:-1], lemma(words[-1])]), words[-1], tokens, at):
            return length
    return 1


def _told(
    found: _Reading, phrase: str, single: str, last: str, tokens: Sequence[str], at: int
) -> bool:
    """Take in one entry, if it is one; a phrase may mean a place and a thing at once."""
    if " " not in phrase and _qualifies(found, phrase, tokens, at):
        return True
    sign = by_sign(phrase)
    single = sign.replace("-", " ") if sign else single
    thing = _thing_named(phrase, single)
    hits = [
        (kind, table[key])
        for kind, table in _TABLES.items()
        for key in dict.fromkeys((phrase, single))
        if key in table
    ]
    if not hits and not thing:
        return False
    if found.denying:
        found.without |= {single, thing, *(meaning for _, meaning in hits)} - {""}
        found.without |= set(things.CLASSES.get(_MANY.get(thing, single), ()))
        return True
    for kind, meaning in hits:
        found.meant[kind].append(meaning)
    if thing and (not hits or single in lexicon.THINGS):
        _add(found, thing, plural=last != lemma(last))
    elif found.colour and found.colour_age <= 2 and hits[0][0] in ("place", "time", "weather"):
        found.tint, found.colour = found.colour, None
    if hits:
        found.count = 0
    return True


def _qualifies(found: _Reading, word: str, tokens: Sequence[str], at: int) -> bool:
    """Take in a word that says how many, how big, which colour or where."""
    if word in WITHOUT:
        found.denying = 5
    elif word in lexicon.NUMBERS:
        found.count = found.count if word in ("a", "an") and found.count else lexicon.NUMBERS[word]
    elif word.isdecimal():
        found.count = min(int(word[:4]), MOST_OF_ONE)
    elif word in lexicon.SIZES:
        found.scale = lexicon.SIZES[word]
    elif word in lexicon.COLOURS and not (word in lexicon.THINGS and _ends_here(tokens, at)):
        found.colour, found.colour_age = lexicon.COLOURS[word], 0
        found.tint = found.tint or (found.colour if _ends_here(tokens, at) else None)
    elif word in ON:
        found.on = True
    elif word in ("left", "right") and found.things:
        side = 0.24 if word == "left" else 0.76
        found.things[-1] = replace(found.things[-1], side=side)
    elif word not in JOINING:
        return False
    return True


def _ends_here(tokens: Sequence[str], at: int) -> bool:
    """Return whether no noun can follow: the end, a stop, or a joining word."""
    following = tokens[at + 1] if at + 1 < len(tokens) else "."
    return following in ",.;:!?" or following in ON or following in JOINING


def _thing_named(phrase: str, single: str) -> str:
    """Return the drawing that a phrase names, or "" when none does."""
    tables = (lexicon.THINGS.get, named)
    return next(
        (found for table in tables for key in (phrase, single) if (found := table(key))), ""
    )


def _add(found: _Reading, name: str, *, plural: bool) -> None:
    count = max(1, min(found.count or (3 if plural else 1), MOST_OF_ONE))
    if plural and count == 1:
        count = 3
    colour = found.colour if found.colour_age <= 3 else None
    rides = ""
    if found.on and found.things:
        before = found.things[-1]
        if name in things.CARRIERS and before.name not in things.CARRIERS and before.count <= 3:
            rides = name
            found.things[-1] = replace(before, rides=rides)
    known = [each.name for each in found.things]
    if name not in known and len(found.things) < MOST_THINGS:
        found.things.append(Thing(name, 1 if rides else count, colour, found.scale))
    found.count, found.scale, found.colour, found.on = 0, 1.0, None, False


def _settled(found: _Reading, without: set[str]) -> Scene:
    """Return the scene, with what was not said filled in from what was."""
    kept = tuple(
        replace(thing, rides="" if thing.rides in without else thing.rides)
        for thing in found.things
        if thing.name not in without
    )
    places = [place for place in found.meant["place"] if place not in without]
    homes = [things.nature_of(thing.name).home for thing in kept]
    place = _place(places, [home for home in homes if home in _PLACES], bool(kept))
    extras = set(found.meant["extra"]) - without
    times = [time for time in found.meant["time"] if time not in without]
    weathers = [weather for weather in found.meant["weather"] if weather not in without]
    time = times[0] if times else "day"
    if not times and extras & {"aurora", "meteor", "fireworks"}:
        time = "night"
    if not times and "night" in homes:
        time = "dusk"
    styles = [style for style in found.meant["style"] if style not in without]
    style = next((style for style in styles if style not in ("oil", "photo")), "")
    style = style or (styles[0] if styles else "oil")
    if style == "neon" and not times:
        time = "night"
    if "sun" in extras and time == "night":
        extras = extras - {"sun"}
    weather = weathers[0] if weathers else "clear"
    if weather == "clear" and not weathers and "lightning" in extras:
        weather = "storm"
    if place == "snow" and not weathers and "snow" not in without:
        weather = "clear"
    return Scene(
        place, time, weather, style, kept, frozenset(extras), found.tint, frozenset(without)
    )


def _place(places: list[str], homes: list[str], has_things: bool) -> str:
    """Return where it is: as said, the more telling first; else where the things are at home."""
    if places:
        # "on the beach, the sea behind": what stands in front of the other says more.
        order = [
            "moon",
            "mars",
            "underwater",
            "room",
            "table",
            "beach",
            "snow",
            "village",
            "lake",
            "garden",
            "farm",
        ]
        for place in order:
            if place in places:
                return place
        told = [place for place in places if place not in ("sky", "abstract")]
        return told[0] if told else places[0]
    if homes:
        return homes[0]
    return "meadow" if has_things else "abstract"


_PLACES: Final = frozenset(lexicon.PLACES.values())
