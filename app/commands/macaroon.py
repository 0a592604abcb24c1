"""The commands for a macaroon: what it says, and a smaller one made of it. Nobody is asked.

No key is at hand, so what is shown is what the macaroon claims. Junk is exit code 2.
"""

import json
import re
import secrets
import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from app.commands.terminal import fail
from payments import l402, session_macaroon
from payments.grant import caveats_for
from payments.key_ring import parted
from payments.macaroon import Invalid, Macaroon, narrow, read
from payments.session_macaroon import link_of

app = typer.Typer(
    help="See what a macaroon says, and make a smaller one of it.", no_args_is_help=True
)

Token = Annotated[str, typer.Argument(help="the macaroon, or - to read it from standard input")]
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


@app.command()
def inspect(
    token: Token, as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False
) -> None:
    """Show what a macaroon says. Its signature is not checked: that takes the server's key."""
    macaroon = read(_text(token))
    if isinstance(macaroon, Invalid):
        fail(macaroon.reason, 2)
    told = _told(macaroon)
    if as_json:
        print(json.dumps(told))
        return
    for name, value in told.items():
        if name != "caveats":
            print(f"{name:14}{value}")
    for caveat in told["caveats"] or ["none"]:
        print(f"{'caveat':14}{caveat}{_moment(caveat)}")


def _told(macaroon: Macaroon) -> dict[str, Any]:
    """Return what a macaroon says of itself, by name."""
    caveats = [caveat.decode("utf-8", "backslashreplace") for caveat in macaroon.caveats]
    told: dict[str, Any] = {"kind": "unknown: not one of Boltwork's"}
    session = session_macaroon.named_by(macaroon)
    bought = l402.named_by(macaroon)
    if not isinstance(session, Invalid):
        told = {"kind": "session", "session": session.session_id, **_key(session.key_number)}
    elif not isinstance(bought, Invalid):
        told = {"kind": "L402", "paymentHash": bought[1].hex(), **_key(bought[0])}
    printable = [caveat if caveat.isprintable() else ascii(caveat) for caveat in caveats]
    return told | {"link": link_of(macaroon.signature), "caveats": printable}


def _key(number: int) -> dict[str, Any]:
    cell, own = parted(number)
    return {"rootKey": own, **({"cell": f"{cell:02x}"} if cell else {})}


def _moment(caveat: str) -> str:
    """Return the time of a caveat that is one, for people."""
    key, _, value = caveat.partition("=")
    if not key.endswith(("expires_at", "valid_until")) or not re.fullmatch("[0-9]{1,11}", value):
        return ""
    return f"  ({datetime.fromtimestamp(int(value), UTC):%Y-%m-%d %H:%M:%S} UTC)"


@app.command("narrow")
def narrow_command(
    token: Token,
    expires_in: Annotated[str | None, typer.Option(help="90s, 30m, 1h, 7d")] = None,
    max_sats: Annotated[int | None, typer.Option(help="most that one request may cost")] = None,
    budget_sats: Annotated[
        int | None, typer.Option(help="most that it and all made of it may spend together")
    ] = None,
    tools: Annotated[str | None, typer.Option(help="names, separated by commas")] = None,
    endpoints: Annotated[
        str | None, typer.Option(help="names, separated by commas: request,topup,status …")
    ] = None,
) -> None:
    """Print a smaller macaroon, to be handed to somebody else. It can't be made larger again."""
    try:
        caveats = caveats_for(
            expires_at=None if expires_in is None else int(time.time()) + _seconds(expires_in),
            max_sats=max_sats,
            budget_sats=budget_sats,
            tools=None if tools is None else tools.split(","),
            endpoints=None if endpoints is None else endpoints.split(","),
            # Two children with the same budget are two, and do not eat from one plate.
            child=None if budget_sats is None else secrets.token_urlsafe(6),
        )
    except ValueError as wrong:
        fail(str(wrong), 2)
    if not caveats:
        fail("say what to narrow it to: boltwork macaroon narrow --help", 2)
    macaroon = read(text := _text(token))
    if isinstance(macaroon, Invalid):
        fail(macaroon.reason, 2)
    if isinstance(session_macaroon.named_by(macaroon), Invalid):
        fail("only the macaroon of a session can be narrowed so", 2)
    narrowed = narrow(text, caveats)
    if isinstance(narrowed, Invalid):
        fail(narrowed.reason, 2)
    print(narrowed)


def _text(token: str) -> str:
    """Return the text of a macaroon, of the argument or of standard input, bounded."""
    if token != "-":
        return token.strip()
    return sys.stdin.buffer.read(10_000).decode("utf-8", "replace").strip()


def _seconds(duration: str) -> int:
    found = _DURATION.fullmatch(duration.strip())
    if found is None:
        raise ValueError(f"{duration!r} is no length of time: write it as 90s, 30m, 1h or 7d")
    return int(found[1]) * _SECONDS[found[2]]
