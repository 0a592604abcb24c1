"""What reading results takes of the server's memory: five hundred files of 2 MB, by many readers at
once, and then all of them as one zip.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import psycopg

from .orders import PATH, bought
from .rows import Row, Side, Verdict, Want
from .slices import Pace
from .stand import Process, Server, Stand

FILES, FEW_FILES = 500, 16
SIZE = 2_000_000
READERS = 16
FIRST = 16  # that are read before: what is loaded with the first one is no file's
LOOK_S = 0.02
MB = 1_000_000
MOST_MB = 24  # 16 readers, each of whom a piece of 256 KiB is read for and another one sent to


def row(stand: Stand, pace: Pace) -> Row:
    """Make the files, read them, and look at the server's memory meanwhile."""
    count, url, folder = FEW_FILES if pace.quick else FILES, stand.database(), "reading"
    server = stand.server("house", url, worker=False, folder=str(stand.folder / folder))
    hands, readers = stand.process("hands", "hands-reading"), stand.process("readers")
    hands.ask(do="open", database_url=url, folder=str(stand.folder / folder))
    batch_id = asyncio.run(bought(server, url, count))
    made = hands.ask(do="deliver", most=count, size=SIZE)["done"]
    assert made == count, made
    paths = [f"{PATH}/{batch_id}/images/{item_id}" for item_id in _items(url, batch_id)]
    weather = stand.weather()
    _read(readers, server, paths[:FIRST])
    before, by_file = _memory(server), _Most(server)
    with by_file.looking():
        files_s = _read(readers, server, paths)
    after, by_zip = _memory(server), _Most(server)
    with by_zip.looking():
        zip_s = _read(readers, server, [f"/jobs/{batch_id}/files.zip"])
    last = _memory(server)
    name = f"memory, while {count} results of {SIZE // MB} MB are read"
    more = {"MB before": before / MB, "MB after": after / MB, "MB after the zip": last / MB}
    more |= {"MB/s": count * SIZE / MB / files_s, "MB/s as a zip": count * SIZE / MB / zip_s}
    verdicts = (
        Verdict("MB more, at most", (by_file.bytes - before) / MB, Want("most", most=MOST_MB)),
        Verdict(
            "MB more, at most, as a zip", (by_zip.bytes - before) / MB, Want("zip", most=MOST_MB)
        ),
        Verdict("MB more afterwards", (last - before) / MB, Want("after", most=MOST_MB)),
    )
    return Row(name, {"Boltwork": Side(more=more)}, verdicts, 1, 1, weather())


def _items(database_url: str, batch_id: str) -> list[str]:
    query = "SELECT id FROM item WHERE batch_id = %s AND state = 'completed' ORDER BY place"
    with psycopg.connect(database_url) as connection:
        return [item_id for (item_id,) in connection.execute(query, (batch_id,))]


def _read(readers: Process, server: Server, paths: list[str]) -> float:
    told = readers.ask(port=server[1], paths=paths, at_once=READERS)
    assert told["bytes"] >= len(paths) * SIZE, told
    return float(told["seconds"])


def _memory(server: Server) -> int:
    """Return the bytes of a server that lie in memory (RSS)."""
    return int(psutil.Process(server[0].pid).memory_info().rss)


class _Most:
    """The most memory that a server had while it was looked at."""

    def __init__(self, server: Server) -> None:
        self.bytes, self._server = 0, server
        self._is_over = threading.Event()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look at it over and over, as long as the block lasts."""
        looks = threading.Thread(target=self._look)
        looks.start()
        try:
            yield
        finally:
            self._is_over.set()
            looks.join()

    def _look(self) -> None:
        while not self._is_over.wait(LOOK_S):
            self.bytes = max(self.bytes, _memory(self._server))
