"""The command for keys: rotate. It runs beside living servers, which take up the new keys."""

from typing import Annotated

import typer

from app.commands.terminal import database, read_settings, run
from app.keys.secret import operator_secrets
from app.main import utc_now
from app.operator.key_rotation import Rotated, rotate
from app.settings import Settings
from app.telemetry.observer import crash_at
from db.engine import Database, nowhere
from payments.seal import Seal

keys_app = typer.Typer(
    help="The keys that macaroons and receipts are made with.", no_args_is_help=True
)
app = typer.Typer()
app.add_typer(keys_app, name="keys")


@keys_app.callback()
def keys() -> None:
    """The keys that macaroons and receipts are made with."""


@keys_app.command("rotate")
def rotate_keys(
    forget_old: Annotated[
        bool,
        typer.Option(
            "--forget-old", help="delete older root keys: what they made is no longer valid"
        ),
    ] = False,
) -> None:
    """Make new keys for macaroons and receipts; close all keys with the first BOLTWORK_SECRET.

    Credentials and receipts that are out go on. With --forget-old credentials do not: for when a
    root key may have been seen. A running server learns of that within a minute.
    """
    settings = read_settings()
    with database(settings, shared=True) as url:
        done: Rotated = run(_rotate(settings, url, forget_old))
    print(f"New macaroons are made with root key {done.number}.")
    if done.kept:
        print(f"Older root keys that still check: {done.kept}, closed with the first secret.")
    if done.forgotten:
        print(f"Forgotten: {done.forgotten}. Credentials made with them are no longer valid.")
    print(f"New receipts are signed with {done.kid}.")


async def _rotate(settings: Settings, url: str, forget: bool) -> Rotated:
    passing = crash_at(settings.crash_at) if settings.crash_at else nowhere
    seal, db = Seal(operator_secrets(settings)), Database(url, 1, passing)
    await db.open()
    try:
        return await rotate(db, seal, utc_now(), forget=forget)
    finally:
        await db.close()
