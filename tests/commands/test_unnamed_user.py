"""Somebody without an entry in /etc/passwd, as containers run as any number are (OpenShift)."""

import json
import os
import pwd
import re
import subprocess
from pathlib import Path

import httpx2
import psutil
import pytest

from db.borrowed_name import borrowed_name
from db.refuge import NoRefuge
from tests.world.confined import confined
from tests.world.operating_page import DOCKERFILE, ROOT
from tests.world.patience import PATIENCE_S
from tests.world.server_process import ServerProcess

NOBODY_KNOWS = 54321


def folder_of_the_image(at: Path) -> Path:
    """Make a data folder as the image has it: its owner, its group and its mode."""
    [(owner, group, mode)] = re.findall(r"install -d -o (\w+) -g (\d+) -m (\d+) /data", DOCKERFILE)
    [uid] = re.findall(rf"useradd .*--uid (\d+) .*{owner}", DOCKERFILE)
    at.mkdir()
    at.chmod(int(mode, 8))
    os.chown(at, int(uid), int(group))
    return at


def as_nobody_knows(folder: Path, name: str) -> ServerProcess:
    """A server of somebody without a name, of group 0, and without a home."""
    server = ServerProcess(folder_of_the_image(folder / name))
    server.command = confined(folder, NOBODY_KNOWS, 0)
    server.environment["HOME"] = ""
    return server


def told(server: ServerProcess, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run another command beside it, as the same user in the same place."""
    given = {"PATH": os.environ["PATH"], **server.environment, **more}
    assert server.command is not None
    return subprocess.run([server.command, *words], env=given, capture_output=True, text=True)


def postmaster(server: ServerProcess) -> psutil.Process:
    """The embedded Postgres of a server that runs."""
    written = (server.folder / "postgres" / "postmaster.pid").read_text()
    return psutil.Process(int(written.split()[0]))


def test_a_user_without_a_name_makes_a_database_keeps_it_and_restores_it(open_folder: Path) -> None:
    """The first start makes the database with a borrowed name, the second finds it and what was
    bought; Postgres itself borrows nothing. A backup made and restored by the same user has it."""
    with pytest.raises(KeyError):
        pwd.getpwuid(NOBODY_KNOWS)
    server = as_nobody_knows(open_folder, "data")
    url = server.start()
    state = {"XDG_STATE_HOME": str(server.folder / "state")}
    bought = told(server, "ask", "Say hello.", "--json", "--url", url, **state)
    assert bought.returncode == 0, bought.stderr
    job = json.loads(bought.stdout)
    assert server.stop() == 0

    url = server.start()
    for process in (psutil.Process(server.pid), postmaster(server)):
        assert (process.uids().effective, process.gids().effective) == (NOBODY_KNOWS, 0)
        assert not {"LD_PRELOAD", "NSS_WRAPPER_PASSWD", "HOME"} & set(process.environ())
    assert (
        httpx2.get(f"{url}/api/jobs/{job['jobId']}", timeout=PATIENCE_S).json()["result"]
        == job["result"]
    )
    backup = server.folder / "backup"
    made = told(server, "backup", str(backup))
    assert made.returncode == 0, made.stderr
    assert server.stop() == 0

    other = as_nobody_knows(open_folder, "other")
    for kept in (*server.folder.glob("stub*"), server.folder / "secret"):
        copy = other.folder / kept.name
        copy.write_bytes(kept.read_bytes())
        os.chown(copy, NOBODY_KNOWS, 0)
    restored = told(other, "restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    url = other.start()
    assert (
        httpx2.get(f"{url}/api/jobs/{job['jobId']}", timeout=PATIENCE_S).json()["result"]
        == job["result"]
    )
    assert other.stop() == 0


def test_a_buyer_without_a_home_is_told_where_to_keep_what_was_spent(open_folder: Path) -> None:
    """Before anything is paid a sentence names XDG_STATE_HOME, where there is neither a HOME nor an
    entry that has one."""
    server = as_nobody_knows(open_folder, "data")
    asked = told(server, "ask", "hello", "--url", server.start())
    assert asked.returncode == 2 and "Traceback" not in asked.stderr, asked.stderr
    assert "set XDG_STATE_HOME to a folder of yours" in " ".join(asked.stderr.split())
    assert server.stop() == 0


def test_who_has_a_name_borrows_none() -> None:
    """Where /etc/passwd knows the user, nothing is loaded into initdb."""
    with borrowed_name(os.geteuid()) as name:
        assert (name.environment, name.passed) == ({}, ())


def test_without_the_library_a_sentence_says_what_to_do() -> None:
    """Where there is nothing to borrow a name from, the package and the other ways are named."""
    says = r"The user 54321 has no entry.*libnss-wrapper.*/etc/passwd.*DATABASE_URL"
    with pytest.raises(NoRefuge, match=says), borrowed_name(NOBODY_KNOWS, ()):
        pass


def test_setup_knows_a_library_by_its_file() -> None:
    """scripts/setup asks for no package whose program or library is there, and for one that is not;
    the image has the library too."""
    text = (ROOT / "scripts" / "setup").read_text()
    asks = text[text.index("is_there() {") :].split("\n}\n")[0] + "\n}\n"

    def is_there(package: str) -> bool:
        return (
            subprocess.run(["bash", "-euc", f'{asks}is_there "$1"', "_", package]).returncode == 0
        )

    assert is_there("libnss-wrapper") and is_there("bash")
    assert not is_there("libnss-nowhere")
    assert "libnss-wrapper" in text.split("for package in")[1].split(";")[0]
    assert "libnss-wrapper" in DOCKERFILE.split("\nFROM ")[-1]
