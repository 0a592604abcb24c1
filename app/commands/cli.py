"""The command `boltwork`. What a command needs is imported when that command is run: so its help
is quick, and a server has its Postgres started before the rest of it is there.
"""

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Literal, NamedTuple

import typer
from typer.completion import (
    get_completion_inspect_parameters,
    install_callback,
    show_callback,
)
from typer.core import TyperGroup

OURS = ("app", "db", "payments", "pricing", "statemachine")


class Place(NamedTuple):
    """Where a command is defined, and its help in the list of all."""

    module: str
    help: str


COMMANDS = {
    "serve": Place("serve", "Serve HTTP, and keep promises, until Ctrl-C or SIGTERM."),
    "worker": Place(
        "serve",
        "Keep promises without serving HTTP; as many of these as wanted share one Postgres.",
    ),
    "migrate": Place("serve", "Bring the database to the tables of this version."),
    "doctor": Place(
        "serve",
        "Say what is wrong with this installation, and how to mend it. Exit code 1 if anything is.",
    ),
    "demo": Place(
        "serve",
        "Start everything embedded, buy one job with the stub wallet, and show all of it.",
    ),
    "stub-facilitator": Place(
        "facilitator",
        "Serve a facilitator of x402 that moves no real money, until Ctrl-C or SIGTERM.",
    ),
    "ask": Place(
        "ask",
        "Buy a job of a running instance. Exit codes: 0 complete, 1 failed, 2 refused before"
        " paying, 3 rejected by the agent, 4 not paid or not known, 5 no server.",
    ),
    "watch": Place(
        "ask",
        "Follow a job to its end; with --wallet, go on with a purchase that was interrupted.",
    ),
    "draw": Place(
        "draw",
        "Buy pictures or films of a running instance, and save them. Exit codes: 0 all delivered,"
        " 1 some were not, 2 refused before paying, 4 not paid or not known, 5 no server.",
    ),
    "tools": Place(
        "tools", "Tools of a running instance: find them, run one, and save what it makes."
    ),
    "cast": Place(
        "cast", "Spells of a running instance: find them, cast one, and save what it makes."
    ),
    "lend": Place(
        "lend",
        "Lend this machine to a running instance, and be paid for what it makes.",
    ),
    "account": Place(
        "account", "An account of a running instance: its balance, and the API keys that spend it."
    ),
    "ledger": Place(
        "books",
        "Show every account that holds something, with totals, or the entries of one job.",
    ),
    "reconcile": Place(
        "books",
        "Check the invariants of the books, and hold the rail's own balance against them.",
    ),
    "payouts": Place("books", "Payouts that are not paid, and what can be done about them."),
    "deposits": Place(
        "deposits", "USDC that was sent by nobody known here, and what can be done about it."
    ),
    "selling": Place(
        "switch",
        "Stop or resume selling: nothing new is offered for money, and what is paid for goes on.",
    ),
    "paying-out": Place(
        "switch",
        "Stop or resume payouts: what is owed waits, and is sent by itself afterwards.",
    ),
    "spells": Place("spells", "Withdraw spells that were published here, and show them again."),
    "workers": Place("workers", "Look at workers of the network, and ban one."),
    "receiving": Place(
        "receiving", "The LNbits wallets that invoices are made on, one after the other."
    ),
    "backup": Place("backup", "Write all of the database to a file, as it is at one moment."),
    "restore": Place(
        "backup",
        "Fill an empty database from a backup. Paying out is off then, until you switch it on.",
    ),
    "cells": Place(
        "cells", "Print a haproxy that passes each request on to the cell it belongs to."
    ),
    "verify": Place(
        "verify", "Check a receipt and print what it says. Exit code 1 when it is not genuine."
    ),
    "keys": Place("keys", "The keys that macaroons and receipts are made with."),
    "macaroon": Place("macaroon", "See what a macaroon says, and make a smaller one of it."),
}


class Commands(TyperGroup):
    """The list of commands, each of which is imported when it is the one that is meant."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return their names, in the order of the list."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return what stands for a command in help and in completions: its name and its help."""
        place = COMMANDS.get(cmd_name)
        return place and typer.core.TyperCommand(cmd_name, help=place.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command itself that is called, and what is left of the words."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else loaded(name), rest


def loaded(name: str) -> Any:
    """Import a command and return it."""
    made = typer.main.get_command(import_module(f"app.commands.{COMMANDS[name].module}").app)
    found = getattr(made, "commands", {}).get(name, made)
    found.name = name
    return found


# Typer's own two options ask which shell is an ancestor of this process, whatever they are told; in
# a container, an editor or cron none is. Ours are told.
app = typer.Typer(
    cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)
get_completion_inspect_parameters()  # these two options, and the shells that complete
Shell = Literal["bash", "zsh", "fish", "powershell", "pwsh"]


def _show_version(wanted: bool) -> None:
    """Say which Boltwork this is, and do nothing else."""
    if wanted:
        print(f"boltwork {version('boltwork')}")
        raise typer.Exit


@app.callback()
def boltwork(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="say which it is"),
    ] = False,
    install_completion: Annotated[
        Shell | None,
        typer.Option(callback=install_callback, is_eager=True, help="have this shell complete"),
    ] = None,
    show_completion: Annotated[
        Shell | None,
        typer.Option(callback=show_callback, is_eager=True, help="print what it would source"),
    ] = None,
) -> None:
    """A marketplace for agent jobs, paid over Lightning: serve one, or buy from one."""


def main() -> None:
    """Run the command. Without the extra `server`, serving commands say that it is missing."""
    try:
        app()
    except ModuleNotFoundError as missing:
        if (missing.name or "app").partition(".")[0] in OURS:
            raise
        print(
            f"boltwork: the package {missing.name} is missing here. Whoever runs a server, or looks"
            " into its books, needs more than a buyer: pip install 'boltwork[server]'",
            file=sys.stderr,
        )
        sys.exit(1)
