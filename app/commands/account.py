"""The commands of an account: opened by a payment, paid into, taken out of, and its API keys.

The key comes from BOLTWORK_API_KEY. Exit codes are those of `boltwork ask`.
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.buyer.spending import MOST_SATS
from app.commands.buying import (
    HERE,
    KEY,
    Bought,
    Budget,
    MaxSats,
    Parts,
    Url,
    WalletName,
    Wallets,
    Wishes,
    end,
    run,
)

if TYPE_CHECKING:
    from app.buyer.account import Account

app = typer.Typer(
    help="An account of a running instance: its balance, and the API keys that spend it.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]
Sats = Annotated[int, typer.Argument(min=1, max=10_000_000, help="how much, in sats")]


@app.command("open")
def open_(
    sats: Sats,
    url: Url = HERE,
    wallet: Wallets = WalletName.AUTO,
    max_sats: MaxSats = MOST_SATS,
    budget_per_day: Budget = None,
    as_json: Json = False,
) -> None:
    """Open an account by paying into it, and print its API key: nothing else opens it."""

    async def work(parts: Parts) -> dict[str, Any]:
        from app.buyer.account import connect

        account = await connect(parts.client, sats, parts.payer)
        return {"apiKey": account.key, "balanceSats": await account.balance()}

    wishes = _within(Wishes(url, wallet, max_sats, budget_per_day, as_json), sats)
    _run(wishes, work, lambda told: told["apiKey"])


@app.command()
def balance(url: Url = HERE, as_json: Json = False) -> None:
    """Print the balance."""

    async def work(account: "Account") -> dict[str, Any]:
        return await account.show()

    _with_key(Wishes(url, as_json=as_json), work, _balances)


@app.command()
def deposit(
    sats: Sats,
    url: Url = HERE,
    wallet: Wallets = WalletName.AUTO,
    max_sats: MaxSats = MOST_SATS,
    budget_per_day: Budget = None,
    as_json: Json = False,
) -> None:
    """Pay into the account, and print its balance."""

    async def work(parts: Parts) -> dict[str, Any]:
        account = _account(parts)
        await account.deposit(sats, parts.payer)
        return await account.show()

    wishes = _within(Wishes(url, wallet, max_sats, budget_per_day, as_json), sats)
    _needs_key(wishes)
    _run(wishes, work, _balances)


@app.command()
def withdraw(
    sats: Annotated[
        int | None, typer.Argument(min=1, max=10_000_000, help="how much; or what --invoice says")
    ] = None,
    to: Annotated[str | None, typer.Option(help="a Lightning address or an LNURL")] = None,
    invoice: Annotated[str | None, typer.Option(help="a BOLT11 invoice")] = None,
    url: Url = HERE,
    as_json: Json = False,
) -> None:
    """Take money out; without --to or --invoice print an LNURL, which a wallet scans."""

    async def work(account: "Account") -> dict[str, Any]:
        return await account.withdraw(sats, to=to, invoice=invoice)

    def line(told: dict[str, Any]) -> str:
        return str(told.get("lnurlWithdraw") or f"{told['amountSats']} sats are on their way.")

    _with_key(Wishes(url, as_json=as_json), work, line)


@app.command()
def history(
    unit: Annotated[str, typer.Option(help="day, week, month or year")] = "month",
    offset: Annotated[int, typer.Option(min=0, max=1000, help="how many of these before")] = 0,
    url: Url = HERE,
    as_json: Json = False,
) -> None:
    """Print what was spent, by the day and by the model or tool."""

    async def work(account: "Account") -> dict[str, Any]:
        return await account.history(unit, offset)

    def lines(told: dict[str, Any]) -> str:
        rows = [(day["date"], day) for day in told["days"]]
        rows += [(tool["toolId"], tool) for tool in told["tools"]]
        shown = [
            f"{name:24} {row['sats']:>12,} sats {row['usdc']:>14,.6f} USDC" for name, row in rows
        ]
        return "\n".join(shown or ["Nothing was spent in this time."])

    _with_key(Wishes(url, as_json=as_json), work, lines)


@app.command()
def keys(
    make: Annotated[str, typer.Option(help="make a key of this name, and print it")] = "",
    limit: Annotated[
        int | None, typer.Option(min=0, max=100_000_000, help="what that may spend, in sats")
    ] = None,
    rotate: Annotated[str, typer.Option(help="replace the key of this id, and print it")] = "",
    revoke: Annotated[str, typer.Option(help="end the key of this id")] = "",
    url: Url = HERE,
    as_json: Json = False,
) -> None:
    """List the API keys; or make, replace or revoke one."""
    wishes = Wishes(url, as_json=as_json)
    if sum(map(bool, (make, rotate, revoke))) > 1 or (limit is not None and not make):
        end(wishes, 2, "Give one of --make, --rotate and --revoke; --limit goes with --make.")

    async def work(account: "Account") -> dict[str, Any]:
        try:
            if make or rotate:
                made = await (account.make_key(make, limit) if make else account.rotate_key(rotate))
                return {"id": made.id, "apiKey": made.key}
            if revoke:
                await account.revoke_key(revoke)
            return {"apiKeys": await account.keys()}
        except ValueError as wrong:
            raise _usage(str(wrong)) from wrong

    def lines(told: dict[str, Any]) -> str:
        if "apiKey" in told:
            return str(told["apiKey"])
        return "\n".join(
            f"{one['id']}  {one['key']:24}  {one['spentSats']:>10,} sats spent  {one['name']}"
            for one in told["apiKeys"]
        )

    _with_key(wishes, work, lines)


def _with_key(
    wishes: Wishes,
    work: "Callable[[Account], Awaitable[dict[str, Any]]]",
    says: Callable[[dict[str, Any]], str],
) -> None:
    _needs_key(wishes)
    wishes = replace(wishes, wallet=WalletName.SCAN)  # nothing is paid

    async def with_account(parts: Parts) -> dict[str, Any]:
        return await work(_account(parts))

    _run(wishes, with_account, says)


def _needs_key(wishes: Wishes) -> None:
    from app.buyer.account import is_key

    if not is_key(os.environ.get(KEY, "").strip()):
        end(
            wishes, 2, f"Set {KEY} to an API key of the account; `boltwork account open` makes one."
        )


def _account(parts: Parts) -> "Account":
    from app.buyer.account import Account

    return Account(parts.client, os.environ.get(KEY, "").strip())


def _within(wishes: Wishes, sats: int) -> Wishes:
    if sats > wishes.max_sats:
        end(wishes, 2, f"{sats} sats are more than --max-sats {wishes.max_sats}.")
    return wishes


def _usage(sentence: str) -> Exception:
    from app.buyer.payer import Exit, Stop

    return Stop(Exit.REFUSED, f"{sentence}.")


def _balances(told: dict[str, Any]) -> str:
    usdc = f", {told['balanceUsdc']:,.6f} USDC" if told["balanceUsdc"] else ""
    return f"{told['balanceSats']:,} sats{usdc}"


def _run(
    wishes: Wishes,
    work: Callable[[Parts], Awaitable[dict[str, Any]]],
    says: Callable[[dict[str, Any]], str],
) -> None:
    async def shown(parts: Parts) -> dict[str, Any]:
        told = await work(parts)
        if not wishes.as_json:
            print(says(told), flush=True)
        return told

    run(Bought(wishes, shown, lambda _: 0))
