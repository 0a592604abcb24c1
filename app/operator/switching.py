"""Turning an operator's switches, from the command line or from the page."""

from app.ports import Clock
from db import switches
from db.engine import Database


async def turn(db: Database, clock: Clock, name: switches.Name, on: bool) -> None:
    """Switch selling, or paying out, on or off."""
    now = clock()
    await db.run("switch", lambda tx: switches.turn(tx, name, on, now))
