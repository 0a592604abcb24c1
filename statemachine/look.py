"""Whether a picture is one that was given before, for something else that was asked for.

Looks are 64 hex digits: 256 bits, of which a picture encoded anew keeps nearly all. How unlike two
are is told in percent of the bits that are set in either: nothing for the same picture, half and
more for two that have nothing to do with each other.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

ROWS: Final = 16  # of 16 bits each
REUSED_PCT: Final = 10  # as unlike as that, a picture is still the same one
_ROW: Final = 1 << ROWS
_WORD: Final = re.compile(r"\w{3,}")


@dataclass(frozen=True, slots=True)
class Given:
    """A picture that was given for something that was asked for."""

    look: str
    sha256: str  # of its bytes as we keep them
    prompt: str
    seed: int


def unlike_pct(look: str, other: str) -> int:
    """Return how unlike two looks are: 0 is the same, 100 has nothing of the other."""
    one, two = int(look, 16), int(other, 16)
    of = one.bit_count() + two.bit_count()
    return 100 * (one ^ two).bit_count() // of if of else 0


def keys_of(look: str) -> list[int]:
    """Return what two looks that are nearly the same have one at least of in common: a row of bits
    with its place. Rows that tell nothing are none.
    """
    bits = int(look, 16)
    rows = (bits >> (ROWS * place) & (_ROW - 1) for place in range(ROWS))
    return [place * _ROW + row for place, row in enumerate(rows) if row]


def words_of(prompt: str) -> frozenset[str]:
    """Return the words of a prompt that say what shall be seen."""
    plain = unicodedata.normalize("NFKC", prompt).casefold()
    return frozenset(_WORD.findall(plain)) or frozenset(plain.split())


def asks_alike(prompt: str, other: str) -> bool:
    """Say whether two prompts have half of their words in common, so that their pictures may look
    alike.
    """
    one, two = words_of(prompt), words_of(other)
    return 2 * len(one & two) >= len(one | two)


def is_reused(now: Given, before: Given) -> bool:
    """Say whether a picture is one that was given before for something else.

    With one seed, words that are nearly the same may make the very same picture. With another seed
    they may make one that is much like it, but not the same bytes. For other words, what looks the
    same was not made for them.
    """
    if asks_alike(now.prompt, before.prompt):
        return now.seed != before.seed and now.sha256 == before.sha256
    return unlike_pct(now.look, before.look) <= REUSED_PCT
