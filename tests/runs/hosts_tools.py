"""The programs of a run that Boltwork does not need by itself: Patroni from its lock, in a virtual
environment of its own; etcd and haproxy from Debian's packages, unpacked and not installed.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.embedded import packaged_binaries
from db.refuge import REFUGE, runnable, server_account

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "scripts" / "lock" / "hosts.txt"
VENV = ROOT / ".cache" / "hosts-venv"
UNPACKED = ROOT / ".cache" / "hosts-debian"
# And of what haproxy needs, the libraries that a bare machine lacks.
PACKAGES = (
    "etcd-server", "haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1",
)  # fmt: skip
LIBRARIES = UNPACKED / "usr" / "lib" / "x86_64-linux-gnu"


def install() -> None:
    """Have all of them here: on a host of a run nothing can be fetched."""
    patroni()
    for name in ("etcd", "haproxy"):
        debian(name)
    postgres()


def patroni() -> Path:
    """Return Patroni's command, installed first when it is missing."""
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    marker = VENV / "installed"
    with _alone():
        if not marker.exists() or marker.read_text() != wanted:
            shutil.rmtree(VENV, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
            install = [ROOT / "scripts" / "install", VENV / "bin" / "python", LOCK]
            subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
            marker.write_text(wanted)
    return VENV / "bin" / "patroni"


def debian(name: str) -> Path:
    """Return a program of Debian's: the machine's own, or one that was unpacked."""
    installed = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if installed is not None:
        return Path(installed)
    places = [UNPACKED / "usr" / folder / name for folder in ("bin", "sbin")]
    with _alone():
        if not any(place.exists() for place in places):
            _unpack()
    [found] = [place for place in places if place.exists()]
    return found


def postgres() -> Path:
    """Return the folder of Postgres's programs, where whoever runs the servers may run them."""
    account = server_account()
    binaries = packaged_binaries()
    return binaries if account is None else runnable(binaries, account, REFUGE)


def tree_of(revision: str, folder: Path) -> Path:
    """Write the whole project there as it was at a revision of its history; return the folder."""
    folder.mkdir()
    archive = ["git", "-C", str(ROOT), "archive", revision]
    packed = subprocess.run(archive, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    return folder


def _unpack() -> None:
    with tempfile.TemporaryDirectory() as folder:
        download = ["apt-get", "download", *PACKAGES]
        if subprocess.run(download, cwd=folder, capture_output=True).returncode:
            subprocess.run(["apt-get", "update"], check=True, capture_output=True)
            subprocess.run(download, cwd=folder, check=True, capture_output=True)
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, UNPACKED], check=True)


@contextmanager
def _alone() -> Iterator[None]:
    VENV.parent.mkdir(exist_ok=True)
    with VENV.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
