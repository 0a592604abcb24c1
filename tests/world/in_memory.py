"""Where what a test writes is held in memory, if this machine has such a folder with room."""

import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM_BYTES = 3 * 1024**3


def memory() -> Path | None:
    """Return a folder for temporary ones, whose files no disk is waited for; None if there is none.

    What is to be executed does not belong there: some machines refuse it.
    """
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM_BYTES:
        return MEMORY
    return None
