"""The commands, run as a person runs them, on embedded parts."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from db.embedded import running_url
from tests.messages_server import CLIENT_KEY, MessagesServer
from tests.server_process import COMMAND, ServerProcess

ROOT = Path(__file__).parents[1]
BARE = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
NO_SOURCES = {"BTC_PRICE_SOURCES": "nobody=http://127.0.0.1:9/#usd"}


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [str(word) for word in words],
        env=BARE | NO_SOURCES | environment,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
    )


async def test_the_demo_buys_one_job_and_shows_all_of_it(open_folder: Path) -> None:
    """Every state, the result, the price with its note, and the refund; exit code 0."""
    demo = await asyncio.to_thread(
        run, str(COMMAND), "demo", "Say hello.", BOLTWORK_DATA=str(open_folder)
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    for state in ("awaiting_eval_payment", "awaiting_work_payment", "executing", "complete"):
        assert f"  {state}: " in demo.stdout
    assert "An example price of the development environment" in " ".join(demo.stdout.split())
    assert "sats were sent." in demo.stdout
    assert "Traceback" not in demo.stdout + demo.stderr
    assert "\x1b" not in demo.stdout  # plain lines where there is no terminal


async def test_ask_buys_from_a_running_instance(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """`boltwork ask --json` prints the job, and its exit code says whether it is complete."""
    server.environment |= {
        "ANTHROPIC_API_KEY": CLIENT_KEY,
        "ANTHROPIC_BASE_URL": messages_server.url,
    }
    url = await asyncio.to_thread(server.start)
    ask = await asyncio.to_thread(run, str(COMMAND), "ask", "hello", "--json", "--url", url)
    assert ask.returncode == 0, ask.stderr
    job = json.loads(ask.stdout)
    assert job["state"] == "complete"
    assert job["costLedger"]["refundState"] in ("paid", "not_applicable")
    refused = await asyncio.to_thread(run, str(COMMAND), "ask", "REJECTME", "--url", url)
    assert refused.returncode == 1
    assert "rejected" in refused.stdout


@pytest.mark.parametrize("request_text", ["", "x" * 20_001])
async def test_ask_says_what_the_server_refused(server: ServerProcess, request_text: str) -> None:
    """A refusal is one sentence on standard error, and exit code 1."""
    url = await asyncio.to_thread(server.start)
    ask = await asyncio.to_thread(run, str(COMMAND), "ask", request_text, "--url", url)
    assert ask.returncode == 1
    assert "request" in ask.stderr and "Traceback" not in ask.stderr


def test_ask_says_that_nobody_listens() -> None:
    """An instance that can't be reached is named."""
    ask = run(str(COMMAND), "ask", "hello", "--url", "http://127.0.0.1:9")
    assert ask.returncode == 1
    assert "can't be reached" in ask.stderr


def test_the_doctor_names_what_is_wrong(open_folder: Path) -> None:
    """Each part has a line; a bad one says how to mend it, and the exit code is 1."""
    data = {"BOLTWORK_DATA": str(open_folder)}
    well = run(str(COMMAND), "doctor", **data)
    assert well.returncode == 0, well.stdout + well.stderr
    assert [line.split()[1] for line in well.stdout.splitlines()] == [
        "database:",
        "keys:",
        "rail:",
        "price:",
        "agents:",
    ]
    broken = {"LNBITS_URL": "http://127.0.0.1:9", "LNBITS_API_KEY": "planted"}
    ill = run(str(COMMAND), "doctor", **data, **broken)
    assert ill.returncode == 1
    assert "BAD rail" in ill.stdout and "LNBITS_URL" in ill.stdout
    assert "planted" not in ill.stdout + ill.stderr


def test_migrate_brings_an_empty_database_up_to_date(open_folder: Path) -> None:
    """`boltwork migrate` on an empty folder makes the database."""
    migrate = run(str(COMMAND), "migrate", BOLTWORK_DATA=str(open_folder))
    assert migrate.returncode == 0, migrate.stderr
    assert "current" in migrate.stdout


def test_what_is_taken_is_said_in_a_sentence(server: ServerProcess) -> None:
    """A second server on one port, or on one data folder, says so, without a trace."""
    url = server.start()
    here = {"BOLTWORK_DATA": str(server.folder), "PORT": "0"}
    other = {"DATABASE_URL": running_url(server.folder) or "", "PORT": url.split(":")[-1]}
    for environment, said in ((here, str(server.folder)), (other, "PORT")):
        again = run(str(COMMAND), "serve", **environment)
        assert again.returncode == 1
        assert again.stderr.startswith("boltwork: ") and said in again.stderr
        assert "Traceback" not in again.stderr
