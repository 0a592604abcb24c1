"""The commands, run as a person runs them, on embedded parts."""

import asyncio
from pathlib import Path

from db.embedded import running_url
from db.unused_port import unused_port
from tests.world.command import run
from tests.world.server_process import COMMAND, ServerProcess


async def test_the_demo_buys_one_job_and_shows_all_of_it(open_folder: Path) -> None:
    """Every state, the result, the price with its note, and the refund; exit code 0."""
    demo = await asyncio.to_thread(
        run, str(COMMAND), "demo", "Say hello.", BOLTWORK_DATA=str(open_folder)
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    for state in ("waiting for the evaluation", "accepted and priced", "working", "complete"):
        assert state in demo.stdout
    assert "An example price of the development environment" in " ".join(demo.stdout.split())
    assert "sats were sent." in demo.stdout
    assert "Traceback" not in demo.stdout + demo.stderr
    assert "\x1b" not in demo.stdout  # plain lines where there is no terminal


def test_migrate_brings_an_empty_database_up_to_date(open_folder: Path) -> None:
    """`boltwork migrate` on an empty folder makes the database."""
    migrate = run(str(COMMAND), "migrate", BOLTWORK_DATA=str(open_folder))
    assert migrate.returncode == 0, migrate.stderr
    assert "current" in migrate.stdout


def test_what_is_taken_is_said_in_a_sentence(server: ServerProcess) -> None:
    """A second server on one port, or on one data folder, says so, without a trace."""
    server.command = COMMAND
    url = server.start()
    here = {"BOLTWORK_DATA": str(server.folder), "PORT": "0"}
    other = {"DATABASE_URL": running_url(server.folder) or "", "PORT": url.split(":")[-1]}
    for environment, said in ((here, str(server.folder)), (other, "PORT")):
        again = run(str(COMMAND), "serve", **environment)
        assert again.returncode == 1
        assert again.stderr.startswith("boltwork: ") and said in again.stderr
        assert "Traceback" not in again.stderr


def test_where_to_listen_can_be_said_on_the_command_line(server: ServerProcess) -> None:
    """`boltwork serve --host H --port P` listens there, whatever HOST and PORT are set to."""
    free = unused_port()
    server.environment |= {"HOST": "192.0.2.1", "PORT": "1"}
    assert server.start("serve", "--host", "127.0.0.1", "--port", str(free)) == (
        f"http://127.0.0.1:{free}"
    )


def test_a_port_that_is_none_is_refused(open_folder: Path) -> None:
    """A port beyond 65,535 is a usage error, and nothing is started for it."""
    said = run(str(COMMAND), "serve", "--port", "70000", BOLTWORK_DATA=str(open_folder / "data"))
    assert said.returncode == 2 and "65535" in said.stderr
    assert not (open_folder / "data").exists()
