"""Who look something up at the same time are answered by one statement, sent after they asked."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from db.engine import Database
from db.lookups import Key, Lookup, Together
from tests.world.patience import PATIENCE_S


class Word(NamedTuple):
    """A row of no table."""

    length: int
    reversed: str


WORDS = Lookup(
    Word,
    ["text", "ending"],
    "SELECT length(asked.text) AS length, reverse(asked.text) AS reversed"
    " WHERE right(asked.text, 1) = asked.ending",
)


class Reader:
    """Reads when it is told to, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[Key]] = []
        self.turns: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def read(self, keys: Sequence[Key]) -> list[Word | None]:
        """Return the length of each key, and nothing of an empty one."""
        self.asked.append(list(keys))
        fault = await self.turns.get()
        if fault is not None:
            raise fault
        return [Word(len(key), key) if key else None for (key,) in keys]


async def begun(
    reader: Reader, together: Together[Key, Word], *keys: str
) -> list[asyncio.Task[object]]:
    """Have several look something up; return once all have asked."""
    tasks = [asyncio.create_task(together.find((key,))) for key in keys]
    for _ in range(len(keys) + 1):
        await asyncio.sleep(0)
    return [*tasks]


@pytest.fixture
def reader() -> Reader:
    """One that waits for its turns."""
    return Reader()


async def test_who_asks_meanwhile_is_answered_by_the_next_statement(reader: Reader) -> None:
    """One for all of them, each key once; never by the one that was sent before they asked."""
    together = Together(reader.read, PATIENCE_S)
    first = await begun(reader, together, "a")
    others = await begun(reader, together, "bb", "a", "", "bb")
    assert reader.asked == [[("a",)]]
    reader.turns.put_nowait(None)
    reader.turns.put_nowait(None)
    assert await asyncio.gather(*first) == [Word(1, "a")]
    found = await asyncio.gather(*others)
    assert found == [Word(2, "bb"), Word(1, "a"), None, Word(2, "bb")]
    assert reader.asked == [[("a",)], [("bb",), ("a",), ("",)]]


async def test_who_goes_away_takes_nobody_along(reader: Reader) -> None:
    """Neither the one who reads for himself, nor one who waits."""
    together = Together(reader.read, PATIENCE_S)
    [first] = await begun(reader, together, "a")
    gone, left = await begun(reader, together, "gone", "left")
    gone.cancel()
    first.cancel()
    reader.turns.put_nowait(None)
    assert await left == Word(4, "left")
    assert reader.asked[1:] == [[("left",)]]
    again = await begun(reader, together, "again")
    reader.turns.put_nowait(None)
    assert await asyncio.gather(*again) == [Word(5, "again")]


async def test_a_fault_is_told_to_all_whom_it_concerns_and_to_no_other(reader: Reader) -> None:
    """Those of the next statement have their answer."""
    together = Together(reader.read, PATIENCE_S)
    first = await begun(reader, together, "a")
    others = await begun(reader, together, "b", "c")
    reader.turns.put_nowait(None)
    await asyncio.gather(*first)
    later = await begun(reader, together, "d")
    reader.turns.put_nowait(ValueError("away"))
    reader.turns.put_nowait(None)
    told = await asyncio.gather(*others, return_exceptions=True)
    assert [type(each) for each in told] == [ValueError, ValueError]
    assert await asyncio.gather(*later) == [Word(1, "d")]


async def test_nobody_waits_for_a_statement_that_has_taken_long(reader: Reader) -> None:
    """He reads by himself, and has it read for those who wait."""
    together = Together(reader.read, PATIENCE_S)
    silent = await begun(reader, together, "silent")
    waiting = await begun(reader, together, "waiting")
    together.slow_s = 0
    hurried = await begun(reader, together, "hurried")
    assert sorted(reader.asked) == [[("hurried",)], [("silent",)], [("waiting",)]]
    for _ in range(3):
        reader.turns.put_nowait(None)
    found = await asyncio.gather(*silent, *waiting, *hurried)
    assert [word.reversed for word in found if isinstance(word, Word)] == [
        "silent",
        "waiting",
        "hurried",
    ]


async def test_postgres_answers_each_by_its_own_key(db: Database) -> None:
    """Whatever is in it, however many there are, and whether there is anything."""
    texts = ["", 'a"b', "a,b", "{}", "a\\b", "NULL", "ü", " "] + [f"{n}x" for n in range(200)]
    keys = [(text, text[-1:] if n % 3 else "?") for n, text in enumerate(texts)]
    found = await asyncio.gather(*(WORDS.find(db, *key) for key in keys))
    for (text, ending), row in zip(keys, found, strict=True):
        assert row == (Word(len(text), text[::-1]) if text[-1:] == ending else None)
