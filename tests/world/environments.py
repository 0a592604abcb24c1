"""Boltwork as others have it: built, and installed in an environment with what a lock holds only.

The packages of a lock are those of the environment that the tests run in, which scripts/setup made
of the same locks: file by file, so that none that is in no lock comes along.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from tests.world.once import made_once
from tests.world.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "scripts" / "lock"
BARE = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
BUILD = "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"


@dataclass(frozen=True)
class Built:
    """What is built of the project's files: an archive of sources, and a wheel."""

    sdist: Path
    wheel: Path


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def command(self) -> Path:
        """Its `boltwork`."""
        return self.folder / "bin" / "boltwork"

    def run(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command, in a folder that has nothing to do with the project."""
        return subprocess.run(
            words, env=BARE | environment, cwd=self.folder, capture_output=True, text=True,
            timeout=PATIENCE_S,
        )  # fmt: skip


def tracked() -> list[str]:
    """Return the files of the project, as git names them."""
    said = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [name for name in said.split("\0") if name and os.path.lexists(ROOT / name)]


def copied(names: list[str], to: Path) -> Path:
    """Copy files of the project; a link stays a link."""
    for name in names:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, to / name, follow_symlinks=False)
    return to


def build(what: str, source: Path, to: Path) -> Path:
    """Build `sdist` or `wheel`, with the setuptools that is there, as --no-build-isolation does."""
    to.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, f"build_{what}", to],
        cwd=source, env=BARE, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (made,) = to.iterdir()
    return made


def with_packages(folder: Path, *locks: str) -> Environment:
    """Make an environment with what these locks hold, and the pip that is here."""
    venv.create(folder)  # its own way to a pip takes seconds
    there = next(folder.glob("lib/*/site-packages"))
    _link(metadata.distribution("pip"), there)
    for lock in locks:
        for name in re.findall(r"(?m)^([A-Za-z0-9._-]+)==", (LOCKS / f"{lock}.txt").read_text()):
            _link(metadata.distribution(name), there)
    return Environment(folder)


def environment_of(folder: Path, wheel: Path, *locks: str) -> Environment:
    """Make an environment with what these locks hold, and install the wheel in it by pip."""
    made = with_packages(folder, *locks)
    pip: list[str | Path] = [
        made.python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--no-index",
    ]
    done = made.run(*pip, "--no-deps", wheel)
    assert done.returncode == 0, done.stderr
    return made


def _link(found: metadata.Distribution, there: Path) -> None:
    folders = set[str]()
    for file in found.files or ():
        if ".." in file.parts:
            continue
        source, target = str(found.locate_file(file)), os.path.join(there, file)
        folder = os.path.dirname(target)
        if folder not in folders:
            os.makedirs(folder, exist_ok=True)
            folders.add(folder)
        try:
            os.link(source, target)
        except (FileExistsError, FileNotFoundError):
            continue  # a package of several distributions has one `__init__.py`
        except OSError:
            shutil.copy2(source, target)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The project, built from a copy of its files."""

    def make(folder: Path) -> None:
        source = copied(tracked(), folder / "source")
        build("sdist", source, folder / "s")
        build("wheel", source, folder / "w")

    folder = made_once(tmp_path_factory, "built", make)
    (sdist,), (wheel,) = (folder / "s").iterdir(), (folder / "w").iterdir()
    return Built(sdist, wheel)


@pytest.fixture(scope="session")
def server_environment(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Where `boltwork[server]` is installed, and nothing else."""
    folder = tmp_path_factory.mktemp("server") / "venv"
    return environment_of(folder, built.wheel, "app", "weights")


@pytest.fixture(scope="session")
def buyer_environment(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Where `boltwork` is installed, and nothing else."""
    return environment_of(tmp_path_factory.mktemp("buyer") / "venv", built.wheel, "buyer")
