"""Whose certificates are believed: read once by a process, and by what its environment names."""

import os
import subprocess
import sys
from pathlib import Path

from pricing.authorities import authorities
from tests.world.certificates import certificate_for

COUNT = """
from pricing.authorities import authorities
print([authorities(trust_env=each).cert_store_stats()["x509"] for each in (True, False)])
"""


def counted(**environment: str) -> list[int]:
    """Return how many authorities a process of this environment believes, with it and without."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT],
        env={"PATH": os.defpath, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(count) for count in done.stdout.strip("[]\n").split(",")]


def test_they_are_read_once() -> None:
    """All clients of a process that heed its environment share them, and so do all that don't."""
    for trust_env in (True, False):
        assert authorities(trust_env=trust_env) is authorities(trust_env=trust_env)


def test_they_are_those_that_the_environment_names(tmp_path: Path) -> None:
    """SSL_CERT_FILE counts for a client that heeds the environment, and for no other."""
    certificate_for("shop.example", tmp_path)
    [file] = tmp_path.glob("*.pem")
    heeding, other = counted(SSL_CERT_FILE=str(file))
    assert heeding == 1 and [other, other] == counted()
