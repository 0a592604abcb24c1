"""The SQLite file behind a stub: one connection, one lock, one transaction for each method.

Several processes may hold the file, and what a method returned survives kill -9. Faults that are
scripted lie in it too, so that whoever holds it can script them.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_PAUSE_S = 0.01
_FAULTS = """
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY AUTOINCREMENT, call TEXT NOT NULL, fault TEXT NOT NULL,
    times INTEGER NOT NULL, delay_ms INTEGER NOT NULL)
"""


class Scripted(NamedTuple):
    """A fault that a call was set to have; no name means none."""

    name: str = ""
    delay_s: float = 0


class StubFile:
    """A file with these tables, and the faults that its calls shall have."""

    def __init__(self, path: str | Path, lock_timeout_s: float, schema: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(
            path, timeout=lock_timeout_s, isolation_level=None, check_same_thread=False
        )
        self._db.row_factory = sqlite3.Row
        self._write_ahead(lock_timeout_s)
        # The log outlives the process without fsync; only a power cut could lose the last writes.
        self._db.execute("PRAGMA synchronous = NORMAL")
        with self._tx() as tx:
            for statement in (*schema, _FAULTS):
                tx.execute(statement)

    def _write_ahead(self, within_s: float) -> None:
        # Of two that open a new file at the same moment SQLite refuses one at once, however long
        # it may wait for a lock elsewhere.
        until_s = time.monotonic() + within_s
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > until_s:
                    raise
                time.sleep(_PAUSE_S)

    @contextmanager
    def _tx(self) -> Iterator[sqlite3.Connection]:
        # IMMEDIATE: a transaction that reads first and writes later could not wait for the lock.
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def _read(self, query: str, *args: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, args).fetchall()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def script(self, call: str, fault: str, times: int, delay_s: float) -> None:
        """Keep a fault for the next calls of one kind."""
        with self._tx() as tx:
            tx.execute(
                "INSERT INTO faults (call, fault, times, delay_ms) VALUES (?, ?, ?, ?)",
                (call, fault, times, round(delay_s * 1000)),
            )

    def next_fault(self, call: str) -> Scripted:
        """Take the fault that this call has to have, if any."""
        query = "SELECT * FROM faults WHERE call = ? AND times > 0 ORDER BY id LIMIT 1"
        if not self._read(query, call):  # nearly always: no write lock for that
            return Scripted()
        with self._tx() as tx:
            row = tx.execute(query, (call,)).fetchone()
            if row is None:
                return Scripted()
            tx.execute("UPDATE faults SET times = times - 1 WHERE id = ?", (row["id"],))
            return Scripted(row["fault"], row["delay_ms"] / 1000)

    def clear_faults(self) -> None:
        """Forget every fault."""
        with self._tx() as tx:
            tx.execute("DELETE FROM faults")
