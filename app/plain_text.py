"""A stranger's text, made harmless: nothing in it steers a terminal, a log or whoever reads on.

Control characters (C0, C1, escapes), halves of surrogate pairs, and what turns the direction of
writing round are replaced, so that a reader sees that something was there.
"""

import re
from typing import Any

MOST_SENTENCE = 500  # characters of a sentence that somebody else wrote

_STEERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_NEW_LINE = re.compile("\r\n|\r|\x85")
_SPACE = re.compile(r"\s+")


# Control characters other than white space, and halves of surrogate pairs.
_NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def odd_in(text: str) -> str | None:
    """Return the first character of a text that is none, as U+0000; None where all of it is."""
    found = _NOT_TEXT.search(text)
    return f"U+{ord(found[0]):04X}" if found else None


def harmless(text: str) -> str:
    """Return a text of several lines without what would steer a terminal."""
    return _STEERS.sub("\N{REPLACEMENT CHARACTER}", _NEW_LINE.sub("\n", text))


def one_line(text: str, most: int = MOST_SENTENCE) -> str:
    """Return a text as one harmless line, cut where it is too long for a sentence."""
    line = _SPACE.sub(" ", harmless(text[: 4 * most])).strip()
    return line if len(line) <= most else f"{line[: most - 1]}…"


def harmless_value(value: Any) -> Any:
    """Return a JSON value with every text in it made harmless."""
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, list):
        return [harmless_value(each) for each in value]
    if isinstance(value, dict):
        return {harmless(name): harmless_value(each) for name, each in value.items()}
    return value
