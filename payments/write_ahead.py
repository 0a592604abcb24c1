"""A SQLite file of a stub is turned to its write-ahead log, by whoever opens it first."""

import sqlite3
import time

_PAUSE_S = 0.01


def write_ahead(db: sqlite3.Connection, within_s: float) -> None:
    """Have a file keep a write-ahead log.

    Of two that open a new file at the same moment SQLite refuses one at once, however long it may
    wait for a lock elsewhere: it tries again. Raises sqlite3.OperationalError when it may not.
    """
    until_s = time.monotonic() + within_s
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until_s:
                raise
            time.sleep(_PAUSE_S)
