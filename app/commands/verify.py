"""The command `verify`: whether a receipt is genuine. It needs the receipt and the public keys."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from app.buyer.client import Client
from app.buyer.failures import ClientError
from app.commands.surroundings import troubles
from app.commands.terminal import fail
from app.keys.receipt_check import NotGenuine, ReceiptKey, check, keys_in, lines
from app.strict_json import BadInput, parse_object

JWKS_PATH = "/.well-known/jwks.json"

app = typer.Typer()


@app.command()
def verify(
    receipt: Annotated[Path, typer.Argument(help="a receipt as it was served, or its JWS alone")],
    jwks: Annotated[
        str | None, typer.Option(help="keys: a file, or a URL; else those of BOLTWORK_URL")
    ] = None,
    url: Annotated[str, typer.Option(envvar="BOLTWORK_URL")] = "http://127.0.0.1:8402",
) -> None:
    """Check a receipt and print what it says. Exit code 1 when it is not genuine."""
    try:
        document = receipt.read_bytes()
    except OSError as error:
        fail(f"{receipt} can't be read: {error.strerror}")
    try:
        said = check(document, _keys(jwks or url.rstrip("/") + JWKS_PATH))
    except NotGenuine as wrong:
        fail(f"NOT genuine. {wrong}")
    for line in lines(said):
        print(line)
    print("Genuine: one of the keys given signed just this.")


def _keys(where: str) -> list[ReceiptKey]:
    if where.startswith(("http://", "https://")):
        given = asyncio.run(_fetched(where))
    else:
        try:
            given = parse_object(Path(where).read_bytes())
        except (OSError, BadInput) as error:
            fail(f"the keys in {where} can't be read: {error}")
    keys = keys_in(given)
    if not keys:
        fail(f"there is no key for receipts in {where}")
    return keys


async def _fetched(url: str) -> dict[str, Any]:
    for trouble in troubles(os.environ):
        fail(trouble, 2)
    try:
        async with Client(url, timeout_s=10) as client:
            return await client.call("GET", url)
    except ClientError as error:
        reason = str(error) or type(error).__name__
        fail(f"no keys from {url} ({reason}): give a file of them with --jwks")
