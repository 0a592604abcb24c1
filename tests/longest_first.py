"""The files that take longest begin first, so that no process is alone with one at the end.

Files are given out whole, as what they share is made once (`scripts/test`); in the order of the
alphabet, or of how many tests there are in them, the last minutes would be one process's.
"""

from pathlib import Path

import pytest

# By what they took, each in a process beside others.
LONGEST = (
    "what_opens", "bad_input", "books_cli", "silence", "ask_command", "killed", "log_stream",
    "crash_points", "simulation", "races", "lnbits_matrix", "receiving", "operating", "waits",
    "withdraw", "package", "connections", "session_credentials", "embedded", "house", "routing",
    "pages", "endings", "pages_safe", "wheel", "events_killed", "doctor", "lnbits_faults",
    "fitness", "payouts_lane",
)  # fmt: skip
FILES = tuple(Path(__file__).parent / f"test_{name}.py" for name in LONGEST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of those files first; within a file, and of all others, the order stays."""
    places = {path: place for place, path in enumerate(FILES)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
