"""A log that can't be written ends nothing and holds up nothing: lost lines are counted."""

import asyncio
import os
import select
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx2
import pytest

from app.telemetry.log_stream import LogStream
from db.embedded import EmbeddedPostgres
from tests.world.database_fixtures import copy_of
from tests.world.messages_server import MessagesServer
from tests.world.patience import PATIENCE_S
from tests.world.served import bought, start, until_ready_is, with_claude
from tests.world.server_process import COMMAND, ServerProcess


@contextmanager
def full() -> Iterator[int]:
    """Give a disk without room."""
    with open("/dev/full", "wb") as disk:
        yield disk.fileno()


@contextmanager
def nobody_reads() -> Iterator[int]:
    """Give a pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)


@contextmanager
def reader_stands_still() -> Iterator[int]:
    """Give a pipe that is full, and whose reader takes nothing."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while select.select([], [writer], [], 0)[1]:
        os.write(writer, b"x" * 65_536)
    os.set_blocking(writer, True)
    try:
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


Broken = Callable[[], AbstractContextManager[int]]
BROKEN: dict[str, Broken] = {
    "full": full,
    "nobody reads": nobody_reads,
    "reader stands still": reader_stands_still,
}


@pytest.mark.parametrize("way", BROKEN)
def test_a_line_that_cannot_be_written_raises_nothing(way: str) -> None:
    """Nor does it wait for anybody. One that can be written is written whole."""
    with BROKEN[way]() as descriptor, open(descriptor, "w", closefd=False) as broken:
        stream = LogStream(broken)
        for _ in range(100):
            stream.write("a line\n")
    LogStream(None).write("a line\n")
    reader, writer = os.pipe()
    with open(writer, "w") as well:
        LogStream(well).write("ä" * 10_000 + "\n")
    with open(reader, encoding="utf8") as written:
        assert written.read() == "ä" * 10_000 + "\n"


async def test_loops_outlive_a_log_that_cannot_be_written(
    open_folder: Path, made_data: Path, messages_server: MessagesServer
) -> None:
    """While Postgres is away much would be logged. When it is back, jobs come to their end."""
    async with asyncio.TaskGroup() as ways:
        for number, broken in enumerate(BROKEN.values()):
            folder = open_folder / str(number)
            folder.mkdir(mode=0o711)
            copy_of(made_data, folder / "apart")
            server = with_claude(ServerProcess(folder), messages_server)
            ways.create_task(_outlives(server, broken))


async def _outlives(server: ServerProcess, broken: Broken) -> None:
    """Take the database away from a server with such a log, and give it back."""
    server.command = COMMAND
    postgres = EmbeddedPostgres(server.folder / "apart", fast_for_tests=True)
    url = await asyncio.to_thread(postgres.start)
    server.environment |= {"DATABASE_URL": url, "HEALTH_S": "1"}
    try:
        with broken() as descriptor:
            server.stderr = descriptor
            async with httpx2.AsyncClient(base_url=await start(server), timeout=PATIENCE_S) as http:
                assert (await bought(http, "hello"))["state"] == "complete"
                await asyncio.to_thread(postgres.stop)
                await until_ready_is(http, 503)
                assert await asyncio.to_thread(postgres.start) == url
                await until_ready_is(http, 200)
                assert (await bought(http, "hello again"))["state"] == "complete"
                lost = (await http.get("/metrics")).text.split("boltwork_log_lines_lost_total ")
                assert float(lost[-1].split()[0]) > 0
            assert await asyncio.to_thread(server.stop) == 0
    finally:
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(postgres.stop)
