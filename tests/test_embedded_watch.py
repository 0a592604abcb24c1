"""An embedded Postgres that is killed comes back, or the server ends and says why."""

import asyncio
import os
import signal
from pathlib import Path

import httpx2
import pytest

from tests.messages_server import MessagesServer
from tests.server_process import COMMAND, ServerProcess
from tests.test_killed import start, with_claude
from tests.test_log_stream import until_ready_is
from tests.test_logs import bought


def postmaster(folder: Path) -> int | None:
    """Return the process of the server on a data folder; None while its file is away or begun."""
    try:
        return int((folder / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


@pytest.mark.timeout(180)
async def test_a_database_that_was_killed_is_started_again(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """Jobs go on over the one that came back, and the end of the server is a clean one."""
    server.command = COMMAND
    with_claude(server, messages_server).environment["HEALTH_S"] = "1"
    async with httpx2.AsyncClient(base_url=await start(server), timeout=60) as http:
        await until_ready_is(http, 200)
        killed = postmaster(server.folder)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(100):
            while postmaster(server.folder) in (killed, None):
                await asyncio.sleep(0.1)
        await until_ready_is(http, 200)
        assert (await bought(http, "hello"))["state"] == "complete"
    assert "is started again" in server.log
    assert await asyncio.to_thread(server.stop) == 0
