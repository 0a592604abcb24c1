"""Phrases that no sentence for a stranger holds: they cost readers time.

One list for the pages' sentences and for the API's.
"""

import re

BANNED = (
    "is over",
    "not taken",
    "parted by",
    "shall be",
    "an eye",
    "told",
    "for nothing",
)  # fmt: skip
_ANY = re.compile(r"\b(?:" + "|".join(p.replace(" ", r"\s+") for p in BANNED) + r")\b", re.I)


def banned_in(text: str) -> list[str]:
    """Return the banned phrases that a text holds, each with some words around it."""
    return [text[max(0, m.start() - 30) : m.end() + 30] for m in _ANY.finditer(text)]
