"""Whether a task goes on, asked by the task itself.

A cancellation that comes in the same moment as the end of a wait may be swallowed there
(`asyncio.wait_for` does, until Python 3.12, and libraries wait with it): whoever asked for it would
then wait for the task's end in vain.
"""

import asyncio


def times_cancelled() -> int:
    """Return how often this task was asked to end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def goes_on() -> bool:
    """Say whether nobody has asked this task to end."""
    return not times_cancelled()
