"""How the operator's switches stand, seen once a second for whoever shows them."""

from db import switches
from db.engine import Database


class Switchboard:
    """Remembers how the switches stood when they were seen last."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.seen = dict.fromkeys(switches.Name, True)

    async def turn(self) -> None:
        """See how they stand."""
        self.seen = await switches.all_of(self._db)
