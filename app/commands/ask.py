"""The commands of a buyer: ask, and watch. The result alone is on standard output; how it goes on
is for a person, on standard error; and an exit code is for scripts:

0 complete, 1 failed, 2 refused before paying, 3 rejected by the agent, 4 a payment that could not
be made or that nobody knows of, 5 no server there, 130 interrupted.
"""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.buyer.spending import MOST_SATS
from app.commands.buying import (
    HERE,
    INTERRUPTED,
    SESSION_HAS_ITS_OWN,
    AsJson,
    Bought,
    Budget,
    BySession,
    MaxSats,
    Parts,
    Url,
    Wait,
    WalletName,
    Wallets,
    Wishes,
    end,
    run,
    session_of,
)

if TYPE_CHECKING:
    from app.buyer.client import Client
    from app.buyer.purchase import Purchase

MOST_STDIN_BYTES = 262_144

app = typer.Typer()


@app.command()
def ask(
    request: Annotated[
        list[str], typer.Argument(help="what you want done, or - to read it from standard input")
    ],
    url: Url = HERE,
    wallet: Wallets = WalletName.AUTO,
    max_sats: MaxSats = MOST_SATS,
    budget_per_day: Budget = None,
    refund_to: Annotated[
        str | None,
        typer.Option(
            help="a Lightning address or LNURL for what is owed back; not with --session, which"
            " keeps the one it was opened with"
        ),
    ] = None,
    session: BySession = False,
    l402: Annotated[bool, typer.Option("--l402", help="buy it by the call, with one payment")] = (
        False
    ),
    wait: Wait = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what it may cost, and buy nothing")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Buy a job of a running instance. Exit codes: 0 complete, 1 failed, 2 refused before paying,
    3 rejected by the agent, 4 not paid or not known, 5 no server."""
    wishes = Wishes(url, wallet, max_sats, budget_per_day, as_json, wait)
    text = _text(wishes, " ".join(request))
    if session and l402:
        end(wishes, 2, "Choose one of --session and --l402.", "")
    if session and refund_to is not None:
        end(wishes, 2, SESSION_HAS_ITS_OWN, "")

    async def work(purchase: "Purchase", client: "Client") -> Any:
        from app.buyer.display import estimate_in_words

        if dry_run:
            told = await purchase.price(text)
            if not as_json:
                print(estimate_in_words(told))
            return {**told, "state": "complete"}
        if session:
            return await purchase.buy_on_session(session_of(client), text)
        if l402:
            return await purchase.buy_by_call(text, refund_to)
        return await purchase.buy(text, refund_to)

    run(_purchase(wishes, work))


@app.command()
def watch(
    job: Annotated[str, typer.Argument(help="the job's id, as `boltwork ask` shows it")],
    url: Url = HERE,
    wallet: Annotated[
        WalletName | None,
        typer.Option("--wallet", help="also pay what the job still asks for, as ask does"),
    ] = None,
    max_sats: MaxSats = MOST_SATS,
    budget_per_day: Budget = None,
    wait: Wait = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print a line of JSON at each change")
    ] = False,
) -> None:
    """Follow a job to its end; with --wallet, go on with a purchase that was interrupted."""
    chosen = wallet or WalletName.SCAN
    wishes = Wishes(url, chosen, max_sats, budget_per_day, as_json, wait)

    async def work(purchase: "Purchase", _: "Client") -> Any:
        return await purchase.go_on(job.strip())

    run(_purchase(wishes, work, lines=as_json))


def _purchase(wishes: Wishes, work: Any, *, lines: bool = False) -> Bought:
    """Return one purchase of a job's, as `work` makes it."""

    async def make(parts: Parts) -> Any:
        from app.buyer.purchase import Purchase

        purchase = Purchase(
            parts.client,
            parts.payer,
            parts.display,
            max_sats=wishes.max_sats,
            wait_s=wishes.wait_s,
            changed=parts.changed,
        )
        try:
            return await work(purchase, parts.client)
        finally:
            parts.name = purchase.job_id

    return Bought(wishes, make, _code_of, lines=lines)


def _code_of(done: Any) -> int:
    from app.buyer.purchase import code_of

    return code_of(done["state"])


def _text(wishes: Wishes, request: str) -> str:
    """Return what is asked for, of the arguments or of standard input, bounded."""
    if request != "-":
        return request
    try:
        return sys.stdin.buffer.read(MOST_STDIN_BYTES).decode("utf-8", "replace")
    except KeyboardInterrupt:
        end(wishes, INTERRUPTED, "Interrupted.", "")
