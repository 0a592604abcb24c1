"""The files that take longest begin first, so that no process is alone with one at the end.

Files are given out whole, as what they share is made once (`scripts/test`); in the order of the
alphabet, or of how many tests there are in them, the last minutes would be one process's.
"""

import pytest

# By what they took of the processor and by the clock, one of each kind beside the other: those that
# wait leave room for those that work.
LONGEST = (
    "crash_points", "silence", "lnbits_matrix", "log_stream", "chain", "pages_safe",
    "simulation", "simulated_workers", "server_states", "what_opens", "races", "painter",
    "operating", "pages",
    "pages_session", "pages_ends", "receiving", "embedded", "waits", "pages_operator",
    "pages_studio", "stock_clients", "pages_account", "guides",
    "ask_command", "wheel", "unnamed_user", "killed", "books_cli", "withdraw", "batches",
    "ask_mpp", "artifacts", "pages_result", "upgrade", "fuzz", "events_killed", "library_log",
    "engine", "house", "hostile_terminal", "install", "keys", "session_credentials",
    "lnbits_faults", "connections", "doctor", "bad_input", "commands", "embedded_watch",
    "plans", "usdc_faults", "stub_facilitator", "making", "downloads", "mpp", "fitness",
    "books", "routing", "receipts", "events", "session_races", "payouts_lane",
)  # fmt: skip
FILES = tuple(f"test_{name}.py" for name in LONGEST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of those files first; within a file, and of all others, the order stays."""
    places = {name: place for place, name in enumerate(FILES)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
