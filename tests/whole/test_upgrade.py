"""Upgrading: what an older version wrote is brought up to date as docs/operating.md says."""

import contextlib
import json
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from db.embedded import EmbeddedPostgres, packaged_binaries, running_url
from db.migrate import migrate, newest, version
from tests.world.operating_page import follow
from tests.world.patience import PATIENCE_S
from tests.world.server_process import COMMAND, ServerProcess

OLD = Path(__file__).parents[1] / "versions"
TABLES = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
FAR_S = "3000000000"  # what was written then is in use for a century


@pytest.fixture
def old() -> Any:
    """What a buyer and an operator of version 0.1.0 had in hand."""
    return json.loads((OLD / "0.1.0.json").read_text())


@pytest.fixture
def server(open_folder: Path, old: Any) -> Iterator[ServerProcess]:
    """A server on a data folder as 0.1.0 left it; nothing of this version has touched it."""
    data = open_folder / "data"
    with EmbeddedPostgres(data, fast_for_tests=True) as cluster:
        url = cluster.start()
        migrate(url, "0013")
        with psycopg.connect(url, autocommit=True) as connection:
            tables = [name for (name,) in connection.execute(TABLES).fetchall()]
            connection.execute(f"TRUNCATE {', '.join(tables)}".encode())
            connection.execute((OLD / "0.1.0.sql").read_bytes())
        assert version(url) == "0013"
    with contextlib.closing(sqlite3.connect(data / "stub.sqlite3")) as rail:
        rail.executescript((OLD / "0.1.0.stub.sql").read_text())
    process = ServerProcess(data, BOLTWORK_SECRET=old["secret"], SESSION_IDLE_S=FAR_S)
    yield process
    process.stop()


def is_as_it_was(url: str, old: Any) -> None:
    """See that the job, the keys, the session and its money are what they were."""
    with httpx2.Client(base_url=url, timeout=PATIENCE_S) as http:
        job = http.get(f"/api/jobs/{old['job']['jobId']}").json()
        assert {name: job[name] for name in old["job"]} == old["job"]
        assert http.get("/.well-known/jwks.json").json()["keys"] == old["jwks"]["keys"]
        holder = {"Authorization": f"Bearer {old['session']['macaroon']}"}
        session = http.get(f"/api/sessions/{old['session']['sessionId']}", headers=holder).json()
        for name in ("state", "balanceSats", "reservedSats", "expiresAt"):
            assert session[name] == old["session"][name], name


def test_an_upgrade_as_the_page_says_keeps_what_was_bought(
    server: ServerProcess, old: Any, tmp_path: Path
) -> None:
    """After the page's commands the new version serves an old database: the old job, its receipt
    and its surplus, the old macaroon, its balance and its answered requests; the books balance."""
    said = follow("Upgrade", server, tmp_path / "backup")
    assert "The database is current." in said and said.endswith("Nothing is wrong.\n"), said
    url = server.start()
    is_as_it_was(url, old)
    assert version(running_url(server.folder) or "") == newest()
    with httpx2.Client(base_url=url, timeout=PATIENCE_S) as http:
        surplus = http.post("/api/dev/stub/invoice", json={"amountSats": 6}).json()
        claim = {"invoice": surplus["paymentRequest"]}
        refunded = http.post(f"/api/jobs/{old['job']['jobId']}/refund", json=claim)
        assert refunded.status_code == 200, refunded.text
        at = f"/api/sessions/{old['session']['sessionId']}"
        holder = {"Authorization": f"Bearer {old['session']['macaroon']}"}
        answered = http.get(f"{at}/requests/{old['request']['requestId']}", headers=holder).json()
        assert {name: answered[name] for name in old["request"]} == old["request"]
        closed = http.post(f"{at}/close", headers=holder)
        assert closed.status_code == 200, closed.text
    assert "books_are_wrong" not in server.log
    receipt = tmp_path / "receipt"
    receipt.write_text(json.dumps(old["receipt"]))
    verified = subprocess.run(
        [COMMAND, "verify", receipt, "--url", url], capture_output=True, text=True
    )
    assert "Genuine" in verified.stdout, verified.stdout + verified.stderr


def test_the_backup_before_an_upgrade_is_of_the_old_tables(
    server: ServerProcess, old: Any, tmp_path: Path
) -> None:
    """What the page has one back up is what the old version can go on with; and the new version,
    which restores it into an empty folder as the page says, serves it too."""
    backup = tmp_path / "backup"
    follow("Upgrade", server, backup)
    tool = packaged_binaries() / "pg_restore"
    listed = subprocess.run(
        [tool, "--data-only", "--table=alembic_version", "--file=-", backup],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "\n0013\n" in listed.stdout
    assert "Payouts stand still" in follow("Restore", server, backup)
    is_as_it_was(server.start(), old)


def test_serve_brings_old_tables_up_to_date_by_itself(server: ServerProcess, old: Any) -> None:
    """Whoever only restarts with the new version has the same."""
    is_as_it_was(server.start(), old)
