"""What the README and the client's own files show is run as it stands there: with curl, and as a
program of its own. Only the address of the server is another one.
"""

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from db.audit import audit
from tests.world.command import BARE
from tests.world.forked import Forked
from tests.world.house_fixtures import Instance
from tests.world.lending_fixtures import open_house
from tests.world.patience import PATIENCE_S
from tests.world.server_process import INHERITED

__all__ = ["open_house"]

ROOT = Path(__file__).parents[2]


def blocks(name: str) -> list[str]:
    """Return what a file shows, indented by four, each block with its blank lines."""
    text = (ROOT / name).read_text()
    if name.endswith(".py"):
        text = text.split('"""')[1]
    found: list[list[str]] = []
    inside = False
    for line in text.split("\n"):
        if line.startswith("    ") or (inside and not line):
            if not inside:
                found.append([])
            found[-1].append(line[4:])
        inside = line.startswith("    ") or (inside and not line)
    return ["\n".join(block).strip("\n") + "\n" for block in found]


PROGRAMS = [
    pytest.param(block, id=f"{name} {number}")
    for name in ("README.md", "app/buyer/client.py", "app/buyer/session.py")
    for number, block in enumerate(blocks(name))
    if block.startswith(("import ", "from "))
]
SHOWN_BEFORE = re.compile(r"\b(PAYMENT_HASH|JOB_ID|SESSION_ID|CLAIM|MACAROON)\b")
LENT = "boltwork lend --url http://127.0.0.1:8402 "
RECIPES = [block for block in blocks("README.md") if "curl " in block]


async def run(folder: Path, *words: str) -> tuple[str, str]:
    """Run something to its end, well; return what it printed."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *words, stdout=PIPE, stderr=PIPE, cwd=folder,
        env=kept | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder)},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0, err.decode()
    return out.decode(), err.decode()


def test_there_is_something_shown() -> None:
    """One program each, and the recipes of a job, a session and the demo."""
    assert len(PROGRAMS) == 3
    assert len(RECIPES) >= 3


@pytest.mark.one_instance
@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_program_runs_as_it_is_shown(
    instance: Instance, tmp_path: Path, program: str
) -> None:
    """It imports all that it uses, buys, and prints what it bought."""
    assert "http://127.0.0.1:8402" in program
    file = tmp_path / "program.py"
    file.write_text(program.replace("http://127.0.0.1:8402", instance.url))
    out, err = await run(tmp_path, sys.executable, str(file))
    assert "done: Say hello." in out and err == ""
    assert await audit(instance.built.db) == []


@pytest.mark.one_instance
@pytest.mark.parametrize("recipe", RECIPES, ids=range(len(RECIPES)))
async def test_a_recipe_runs_as_it_is_shown(
    instance: Instance, tmp_path: Path, recipe: str
) -> None:
    """Each command is answered well. What is in capitals is what an answer before has shown."""
    for address in ("http://127.0.0.1:8402", "http://localhost:8402", "localhost:8402"):
        recipe = recipe.replace(address, instance.url)
    if not SHOWN_BEFORE.search(recipe):
        out, _ = await run(tmp_path, "bash", "-e", "-c", recipe)
        assert "HTTP/1.1 402" in out or '"error"' not in out  # a price, or what was bought
        return
    known: dict[str, str] = {}
    for line in re.sub(r"\\\n\s*", "", recipe).splitlines():
        command = line
        for name in SHOWN_BEFORE.findall(line):
            command = command.replace(name, known[name])
        out, _ = await run(tmp_path, "bash", "-c", command)
        told = json.loads(out)
        assert "error" not in told, told
        invoice: dict[str, str] = next(
            (told[name] for name in ("evalInvoice", "invoice") if name in told), {}
        )
        shown = {
            "PAYMENT_HASH": invoice.get("paymentHash"),
            "JOB_ID": told.get("jobId"),
            "SESSION_ID": told.get("sessionId"),
            "CLAIM": told.get("claim"),
            "MACAROON": told.get("macaroon"),
        }
        known |= {name: value for name, value in shown.items() if value}


async def test_a_machine_earns_as_it_is_shown(open_house: Instance, tmp_path: Path) -> None:
    """One terminal lends, the other buys: the machine has made all of it, and says what it has
    earned when it is told to end."""
    [shown] = [block for block in blocks("README.md") if block.startswith(LENT)]
    lend, draw = (
        shlex.split(line.replace("http://127.0.0.1:8402", open_house.url), comments=True)[1:]
        for line in shown.splitlines()
    )
    env = BARE | {"XDG_STATE_HOME": str(tmp_path), "BOLTWORK_URL": open_house.url}
    said = os.open(tmp_path / "said", os.O_WRONLY | os.O_CREAT)
    lends, buys = (Forked(words, tmp_path, env, stderr=said) for words in (lend, draw))
    code = await asyncio.to_thread(buys.wait, PATIENCE_S)
    os.close(said)
    assert code == 0, (tmp_path / "said").read_text()
    lends.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(lends.wait, PATIENCE_S) == 0
    assert lends.stdout is not None and lends.stdout.read().startswith("sats: earned ")
    assert len([*(tmp_path / "foxes").iterdir()]) == 4
    assert await audit(open_house.built.db) == []
