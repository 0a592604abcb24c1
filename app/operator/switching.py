"""Turning an operator's switches, from the command line or from the page."""

from app.parts import Parts
from db import switches


async def turn(parts: Parts, name: switches.Name, on: bool) -> None:
    """Switch selling, or paying out, on or off."""
    now = parts.clock()
    await parts.db.run("switch", lambda tx: switches.turn(tx, name, on, now))
