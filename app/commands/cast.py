"""The commands of spells: found, looked at, priced, cast, and what their steps made saved. The
names of the files alone are on standard output. Exit codes are those of `boltwork draw`.
"""

from collections.abc import Iterator
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
    help="Spells of a running instance: find them, cast one, and save what it makes.",
    no_args_is_help=True,
)
FOLLOW = "boltwork cast follow"

Slug = Annotated[str, typer.Argument(help="the spell's name, as `boltwork cast list` shows it")]
CastId = Annotated[str, typer.Argument(help="the cast's id, as `boltwork cast run` shows it")]
Parameters = Annotated[
    list[str] | None,
    typer.Argument(help="NAME=VALUE of a parameter; NAME=@FILE is what a file holds"),
]
ToGoOn = Annotated[
    WalletName, typer.Option("--wallet", help="pays what is not paid yet, as run does")
]


@app.command("list")
def list_(
    words: Annotated[
        list[str] | None, typer.Argument(help="words in a name or a description")
    ] = None,
    tag: Annotated[str, typer.Option(help="those that have this tag")] = "",
    url: Url = HERE,
    as_json: Json = False,
) -> None:
    """List spells that can be cast: all, or those that words or a tag fit."""

    async def ask(client: "Client") -> Any:
        from app.buyer.spells import spells

        return await spells(client, " ".join(words or ()), tag)

    def lines(found: Any) -> Iterator[str]:
        for spell in found:
            uses = f"{spell['uses']:,} uses"
            yield f"{one_line(spell['slug'], 64):20} {uses:>12}  {one_line(spell['description'])}"
        if not found:
            yield "There is no such spell."

    look(url, as_json, ask, lines)


@app.command()
def show(slug: Slug, url: Url = HERE, as_json: Json = False) -> None:
    """Show a spell: its steps, and the parameters that may be given."""

    async def ask(client: "Client") -> Any:
        from app.buyer.spells import spell

        return await spell(client, slug)

    def lines(told: Any) -> Iterator[str]:
        yield f"{one_line(told['slug'], 64)}: {one_line(told['name'])}"
        yield f"{one_line(told['description'])} Version {told['version']}."
        if not told["castable"]:
            why = one_line(told.get("broken", "The operator has withdrawn it."))
            yield f"It can't be cast. {why}"
        for step in told["steps"]:
            yield f"  step {step['stepId']:<3} {one_line(step['toolId'], 60)}"
        yield from rule_lines(told["inputs"], ())

    look(url, as_json, ask, lines)


@app.command()
def quote(
    slug: Slug, parameters: Parameters = None, url: Url = HERE, as_json: Json = False
) -> None:
    """Say what a cast costs, step by step, and how long it takes; nothing is bought."""

    async def ask(client: "Client") -> Any:
        from app.buyer.spells import quoted, spell

        rules = (await spell(client, slug))["inputs"]
        return await quoted(client, slug, given_inputs(parameters or (), rules))

    def lines(told: Any) -> Iterator[str]:
        for step in told["steps"]:
            what = f"step {step['stepId']:<3} {one_line(step['toolId'], 60):20}"
            yield f"  {what} {whole_sats(step['sats']):>12}  {seconds(step['runtimeMs'])}"
        if told["authorSats"]:
            yield f"  {'the author':29} {whole_sats(told['authorSats']):>12}"
        total, takes = whole_sats(told["totalSats"]), seconds(told["totalRuntimeMs"])
        yield f"It costs {total} (${told['totalCostUsd']:.4f}), and takes {takes}."

    look(url, as_json, ask, lines)


@app.command()
def run(
    slug: Slug,
    parameters: Parameters = None,
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
    as_json: AsJson = False,
) -> None:
    """Cast a spell, and save what its steps make. Exit codes: 0 all was made, 1 some was not, 2
    refused before paying, 4 not paid or not known, 5 no server."""
    wishes = Wishes(url, wallet, max_sats, budget_per_day, as_json, wait)
    purse = purse_of(wishes, session, account, refund_to, key)

    async def work(making: "Making") -> dict[str, Any]:
        rules = (await making.spell(slug))["inputs"]
        typed = given_inputs(parameters or (), rules)
        return await making.cast(slug, typed, refund_to=refund_to, key=key)

    make(wishes, out, work, follow=FOLLOW, purse=purse)


@app.command()
def follow(
    cast_id: CastId,
    url: Url = HERE,
    out: Out = Path("."),
    wallet: ToGoOn = WalletName.SCAN,
    max_sats: MaxSats = MOST_SATS,
    budget_per_day: Budget = None,
    account: ByAccount = False,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a cast that was interrupted; nothing is paid a second time."""
    wishes = Wishes(url, wallet, max_sats, budget_per_day, as_json, wait)

    async def work(making: "Making") -> dict[str, Any]:
        return await making.follow_cast(cast_id.strip())

    make(wishes, out, work, follow=FOLLOW, purse="account" if account else "")


@app.command()
def resume(
    cast_id: CastId,
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
    as_json: AsJson = False,
) -> None:
    """Buy the steps that are missing of a cast that failed, for what those cost."""
    wishes = Wishes(url, wallet, max_sats, budget_per_day, as_json, wait)
    purse = purse_of(wishes, session, account, refund_to, key)

    async def work(making: "Making") -> dict[str, Any]:
        return await making.resume(cast_id.strip(), refund_to=refund_to, key=key)

    make(wishes, out, work, follow=FOLLOW, purse=purse)


@app.command()
def cancel(
    cast_id: CastId,
    url: Url = HERE,
    out: Out = Path("."),
    wallet: ToGoOn = WalletName.SCAN,
    account: ByAccount = False,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a cast: what nobody makes yet is not made, and what it cost comes back."""
    wishes = Wishes(url, wallet, as_json=as_json, wait_s=wait)

    async def work(making: "Making") -> dict[str, Any]:
        return await making.cancel(cast_id.strip())

    purse = "account" if account else ""
    make(wishes, out, work, follow=FOLLOW, purse=purse, code=lambda _: 0)
