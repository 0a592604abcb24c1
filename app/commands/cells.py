"""The command `cells`: the configuration of a router before several cells."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.terminal import fail

app = typer.Typer()


@app.command()
def cells(
    file: Annotated[Path, typer.Argument(help="a TOML that names the cells; see docs/cells.md")],
) -> None:
    """Print a haproxy that passes each request on to the cell it belongs to."""
    from app.commands import cells_file, cells_router

    try:
        named = cells_file.read(file)
    except cells_file.BadCells as bad:
        fail(f"{bad}.", 2)
    print(cells_router.configuration(named), end="")
