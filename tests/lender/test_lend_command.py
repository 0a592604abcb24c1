"""`boltwork lend` as a program: signals, one process for one file, and what it says in the end."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from app.lender import keeping
from app.lender.keeping import Kept, Unkept
from tests.world.a1111_server import API, CHECKPOINT, LOGIN
from tests.world.batch_doors import ended
from tests.world.command import BARE, ROOT, boltwork
from tests.world.forked import Forked
from tests.world.house_fixtures import Instance
from tests.world.lending_fixtures import buys, open_house
from tests.world.patience import PATIENCE_S
from tests.world.provider_server import ProviderServer, Reply

__all__ = ["open_house"]

TO, KEY = "you@example.org", {"BOLTWORK_BACKEND_KEY": LOGIN}


async def test_a_second_signal_ends_it_at_once(
    open_house: Instance, a1111_server: ProviderServer, tmp_path: Path
) -> None:
    """What is made at the backend is interrupted, and a later start goes on with the item. While it
    runs its file is its own."""
    backend = ("--backend", f"a1111:{a1111_server.url}", "--model", f"scene-1={CHECKPOINT}")
    words = ("lend", "--url", open_house.url, "--state", str(tmp_path / "lend.json"), *backend)
    batch_id = await buys(open_house, "a boat")
    API.goes = "stays"
    reader, writer = os.pipe()
    process = Forked([*words, "--to", TO, "--at-once", "2"], ROOT, BARE | KEY, stderr=writer)
    os.close(writer)
    with os.fdopen(reader) as said:
        await API.begun.wait()
        second = await asyncio.to_thread(boltwork, *words, **KEY)
        process.send_signal(signal.SIGTERM)
        while "Ending: what is held" not in await asyncio.to_thread(said.readline):
            pass
        process.send_signal(signal.SIGTERM)
        assert "Ended at once" in await asyncio.to_thread(said.read)
    assert (await asyncio.to_thread(process.wait, PATIENCE_S), API.interrupted) == (130, 1)
    assert second.returncode == 2 and f"(process {process.pid}) works with" in second.stderr
    API.reset()
    again = await asyncio.to_thread(boltwork, *words, "--items", "1", **KEY)
    assert again.returncode == 0, again.stderr
    assert f"Its pay goes to {TO}.\nGoing on with: scene-1" in again.stderr
    assert (await ended(open_house, batch_id))["job"]["status"] == "completed"


async def test_what_a_server_says_steers_no_terminal(
    images_server: ProviderServer, tmp_path: Path
) -> None:
    """A registration that was never answered is asked for under the same key; one that is refused
    is told, and forgotten."""
    state = tmp_path / "lend.json"
    words = ("lend", "--url", images_server.url, "--state", str(state), "--backend", "scene")
    steers = {"error": "No\x1b[31m \u202eworkers.", "code": "not_possible"}
    images_server.script("/api/v1/workers", Reply(cut=True), Reply(steers, 409))
    cut = await asyncio.to_thread(boltwork, *words, "--to", TO)
    assert cut.returncode == 5, cut.stderr
    refused = await asyncio.to_thread(boltwork, *words)
    assert refused.returncode == 1
    odd = "\N{REPLACEMENT CHARACTER}"
    assert refused.stderr == f"boltwork: {images_server.url}: No{odd}[31m {odd}workers.\n"
    first, again = images_server.of("/api/v1/workers")
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"]
    assert len(first.headers["idempotency-key"]) == 64 and first.body == again.body
    assert json.loads(state.read_text()) == {}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--to", "nonsense"), 2, "--to: "),
        (("--to", TO, "--url", "ftp://127.0.0.1:9"), 5, "must start with http"),
        (("--to", TO, "--url", "http://127.0.0.1:9"), 5, "http://127.0.0.1:9: nothing answers"),
        (("--to", TO, "--backend", "a1111:http://127.0.0.1:9"), 2, "Nothing answers at"),
        (("--url", "http://127.0.0.1:9", "withdraw"), 2, "no worker at http://127.0.0.1:9"),
    ],
)
def test_what_cannot_be_used_is_told(
    words: tuple[str, ...], code: int, says: str, tmp_path: Path
) -> None:
    """In one line, with an exit code for scripts."""
    state = ("--state", str(tmp_path / "lend.json"))
    done = boltwork("lend", *state, "--backend", "scene", "--model", "scene-1", *words)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert says in done.stderr


def test_one_process_at_a_time_has_the_file(tmp_path: Path) -> None:
    """Whoever comes second is told who has it; a file that can't be made is told too."""
    path = tmp_path / "deep" / "lend.json"
    with (
        keeping.held(path),
        pytest.raises(Unkept, match=rf"Another .* \(process {os.getpid()}\)"),
        keeping.held(path),
    ):
        pass
    with keeping.held(path):
        keeping.write(path, "http://a", Kept("1", "wk_a"))
    keeping.forget(path, "http://a")
    assert keeping.read(path, "http://a") is None
    (tmp_path / "file").write_text("")
    with pytest.raises(Unkept, match="can't be written"), keeping.held(tmp_path / "file" / "a"):
        pass
