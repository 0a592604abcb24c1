"""A real S3 server on 127.0.0.1 that checks every signature, in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from db.unused_port import unused_port
from tests.world.patience import PATIENCE_S

KEY_ID, KEY = "boltwork-test", "planted-key-of-the-store"
BUCKET = "made"


@dataclass
class S3Server:
    """Where it listens, and where its buckets lie."""

    port: int
    data: Path

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def config(self, **others: str) -> dict[str, str]:
        """Return what a client is told of it."""
        known = {"endpoint": self.endpoint, "access_key_id": KEY_ID, "secret_access_key": KEY}
        return known | others


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run one, with one bucket, until the end."""
    (folder / BUCKET).mkdir(parents=True)
    server = S3Server(unused_port(), folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "nanio", "serve", "--data-dir", str(folder), "--host", "127.0.0.1",
         "--port", str(server.port), "--log-level", "error", "--no-access-log"],
        env={"PATH": os.environ["PATH"], "NANIO_ACCESS_KEY": KEY_ID, "NANIO_SECRET_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", server.port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "it does not listen"
                time.sleep(0.05)
        assert process.poll() is None, "it ended at once"
        yield server
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One for all tests of a file."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server
