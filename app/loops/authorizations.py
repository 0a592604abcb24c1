"""Orders in USDC of which nobody knows are asked about in their turn, until the chain has said what
became of them.
"""

import asyncio

from app.promises.settling import Settling

MOST = 20


class Authorizations:
    """Asks the chain about orders that are due."""

    def __init__(self, settling: Settling) -> None:
        self._settling = settling

    async def turn(self) -> None:
        """Look at those whose turn it is, side by side: one that is slow holds up no other."""
        rows = await self._settling.take_due(MOST)
        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(self._settling.look(row))
