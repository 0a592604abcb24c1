"""An embedded Postgres that is killed comes back, or the server ends and says why."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import httpx2

from db.embedded import EmbeddedPostgres
from db.embedded_watch import EmbeddedWatch
from tests.world.messages_server import MessagesServer
from tests.world.patience import PATIENCE_S
from tests.world.served import bought, start, until_ready_is, with_claude
from tests.world.server_process import COMMAND, ServerProcess


def postmaster(folder: Path) -> int | None:
    """Return the process of the server on a data folder; None while its file is away or begun."""
    try:
        return int((folder / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


async def test_a_database_that_was_killed_is_started_again(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """Jobs go on over the one that came back, and the end of the server is a clean one."""
    server.command = COMMAND
    with_claude(server, messages_server).environment["HEALTH_S"] = "1"
    async with httpx2.AsyncClient(base_url=await start(server), timeout=PATIENCE_S) as http:
        await until_ready_is(http, 200)
        killed = postmaster(server.folder)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            while postmaster(server.folder) in (killed, None):
                await asyncio.sleep(0.1)
        await until_ready_is(http, 200)
        assert (await bought(http, "hello"))["state"] == "complete"
    assert "is started again" in server.log
    assert await asyncio.to_thread(server.stop) == 0


def listening(port: int) -> socket.socket:
    """Return a listener on a port, as soon as nobody else has it."""
    while True:
        taken = socket.socket()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", port))
        except OSError:
            taken.close()
            time.sleep(0.05)  # a dead server's children may still hold it
            continue
        taken.listen()
        return taken


async def test_a_server_whose_database_can_not_come_back_ends(
    server: ServerProcess, messages_server: MessagesServer
) -> None:
    """Where somebody else has its port by then, the server drains, says so in a sentence, and ends
    with 1: whoever watches it starts both anew.
    """
    server.command = COMMAND  # a child of this process, for whose end we can wait
    await start(with_claude(server, messages_server))
    lines = (server.folder / "postgres" / "postmaster.pid").read_text().splitlines()
    os.kill(server.pid, signal.SIGSTOP)  # it must not be quicker than we are
    try:
        os.kill(int(lines[0]), signal.SIGKILL)
        taken = await asyncio.to_thread(listening, int(lines[3]))
    finally:
        os.kill(server.pid, signal.SIGCONT)
    with taken:
        assert await asyncio.to_thread(server.ended) == 1
    assert "its port was taken meanwhile." in server.log
    assert "Traceback" not in server.log


async def test_a_database_that_does_not_stay_is_given_up(open_folder: Path) -> None:
    """After the last pause its process is told to end, and why it could not be kept is known."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    cluster = EmbeddedPostgres(open_folder)
    watch = EmbeddedWatch(cluster, await asyncio.to_thread(cluster.start), pauses_s=(0.0, 0.1))
    watch.start()
    try:
        (open_folder / "postgres" / "global" / "pg_control").unlink()
        killed = postmaster(open_folder)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await told.wait()
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        await asyncio.to_thread(watch.stop)
    assert "did not start" in watch.trouble and "pg_control" in watch.trouble
