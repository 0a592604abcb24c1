"""The commands by which an operator looks at the workers of the network, and bans one. What is free
of its pay stays the worker's; what is held back stays held.
"""

from typing import Annotated

import typer

from app import advance
from app.advance import Applied
from app.commands.books import at_the_books
from app.commands.terminal import fail
from app.plain_text import one_line
from app.plant import Built
from db import workers as rows
from pricing.money import sats_down

workers_app = typer.Typer(help="Look at workers of the network, and ban one.", no_args_is_help=True)
app = typer.Typer()
app.add_typer(workers_app, name="workers")

Id = Annotated[str, typer.Argument(help="the worker's id, as the list shows it")]


@workers_app.callback()
def workers() -> None:
    """Look at workers of the network, and ban one."""


@workers_app.command("list")
def list_workers() -> None:
    """List all workers, those first that were heard of last."""

    async def work(built: Built) -> None:
        for row in await rows.every(built.db):
            trusted = "trusted" if row.trusted_at is not None else "new"
            held = f"  {sats_down(row.held_msat)} sats held" if row.held_msat else ""
            print(
                f"{row.id}  {row.state}  {trusted}  {row.delivered} delivered{held}"
                f"  seen {row.seen_at:%Y-%m-%d %H:%M}  {one_line(row.name)}"
            )

    at_the_books(work)


@workers_app.command("ban")
def ban(worker_id: Id) -> None:
    """Give a worker nothing more, and take nothing from it."""

    async def work(built: Built) -> bool:
        return await built.shell.do(advance.workers.ban, worker_id) == Applied()

    if not at_the_books(work):
        fail(f"There is no worker {one_line(worker_id)!r} here that isn't banned.")
    print("It is banned.")


@workers_app.command("readmit")
def readmit(worker_id: Id) -> None:
    """Let a banned worker say again that it is there."""

    async def work(built: Built) -> bool:
        return await built.shell.do(advance.workers.readmit, worker_id) == Applied()

    if not at_the_books(work):
        fail(f"There is no banned worker {one_line(worker_id)!r} here.")
    print("It is paused, until it says that it is there.")
