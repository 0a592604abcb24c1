"""Whether a loop goes on, asked by the loop itself.

A cancellation that comes in the same moment as a connection of a pool, or as the end of a wait, may
be swallowed there: whoever asked for it would then wait for the loop's end in vain.
"""

import asyncio


def goes_on() -> bool:
    """Say whether nobody has asked this task to end."""
    task = asyncio.current_task()
    return task is None or not task.cancelling()
