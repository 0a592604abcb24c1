"""Every line on standard error is JSON, whoever wrote it; the same one is told once a minute."""

import contextlib
import json
import subprocess
import sys
import time
from typing import Any

import httpx2
import psycopg
import sqlalchemy
import structlog

from app.telemetry.folded import REMEMBERED, WINDOW_S, Fold
from tests.world.patience import PATIENCE_S
from tests.world.server_process import COMMAND, ServerProcess

PLANTED = "planted-text-of-a-buyer"
LIBRARIES = """
import asyncio, logging, os, sys, threading, warnings
from app.telemetry import library_log, logs
logs.configure("info")
planted = os.environ["PLANTED"]
logging.getLogger("httpx2").setLevel(logging.DEBUG)  # as ANTHROPIC_LOG=debug does
logging.getLogger("httpx2").info("HTTP Request: GET https://host/?q=%s", planted)
logging.getLogger("anthropic._base_client").debug("Request options: %s", planted)
logging.getLogger("psycopg.pool").warning("error connecting in %r: %s", "pool-1", OSError(planted))
logging.getLogger("procrastinate.worker").error(f"Job keep[7](promise={planted!r}) ended: Error")
logging.getLogger("x").warning("asked https://user:%s@host/path?key=%s in vain", planted, planted)
warnings.warn("an old way")
def broken():
    raise ValueError(planted)
try:
    broken()
except ValueError:
    logging.getLogger("hypercorn.error").exception("Error in ASGI Framework")
async def main():
    library_log.watch(asyncio.get_running_loop())
    asyncio.get_running_loop().call_soon(broken)
    task = asyncio.create_task(asyncio.to_thread(broken))
    await asyncio.wait([task])
asyncio.run(main())
thread = threading.Thread(target=broken)
thread.start()
thread.join()
broken()
"""


def test_what_libraries_say_is_json() -> None:
    """Warnings, errors, what nobody caught in a task, a thread or the program: each is a line with
    the class of the error and its place, and without a word of what they were about."""
    done = subprocess.run(
        [sys.executable, "-c", LIBRARIES],
        env={"PLANTED": PLANTED},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=".",
    )
    assert done.returncode == 1 and PLANTED not in done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    by_logger = {line["logger"]: line for line in lines if line["event"] == "library"}
    assert set(by_logger) == {
        "psycopg.pool", "procrastinate.worker", "x", "py.warnings", "hypercorn.error",
    }  # fmt: skip
    assert by_logger["x"]["said"] == "asked https://host/path in vain"
    assert by_logger["psycopg.pool"]["said"] == "error connecting in 'pool-1': OSError"
    assert by_logger["hypercorn.error"]["error"] == "ValueError"
    assert by_logger["hypercorn.error"]["where"][-1].endswith("broken")
    others = [line["event"] for line in lines if line["event"] != "library"]
    assert sorted(others) == ["crashed", "task_broke", "task_broke", "thread_broke"]


def test_a_server_whose_postgres_is_away_logs_json(
    database_url: str, server: ServerProcess
) -> None:
    """The pool's own words come out as lines of the log, and the same one is not said again."""
    server.command = COMMAND
    server.environment |= {"DATABASE_URL": database_url, "DATABASE_POOL": "3"}
    server.start()
    name = sqlalchemy.make_url(database_url).database
    admin = sqlalchemy.make_url(database_url).set(database="postgres")
    there = admin.render_as_string(hide_password=False)
    with psycopg.connect(there, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        until = time.monotonic() + 60
        while "psycopg.pool" not in server.log and time.monotonic() < until:
            with contextlib.suppress(httpx2.HTTPError):
                httpx2.post(f"{server.url}/api/jobs", json={"request": PLANTED}, timeout=PATIENCE_S)
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    ready = 0
    while ready != 200 and time.monotonic() < until + 60:
        ready = httpx2.get(f"{server.url}/api/readyz", timeout=PATIENCE_S).status_code
        time.sleep(0.2)
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.log.splitlines()]
    assert any(line.get("logger") == "psycopg.pool" for line in lines)
    assert PLANTED not in server.log


def passed(fold: Fold, method: str, **line: Any) -> dict[str, Any] | None:
    """Return a line after the fold; None when it was dropped."""
    with contextlib.suppress(structlog.DropEvent):
        return dict(fold(None, method, line))
    return None


def test_the_same_line_is_said_once_a_minute() -> None:
    """What is dropped is counted; other lines, and lines of no trouble, are not held up."""
    now = [0.0]
    fold = Fold(lambda: now[0])
    first = passed(fold, "error", event="away", job="a", request_id="1")
    assert first == {"event": "away", "job": "a", "request_id": "1"}
    assert passed(fold, "error", event="away", job="a", request_id="2") is None
    assert passed(fold, "error", event="away", job="b") is not None
    assert passed(fold, "info", event="request") == passed(fold, "info", event="request")
    now[0] = WINDOW_S
    again = passed(fold, "error", event="away", job="a", request_id="3")
    assert again == {"event": "away", "job": "a", "request_id": "3", "repeated": 1}
    for number in range(2 * REMEMBERED):
        assert passed(fold, "warning", event="other", number=number) is not None
    assert len(fold._seen) == REMEMBERED
