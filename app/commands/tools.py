"""The commands of tools: found, looked at, run, and what they made saved. The names of the files
alone are on standard output. Exit codes are those of `boltwork draw`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.buyer.spending import MOST_SATS
from app.commands.buying import (
    HERE,
    AsJson,
    Budget,
    ByAccount,
    BySession,
    MaxSats,
    Url,
    Wait,
    WalletName,
    Wallets,
    Wishes,
)
from app.commands.making import (
    Json,
    Key,
    Out,
    RefundTo,
    given_inputs,
    look,
    make,
    purse_of,
    rule_lines,
    seconds,
)
from app.plain_text import one_line
from payments.bolt11 import whole_sats

if TYPE_CHECKING:
    from app.buyer.client import Client
    from app.buyer.making import Making

app = typer.Typer(
    help="Tools of a running instance: find them, run one, and save what it makes.",
    no_args_is_help=True,
)
FOLLOW = "boltwork tools follow"

ToolId = Annotated[str, typer.Argument(help="the tool's id, as `boltwork tools list` shows it")]
Inputs = Annotated[
    list[str] | None,
    typer.Argument(help="NAME=VALUE; NAME=@FILE is what a file holds, a picture say"),
]
RunId = Annotated[str, typer.Argument(help="the run's id, as `boltwork tools run` shows it")]
ToGoOn = Annotated[
    WalletName, typer.Option("--wallet", help="pays what is not paid yet, as run does")
]


@app.command("list")
def list_(url: Url = HERE, as_json: Json = False) -> None:
    """List what can be run now, with what a run costs at most."""
    _found(url, as_json, "")


@app.command()
def search(
    words: Annotated[
        list[str], typer.Argument(help="words in a name or a description; all of them")
    ],
    url: Url = HERE,
    as_json: Json = False,
) -> None:
    """List the tools that some words fit."""
    _found(url, as_json, " ".join(words))


def _found(url: str, as_json: bool, words: str) -> None:
    async def ask(client: "Client") -> Any:
        from app.buyer.tools import tools

        return await tools(client, words)

    def lines(found: Any) -> Iterator[str]:
        for tool in found:
            yield f"{one_line(tool['toolId'], 60):20} {_price(tool):>18}  {_says(tool)}"
        if not found:
            yield "There is no such tool."

    look(url, as_json, ask, lines)


def _price(tool: Any) -> str:
    if "mostSats" not in tool:
        return f"at most ${tool['mostUsd']:.4f}"
    return f"at most {whole_sats(tool['mostSats'])}"


def _says(tool: Any) -> str:
    stands = " (Another one stands in for it.)" if tool["standsIn"] else ""
    return one_line(tool["description"]) + stands


@app.command()
def show(tool_id: ToolId, url: Url = HERE, as_json: Json = False) -> None:
    """Show a tool: its price, and what may be given to it."""

    async def ask(client: "Client") -> Any:
        from app.buyer.tools import tool

        return await tool(client, tool_id)

    def lines(told: Any) -> Iterator[str]:
        yield f"{one_line(told['toolId'], 60)}: {one_line(told['name'])}. {_says(told)}"
        makes = one_line(", ".join(told["outputs"]))
        runs = seconds(told["typicalRuntimeMs"])
        yield f"It costs {_price(told)}, takes {runs}, and makes: {makes}."
        if not told["open"]:
            yield "It can't be run just now."
        yield from rule_lines(told.get("inputs", {}), told.get("required", ()))

    look(url, as_json, ask, lines)


@app.command()
def run(
    tool_id: ToolId,
    inputs: Inputs = None,
    url: Url = HERE,
    out: Out = Path("."),
    wallet: Wallets = WalletName.AUTO,
    max_sats: MaxSats = MOST_SATS,
    budget_per_day: Budget = None,
    refund_to: RefundTo = None,
    session: BySession = False,
    account: ByAccount = False,
    key: Key = "",
    wait: Wait = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what it costs at most, and buy nothing")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a tool, and save what it makes. Exit codes: 0 it was made, 1 it was not, 2 refused
    before paying, 4 not paid or not known, 5 no server."""
    wishes = Wishes(url, wallet, max_sats, budget_per_day, as_json, wait)
    purse = purse_of(wishes, session, account, refund_to, key)

    async def work(making: "Making") -> dict[str, Any]:
        tool = await making.tool(tool_id)
        typed = given_inputs(inputs or (), tool.get("inputs", {}))
        if dry_run:
            return {"outputs": [], "toolId": tool_id, "mostSats": making.price_of(tool)}
        return await making.run(tool, typed, refund_to=refund_to, key=key)

    def code_of(told: Mapping[str, Any]) -> int:
        from app.buyer import making

        if not dry_run:
            return making.code_of(told)
        if not as_json:
            print(told["mostSats"])
        return 0

    make(wishes, out, work, follow=FOLLOW, purse=purse, code=code_of)


@app.command()
def follow(
    run_id: RunId,
    url: Url = HERE,
    out: Out = Path("."),
    wallet: ToGoOn = WalletName.SCAN,
    max_sats: MaxSats = MOST_SATS,
    budget_per_day: Budget = None,
    account: ByAccount = False,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was interrupted; nothing is paid a second time."""
    wishes = Wishes(url, wallet, max_sats, budget_per_day, as_json, wait)

    async def work(making: "Making") -> dict[str, Any]:
        return await making.follow_run(run_id.strip())

    make(wishes, out, work, follow=FOLLOW, purse="account" if account else "")


@app.command()
def cancel(
    run_id: RunId,
    url: Url = HERE,
    out: Out = Path("."),
    wallet: ToGoOn = WalletName.SCAN,
    account: ByAccount = False,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a run that nobody makes yet, and take back what it cost; else save what it makes."""
    wishes = Wishes(url, wallet, as_json=as_json, wait_s=wait)

    async def work(making: "Making") -> dict[str, Any]:
        return await making.cancel_run(run_id.strip())

    purse = "account" if account else ""
    make(wishes, out, work, follow=FOLLOW, purse=purse, code=lambda _: 0)
