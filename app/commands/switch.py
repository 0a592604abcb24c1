"""The commands that stop an instance and let it go on, without a restart: selling, paying-out.

What is paid for is done all the same, and what is owed stays owed, whichever of them is off.
"""

from enum import StrEnum
from typing import Annotated

import typer

from app.commands.books import at_the_books
from app.operator.switching import turn
from app.plant import Built
from db import switches

app = typer.Typer()


class Position(StrEnum):
    """Where a switch can stand."""

    ON = "on"
    OFF = "off"


To = Annotated[Position | None, typer.Argument(help="on or off; left out, it is shown")]


@app.command()
def selling(to: To = None) -> None:
    """Stop or resume selling: nothing new is offered for money, and what is paid for goes on."""
    _switch(switches.Name.SELLING, to)


@app.command(name="paying-out")
def paying_out(to: To = None) -> None:
    """Stop or resume payouts: what is owed waits, and is sent by itself afterwards."""
    _switch(switches.Name.PAYING_OUT, to)


def _switch(name: switches.Name, to: Position | None) -> None:
    async def work(built: Built) -> bool:
        if to is not None:
            await turn(built.db, built.clock, name, to is Position.ON)
        return await switches.is_on(built.db, name)

    print(f"{name.value} is {'on' if at_the_books(work) else 'off'}")
