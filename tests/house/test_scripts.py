"""The scripts and the locks: what a stranger runs first, and what it is allowed to install."""

import json
import re
import resource
import subprocess
from pathlib import Path

import pytest

from tests.world.longest_first import FILES

ROOT = Path(__file__).parents[2]
NAMES = [
    "scripts/" + name
    for name in ("setup", "install", "run", "demo", "test", "check", "relock", "clients", "chain")
]
BASH = [*NAMES, ".ci/run"]
LOCKS = sorted((ROOT / "scripts" / "lock").glob("*.txt"))


@pytest.mark.parametrize("name", BASH)
def test_bash(name: str) -> None:
    """Each script is valid bash, can be executed, stops at the first error and works from
    anywhere."""
    path = ROOT / name
    subprocess.run(["bash", "-n", path], check=True)
    text = path.read_text()
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert "\nset -euo pipefail\n" in text and 'cd "$(dirname "${BASH_SOURCE[0]}")/.."' in text
    assert path.stat().st_mode & 0o111 == 0o111


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_lock(path: Path) -> None:
    """A lock names no place that packages come from; it pins each one, and gives its hash."""
    text = path.read_text()
    assert "://" not in text and set(re.findall(r"--[a-z][a-z-]*", text)) == {"--hash"}
    logical = re.sub(r"(?m)^\s*#.*\n?", "", text).replace("\\\n", " ").splitlines()
    requirements = [line for line in logical if line.strip()]
    assert requirements
    for line in requirements:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", line)


@pytest.mark.parametrize("name", ["clients", "chain"])
def test_a_lock_of_npm(name: str) -> None:
    """It too names no place that packages come from, and gives the hash of each."""
    text = (ROOT / "scripts" / "lock" / name / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    for package in packages.values():
        package.pop("funding", None)  # where its makers take gifts
    assert "://" not in json.dumps(packages) and "resolved" not in text and len(packages) > 1
    for name, package in packages.items():
        assert not name or re.match(r"sha512-\S+$", package["integrity"]), name


def test_every_install_is_the_one_that_is_tried() -> None:
    """Only scripts/install lets pip install packages, and test_install.py holds what it does;
    elsewhere pip installs Boltwork itself, and nothing that it asks for."""
    for name in (*BASH, "tests/world/lnbits_server.py"):
        text = (ROOT / name).read_text().replace("\\\n", " ")
        for line in re.findall(r".*\bpip\b.* install .*", text):
            assert "--no-deps" in line and "--no-build-isolation" in line, line
            of_locks = name == "scripts/install" and "--require-hashes" in line
            assert of_locks or " -e ." in line, line


def test_setup_is_instant_when_nothing_changed() -> None:
    """scripts/setup says that there is nothing to do when that is so, and says it at once."""
    setup = ROOT / "scripts" / "setup"
    subprocess.run([setup, "dev"], check=True, capture_output=True)
    worked_s = []  # by the processor: a machine that is busy takes longer for it
    for kind in ("dev", "app", "dev"):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = subprocess.run([setup, kind], check=True, capture_output=True, text=True, cwd="/")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        worked_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert said.stdout == "Nothing to do: .venv is up to date.\n" and not said.stderr
    assert min(worked_s) < 0.2


def test_the_longest_files_are_still_there() -> None:
    """What is told to begin first, so that no process is alone at the end, is a file of tests."""
    assert set(FILES) <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}
