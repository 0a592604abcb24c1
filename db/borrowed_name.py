"""A name for the while that a database is made. initdb looks its own user up, and a container that
runs as any number (`--user 54321`, OpenShift) has no entry for it in /etc/passwd.

libnss_wrapper, loaded into initdb alone, answers that one question from a file in memory. The
server asks nobody for its name, so a database that is there needs none of this.
"""

import contextlib
import os
import pwd
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from db.refuge import NoRefuge

LIBRARY = "libnss_wrapper.so"
LIBRARY_FOLDERS = (
    *sorted(Path("/usr/lib").glob("*-linux-*")),
    Path("/usr/lib64"),
    Path("/usr/lib"),
)


@dataclass(frozen=True)
class Borrowed:
    """What a process is given so that it finds its user: variables, and files that stay open."""

    environment: dict[str, str] = field(default_factory=dict)
    passed: tuple[int, ...] = ()


@contextlib.contextmanager
def borrowed_name(uid: int, folders: Sequence[Path] = LIBRARY_FOLDERS) -> Iterator[Borrowed]:
    """Yield what lets a child that runs as `uid` find its user: nothing, if it has an entry."""
    if _has_entry(uid):
        yield Borrowed()
        return
    library = next((each / LIBRARY for each in folders if (each / LIBRARY).is_file()), None)
    if library is None:
        raise NoRefuge(
            f"The user {uid} has no entry in /etc/passwd, and without one Postgres makes no "
            f"database: install the package libnss-wrapper, which lends it one, or add one to the "
            f"image (echo 'boltwork:x:{uid}:0::/:/bin/false' >> /etc/passwd), run as a user that "
            f"has one, or set DATABASE_URL."
        )
    gid = os.getegid()
    with (
        _in_memory("passwd", f"boltwork:x:{uid}:{gid}::/:/bin/false\n") as users,
        _in_memory("group", f"boltwork:x:{gid}:\n") as groups,
    ):
        yield Borrowed(
            {
                "LD_PRELOAD": str(library),
                "NSS_WRAPPER_PASSWD": f"/proc/self/fd/{users}",
                "NSS_WRAPPER_GROUP": f"/proc/self/fd/{groups}",
            },
            (users, groups),
        )


def _has_entry(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


@contextlib.contextmanager
def _in_memory(name: str, text: str) -> Iterator[int]:
    """A file on no disk: nothing to make room for, and nothing that a crash leaves behind."""
    number = os.memfd_create(name)
    try:
        os.write(number, text.encode())
        yield number
    finally:
        os.close(number)
