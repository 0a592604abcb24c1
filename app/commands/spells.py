"""The commands by which an operator withdraws a spell that others have published, or shows it
again. Casts that are under way are made to their end.
"""

from typing import Annotated

import typer

from app import advance
from app.advance import Applied
from app.commands.books import at_the_books
from app.commands.terminal import fail
from app.plain_text import one_line
from app.plant import Built
from db import spells as rows

spells_app = typer.Typer(
    help="Withdraw spells that were published here, and show them again.", no_args_is_help=True
)
app = typer.Typer()
app.add_typer(spells_app, name="spells")

Slug = Annotated[str, typer.Argument(help="the spell's name in its address")]
MOST_REASON = 300


@spells_app.callback()
def spells() -> None:
    """Withdraw spells that were published here, and show them again."""


@spells_app.command("list")
def list_spells() -> None:
    """List all spells with their uses; what is withdrawn, with the reason."""

    async def work(built: Built) -> None:
        for spell in await rows.every(built.db):
            hidden = f"  withdrawn: {one_line(spell.hidden_why)}" if spell.hidden_why else ""
            print(f"{spell.slug}  v{spell.number}  {spell.uses} uses{hidden}")

    at_the_books(work)


@spells_app.command("hide")
def hide(slug: Slug, reason: Annotated[str, typer.Argument(help="its author reads it")]) -> None:
    """Withdraw a spell: it is in no list, and is cast no more."""
    if not reason.strip():
        fail("Say why: its author reads the reason.")
    _set(slug, reason.strip()[:MOST_REASON])
    print(f"{slug} is withdrawn.")


@spells_app.command("show")
def show(slug: Slug) -> None:
    """Let a spell that was withdrawn be cast again."""
    _set(slug, None)
    print(f"{slug} can be cast.")


def _set(slug: str, why: str | None) -> None:
    async def work(built: Built) -> bool:
        return await built.shell.do(advance.spells.hide, slug, why) == Applied()

    if not at_the_books(work):
        fail(f"There is no spell {one_line(slug)!r} here.")
