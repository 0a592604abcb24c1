"""The commands for receiving wallets: see them, and open the next one before it is time."""

import json
from typing import Any

import typer

from app.commands.books import AsJson, at_the_books
from app.commands.terminal import fail
from app.plant import Built, receiving_of
from db.engine import Database
from db.receiving_wallets import OpenedWallet, invoices_made
from payments.rail import Unavailable, Unknown, Wallets
from statemachine.wallet import WalletState

receiving_app = typer.Typer(
    help="The LNbits wallets that invoices are made on, one after the other."
)
app = typer.Typer()
app.add_typer(receiving_app, name="receiving")

SINGLE = "the rail has one wallet for ever: this is for LNbits (LNBITS_URL, LNBITS_API_KEY)"
MOST_COUNTED = 1_000_000
WORDS = {
    WalletState.WANTED: "wanted",
    WalletState.IN_USE: "in use",
    WalletState.RETIRED: "retired",
    WalletState.CLOSED: "closed",
    WalletState.DELETED: "deleted",
}


@receiving_app.callback(invoke_without_command=True)
def receiving(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the wallets that invoices are made on, one after the other, the newest last."""
    if context.invoked_subcommand is not None:
        return
    shown: list[dict[str, Any]] = at_the_books(_shown)
    if as_json:
        print(json.dumps({"wallets": shown}))
        return
    for wallet in shown:
        held = wallet["balanceMsat"]
        holds = "does not tell what it holds" if held is None else f"holds {held} msat"
        print(
            f"{wallet['number']:>4}  {wallet['state']:8}  since {wallet['since'][:16]}"
            f"  {wallet['invoices']} invoices, {holds}"
        )


async def _shown(built: Built) -> list[dict[str, Any]]:
    known = await receiving_of(built).refresh()
    if built.wallets is None or not known:
        fail(SINGLE)
    return [await _wallet(built.db, built.wallets, wallet) for wallet in known]


async def _wallet(db: Database, wallets: Wallets, wallet: OpenedWallet) -> dict[str, Any]:
    held_msat: int | Unknown | None = wallet.left_msat
    if held_msat is None:
        held_msat = await wallets.balance_of(wallet.identity)
    return {
        "number": wallet.number,
        "state": WORDS[wallet.state],
        "since": wallet.since.isoformat(),
        "invoices": await invoices_made(db, wallet.identity, MOST_COUNTED),
        "balanceMsat": None if isinstance(held_msat, Unknown) else held_msat,
    }


@receiving_app.command("next")
def open_next() -> None:
    """Open the next wallet now, and move there what the others hold. Needs LNBITS_TOKEN.

    A running server makes its invoices there within SWEEP_S.
    """

    async def opened(built: Built) -> int:
        if built.wallets is None:
            fail(SINGLE)
        if built.settings.lnbits_token is None:
            fail("set LNBITS_TOKEN to an API token of LNbits that may write /api/v1/wallet")
        receiving = receiving_of(built)
        trouble = await receiving.open_next()
        if isinstance(trouble, Unavailable):
            fail(f"no wallet was opened: {trouble.reason}")
        return len(await receiving.refresh())

    print(f"Wallet {at_the_books(opened)} receives from now on.")
