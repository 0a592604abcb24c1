"""The command for USDC that came from nobody that we know: it is seen, and given to whose it is."""

import json
from typing import Annotated, Any

import typer

from app import advance
from app.advance import Applied, Replayed
from app.commands.books import AsJson, at_the_books
from app.commands.terminal import fail
from app.plant import Built
from db import deposits as rows
from db.deposits import DepositRow
from pricing.money import usdc_text

MOST = 1000

# Called without another word, each of these shows what it is of; so the list of all commands knows
# them as groups.
app = typer.Typer()
deposits_app = typer.Typer(
    help="USDC that was sent by nobody known here, and what can be done about it."
)
app.add_typer(deposits_app, name="deposits")


@deposits_app.callback(invoke_without_command=True)
def deposits(context: typer.Context, as_json: AsJson = False) -> None:
    """Show deposits in USDC that nobody has, and those that the chain has taken back."""
    if context.invoked_subcommand is not None:
        return

    async def look(built: Built) -> tuple[list[DepositRow], list[DepositRow]]:
        return await rows.unclaimed(built.db, MOST), await rows.gone(built.db, MOST)

    unclaimed, gone = at_the_books(look)
    if as_json:
        shown = {"unclaimed": unclaimed, "gone": gone}
        print(json.dumps({name: [_shown(row) for row in found] for name, found in shown.items()}))
        return
    for row in unclaimed:
        print(f"{usdc_text(row.amount_microusdc)} USDC  {row.id}")
        print(f"    from {row.payer}, {row.sent_at:%Y-%m-%d %H:%M}. {row.note or ''}".rstrip())
    for row in gone:
        print(f"{usdc_text(row.amount_microusdc)} USDC  {row.id}")
        print("    is not on the chain any more: it was reorganised.")
    if not unclaimed:
        print("Every deposit is on an account.")


@deposits_app.command()
def give(
    deposit_id: Annotated[
        str, typer.Argument(metavar="ID", help="as `boltwork deposits` shows it")
    ],
    account_id: Annotated[str, typer.Argument(metavar="ACCOUNT", help="its `accountId`")],
) -> None:
    """Give a deposit to an account: you know that its holder has sent it."""

    async def given(built: Built) -> advance.Outcome:
        return await built.shell.do(advance.deposits.give, deposit_id, account_id)

    told = at_the_books(given)
    if isinstance(told, Replayed):
        fail("it is on an account already")
    if not isinstance(told, Applied):
        fail("there is no such deposit that is on the chain, or no such account")
    print("It is on their account.")


def _shown(row: DepositRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "network": row.network,
        "transaction": row.txid,
        "from": row.payer,
        "amountMicrousdc": row.amount_microusdc,
        "sentAt": row.sent_at.isoformat(),
        "note": row.note,
        "account": row.account_id,
    }
