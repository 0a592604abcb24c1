"""What an agent writes, on its way to whoever watches: small, slow, in order, and never in the way
of the work."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.agents.agent import Broke, Progress, Result, storable, unwatched
from app.promises.progress import MOST_TOLD_BYTES, Telling, Words
from db.engine import Database
from db.job_events import MOST_BYTES, PROGRESS, tell_progress
from pricing.money import BtcPrice, MicroUsd
from pricing.quote import Quote, make_quote
from pricing.rates import PUBLISHED, RateCard, Usage
from tests.world.agent_fixtures import Embedded
from tests.world.house_fixtures import instance_of
from tests.world.patience import PATIENCE_S
from tests.world.scripted_agent import ScriptedAgent

AT = datetime(2026, 11, 22, tzinfo=UTC)
NOBODY = "postgresql://nobody@127.0.0.1:9/nothing"


def quoted() -> Quote:
    """Return a quote of work."""
    price = BtcPrice(MicroUsd(100_000_000_000), AT, ("test",))
    card = RateCard(PUBLISHED, 2_000, 20)
    return make_quote(card, "smollm2-135m-instruct", 50, 1_000, price, AT, 900)


async def heard(database_url: str, database: Database, *pieces: str) -> list[Words]:
    """Have pieces written, and return what is told of them."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as listener:
        await listener.execute(f"LISTEN {PROGRESS}")
        told: list[Words] = []
        length = sum(len(piece) for piece in pieces)
        async with Telling(database, "f" * 32, quoted(), pace_s=0) as progress:
            for number, piece in enumerate(pieces):
                progress(piece, Usage(50, number))
            async for notice in listener.notifies():
                assert len(notice.payload.encode()) <= MOST_BYTES
                words = Words.unpacked(notice.payload)
                assert words is not None
                told.append(words)
                if words.start + len(words.text) == length:
                    break
    return told


@pytest.mark.parametrize(
    "text", ["hello", '"' * 5_000, "\x01" * 5_000, "\x00\ud800", "é" * 5_000, "🙂" * 3_000]
)
async def test_every_text_is_told_in_small_pieces(
    database_url: str, db: Database, text: str
) -> None:
    """No notice is larger than Postgres takes, whatever is written; together they are the text."""
    told = await heard(database_url, db, *(text[i : i + 7] for i in range(0, len(text), 7)))
    assert "".join(words.text for words in told) == storable(text)
    assert [words.start for words in told] == [
        sum(len(words.text) for words in told[:i]) for i in range(len(told))
    ]
    assert all(len(words.text.encode()) <= MOST_TOLD_BYTES for words in told)


async def test_a_database_that_is_away_does_not_hold_up_the_work() -> None:
    """What can't be told is said to be lost in the log, and the work goes on to its end."""
    with capture_logs() as logged:
        async with Telling(Database(NOBODY), "f" * 32, quoted()) as progress:
            progress("hello", Usage(1, 1))
            async with asyncio.timeout(PATIENCE_S):
                while not logged:
                    await asyncio.sleep(0)
            progress(" again", Usage(1, 2))
    assert {line["event"] for line in logged} == {"progress_not_told"}


async def test_nothing_is_told_after_the_work_is_done(database_url: str, db: Database) -> None:
    """A piece that comes after the end is left out: the next notice is somebody else's."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as listener:
        await listener.execute(f"LISTEN {PROGRESS}")
        async with Telling(db, "f" * 32, quoted(), pace_s=0) as progress:
            pass
        before = asyncio.all_tasks()
        progress("late", Usage(1, 2))
        begun = asyncio.all_tasks() - before
        if begun:
            await asyncio.wait(begun)
        await tell_progress(db, "of somebody else")
        told = [
            notice.payload async for notice in listener.notifies(timeout=PATIENCE_S, stop_after=1)
        ]
    assert told == ["of somebody else"]


@given(st.text())
def test_what_is_kept_is_as_long_as_what_was_written(text: str) -> None:
    """A model's text loses what Postgres can't keep, and no character more."""
    kept = storable(text + "\x00\ud800\udc00")
    assert kept == text.replace("\x00", "�") + "�??"


@pytest.mark.parametrize("said", ["", "{}", "[1]", "nothing", '["a"]', "[1,2,3,4,5,6]"])
def test_what_is_no_progress_is_not_read(said: str) -> None:
    """Whatever else is told on the channel is left alone."""
    assert Words.unpacked(said) is None


async def test_a_text_that_no_database_keeps_ends_the_job(
    database_url: str, tmp_path: Path
) -> None:
    """An agent that writes NUL or half a character is paid like any other, and asked once."""
    agent = Odd()
    async with instance_of(database_url, tmp_path, agent=agent) as instance:
        job = await instance.to_end("hello")
        assert job["state"] == "complete" and job["result"] == "a�?b"
        assert agent.calls["work", "hello"] == 1


async def test_the_embedded_model_tells_what_it_writes(embedded: Embedded) -> None:
    """Its pieces, one after the other, are its answer, and are counted as it goes."""
    told: list[tuple[str, Usage]] = []
    done = await embedded.agent.work("Say hello.", 24, lambda *piece: told.append(piece))
    assert isinstance(done, Result)
    assert len(told) > 1 and "".join(text for text, _ in told) == done.text
    written = [usage.output_tokens for _, usage in told]
    assert written == sorted(written) and written[-1] > 0
    assert {usage.input_tokens for _, usage in told} == {done.usage.input_tokens}


class Odd(ScriptedAgent):
    """Writes what can't be kept."""

    async def work(
        self, request: str, max_output_tokens: int, progress: Progress = unwatched
    ) -> Result | Broke:
        """Write NUL, and half of a surrogate pair."""
        self.calls["work", request] += 1
        progress("a\x00\ud800b", self.usage)
        return Result("a\x00\ud800b", self.usage)
