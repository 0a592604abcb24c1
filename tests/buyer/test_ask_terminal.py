"""`boltwork ask` on a terminal: what the agent writes is drawn while it writes it, then gone."""

import asyncio
import io
import os
import re
import termios
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from rich.console import Console

from app.buyer.client import Client
from app.buyer.display import Display
from app.buyer.draft import MOST_CHARACTERS, Draft
from app.buyer.session import open_session
from app.buyer.wallets.stub import StubWallet
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import PATIENCE_S
from tests.world.scripted_agent import Writing
from tests.world.server_process import COMMAND

ROWS, COLUMNS = 24, 80
STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """A terminal, and all that was written to it. Use as a context manager."""

    def __enter__(self) -> Self:
        self._ours, self.theirs = os.openpty()
        termios.tcsetwinsize(self.theirs, (ROWS, COLUMNS))
        self.text = ""
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)
        os.close(self.theirs)

    def _read(self) -> None:
        self.text += os.read(self._ours, 65_536).decode("utf-8", "replace")
        self._more.set()

    async def shows(self, words: str) -> None:
        """Wait until these words have been written to it."""
        async with asyncio.timeout(PATIENCE_S):
            while words not in STEERING.sub("", self.text):
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def writing(
    database_url: str, folder: Path
) -> AsyncIterator[tuple[Instance, Writing, dict[str, str]]]:
    """Run an instance whose agent writes when it is told to, and a buyer's environment for it."""
    agent = Writing()
    async with instance_of(database_url, folder, agent=agent) as instance:
        kept = {"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8"}
        mine = {"BOLTWORK_URL": instance.url, "XDG_STATE_HOME": str(folder / "home")}
        yield instance, agent, kept | mine


async def begin(
    environment: dict[str, str], *words: str, stdout: int = PIPE, stderr: int = PIPE
) -> asyncio.subprocess.Process:
    """Start `boltwork ask hello`."""
    return await asyncio.create_subprocess_exec(
        str(COMMAND), "ask", "hello", *words, stdout=stdout, stderr=stderr, env=environment
    )


async def write(agent: Writing, *words: str) -> None:
    """Have an agent that was asked write these words and end."""
    await agent.begun.wait()
    for word in (*words, ""):
        agent.words.put_nowait(word)


async def test_what_the_agent_writes_is_drawn_on_a_terminal(
    database_url: str, tmp_path: Path
) -> None:
    """Its text grows below the state, escape codes in it steer nothing, and at the end there is the
    result: printed once, whole.
    """
    async with writing(database_url, tmp_path) as (_, agent, environment):
        with Terminal() as terminal:
            process = await begin(environment, stdout=terminal.theirs, stderr=terminal.theirs)
            for word in ("Two ends\n", "hold \x1b]0;planted\x07 ", "the rope."):
                agent.words.put_nowait(word)
                await terminal.shows(word.strip().partition(" \x1b")[0])
            await terminal.shows("sats so far")
            assert "result" not in STEERING.sub("", terminal.text).split()
            agent.words.put_nowait("")
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
            await terminal.shows("sats were sent.")
    shown = STEERING.sub("", terminal.text)
    assert shown.count("the rope.") >= 2  # while it was written, and in the result
    _, _, result = shown.partition("result ──")
    assert result.count("the rope.") == result.count("Two ends") == 1
    assert "planted" in result and "\x1b]" not in terminal.text


async def test_a_session_draws_it_too(database_url: str, tmp_path: Path) -> None:
    """A request that a balance pays for is followed by its job's stream."""
    async with writing(database_url, tmp_path) as (instance, agent, environment):
        async with Client(instance.url) as client:
            session = await open_session(client, 1_000, StubWallet(client))
        with Terminal() as terminal:
            environment["BOLTWORK_MACAROON"] = session.macaroon
            process = await begin(
                environment, "--session", stdout=terminal.theirs, stderr=terminal.theirs
            )
            agent.words.put_nowait("Two ends")
            await terminal.shows("Two ends")
            agent.words.put_nowait("")
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
            await terminal.shows("the session paid")
    _, _, result = STEERING.sub("", terminal.text).partition("result ──")
    assert result.count("Two ends") == 1


@pytest.mark.parametrize("words", [(), ("--json",)])
async def test_a_script_gets_the_result_alone(
    database_url: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """A file or a script gets the whole result once and nothing else, whatever is on the terminal
    beside it.
    """
    long = "word " * 40 + ":key: [bold]"
    async with writing(database_url, tmp_path) as (_, agent, environment):
        with Terminal() as terminal:
            process = await begin(environment, *words, stderr=terminal.theirs)
            await write(agent, "one ", "two ", long)
            out, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
            if words:
                await terminal.shows("sats were sent.")
    told = out.decode()
    assert process.returncode == 0 and "\x1b" not in told
    assert told.count(f"one two {long}") == 1 == told.count("one ")
    assert "so far" not in told
    if words:  # the progress of --json has the result in it, which is no draft
        assert "one two" not in STEERING.sub("", terminal.text).partition("result ──")[0]
    else:
        assert told == f"one two {long}\n"


def pieces(*told: tuple[int, str]) -> str:
    """Return what a draft holds after these pieces."""
    draft = Draft()
    for start, text in told:
        draft.add({"start": start, "text": text})
    return draft.text


def test_a_draft_is_what_was_written_last() -> None:
    """Pieces follow one another; a beginning begins again; after a gap the rest is shown."""
    assert pieces((0, "Grüße 🙂, "), (9, "you")) == "Grüße 🙂, you"
    assert pieces((0, "one "), (4, "two"), (0, "three")) == "three"
    assert pieces((0, "one "), (8, "three "), (14, "four")) == "three four"
    assert pieces((0, "one "), (2, "two")) == "ontwo"
    assert pieces((0, "a" * MOST_CHARACTERS), (MOST_CHARACTERS, "b")).endswith("ab")
    assert len(pieces((0, "a" * MOST_CHARACTERS), (MOST_CHARACTERS, "b"))) == MOST_CHARACTERS
    draft = Draft()
    for odd in ({}, {"start": "0", "text": "x"}, {"start": 0, "text": 1}, {"start": True}):
        draft.add(odd)
    assert draft.text == ""


def test_only_the_end_of_a_long_draft_is_drawn() -> None:
    """It takes a few lines of the screen, however much was written."""
    draft = Draft()
    draft.add({"start": 0, "text": "\n".join(f"line {number}" for number in range(1_000))})
    console = Console(file=io.StringIO(), width=40, height=8, force_terminal=True)
    with console.capture() as taken:
        console.print(draft)
    assert STEERING.sub("", taken.get()).split("\n") == [
        *(f"line {number}" for number in range(996, 1_000)), ""
    ]  # fmt: skip


def test_what_a_server_says_is_no_markup() -> None:
    """Brackets, emoji codes and escape codes of a stranger are shown as they are, or not at all."""
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    with console.capture() as taken:
        display = Display(console)
        display.state("[/]\x1b[2J")
        display.end({"state": "failed", "errorMessage": "[bold]:key:\x9b2J", "result": "[red]\x07"})
    shown = taken.get()
    assert "[/]" in shown and "[bold]:key:" in shown and "[red]" in shown
    assert "\x1b[2J" not in shown and "\x9b" not in shown
