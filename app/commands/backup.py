"""The commands backup and restore: all that is in the database, in one file, and back.

BOLTWORK_SECRET is in no backup: without it the keys in one open to nobody.
"""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.terminal import fail, read_settings

app = typer.Typer()

FILE = typer.Argument(metavar="FILE", help="where the backup lies")


@app.command()
def backup(file: Annotated[Path, FILE]) -> None:
    """Write all of the database to a file, as it is at one moment. A server may run meanwhile."""
    _with_tables("dump", file)
    print(f"All of the database is in {file}. Keep BOLTWORK_SECRET, or the file `secret`, with it.")


@app.command()
def restore(file: Annotated[Path, FILE]) -> None:
    """Fill an empty database from a backup. Paying out is off then, until you switch it on."""
    _with_tables("restore", file)
    print(
        f"The database is as it was in {file}. Payouts stand still: some may have been paid since."
        " Look at `boltwork reconcile` and `boltwork payouts`, then `boltwork paying-out on`."
    )


def _with_tables(what: str, file: Path) -> None:
    settings = read_settings()
    from app.commands import postgres
    from db import backup as backups
    from db.embedded import EmbeddedPostgresError

    try:
        with postgres.as_it_is(settings) as (url, tools):
            getattr(backups, what)(url, file, tools)
    except (backups.BackupFailed, EmbeddedPostgresError) as wrong:
        fail(str(wrong))
