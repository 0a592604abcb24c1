"""The commands of a buyer: ask, and watch. The result alone is on standard output; how it goes on
is for a person, on standard error; and an exit code is for scripts:

0 complete, 1 failed, 2 refused before paying, 3 rejected by the agent, 4 a payment that could not
be made or that nobody knows of, 5 no server there, 130 interrupted.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from app.buyer.spending import MOST_SATS, Spending, Unkept
from app.commands.surroundings import troubles
from app.plain_text import one_line

if TYPE_CHECKING:
    from app.buyer.client import Client
    from app.buyer.display import Display
    from app.buyer.purchase import Purchase
    from app.buyer.session import Session
    from app.buyer.wallets.wallet import Wallet

INTERRUPTED = 130
MOST_STDIN_BYTES = 262_144
SESSION_HAS_ITS_OWN = (
    "--refund-to can't be given with --session: what is not needed stays on the session's balance,"
    " and what is left at its end goes to the destination that was named when it was opened, or"
    " closed."
)

app = typer.Typer()


class WalletName(StrEnum):
    """What pays."""

    AUTO = "auto"  # what there are settings for, else the stub's where there is one
    STUB = "stub"
    LNBITS = "lnbits"
    NWC = "nwc"
    SCAN = "scan"


Url = Annotated[str, typer.Option(envvar="BOLTWORK_URL", help="the instance")]
HERE = "http://127.0.0.1:8402"
Wallets = Annotated[
    WalletName,
    typer.Option(
        "--wallet",
        help="lnbits (BUYER_LNBITS_URL, BUYER_LNBITS_KEY), nwc (BUYER_NWC), stub, scan (a QR"
        " code), or auto: the first of these that there is",
    ),
]
MaxSats = Annotated[
    int, typer.Option(min=1, max=100_000_000, help="most that all of it may cost, in sats")
]
Budget = Annotated[
    int | None,
    typer.Option(
        "--budget-per-day",
        envvar="BUYER_SATS_PER_DAY",
        min=0,
        help="most that is spent on one day (UTC), by all runs, in sats",
    ),
]
Wait = Annotated[int | None, typer.Option(min=0, help="seconds after which to stop waiting")]


@dataclass(frozen=True)
class _Wishes:
    """How something is to be bought."""

    url: str
    wallet: WalletName = WalletName.AUTO
    max_sats: int = MOST_SATS
    budget_sats: int | None = None
    as_json: bool = False
    wait_s: int | None = None


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
    session: Annotated[
        bool, typer.Option("--session", help="a session pays, by its BOLTWORK_MACAROON")
    ] = False,
    l402: Annotated[bool, typer.Option("--l402", help="buy it by the call, with one payment")] = (
        False
    ),
    wait: Wait = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what it may cost, and buy nothing")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print one JSON object; progress goes to stderr")
    ] = False,
) -> None:
    """Buy a job of a running instance. Exit codes: 0 complete, 1 failed, 2 refused before paying,
    3 rejected by the agent, 4 not paid or not known, 5 no server."""
    wishes = _Wishes(url, wallet, max_sats, budget_per_day, as_json, wait)
    text = _text(wishes, " ".join(request))
    if session and l402:
        _end(wishes, 2, "Choose one of --session and --l402.", "")
    if session and refund_to is not None:
        _end(wishes, 2, SESSION_HAS_ITS_OWN, "")

    async def work(purchase: "Purchase", client: "Client") -> Any:
        from app.buyer.display import estimate_in_words

        if dry_run:
            told = await purchase.price(text)
            if not as_json:
                print(estimate_in_words(told))
            return {**told, "state": "complete"}
        if session:
            return await purchase.buy_on_session(_session(client), text)
        if l402:
            return await purchase.buy_by_call(text, refund_to)
        return await purchase.buy(text, refund_to)

    _run(_Bought(wishes, work))


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
    wishes = _Wishes(url, chosen, max_sats, budget_per_day, as_json, wait)

    async def work(purchase: "Purchase", _: "Client") -> Any:
        return await purchase.go_on(job.strip())

    _run(_Bought(wishes, work, lines=as_json))


class _Bought:
    """One purchase by a command, from its parts to its exit code."""

    def __init__(self, wishes: _Wishes, work: Any, *, lines: bool = False) -> None:
        self._wishes, self._work, self._lines = wishes, work, lines
        self._name = ""

    @property
    def lines(self) -> bool:
        """Whether each change is printed as a line of JSON."""
        return self._lines

    @property
    def wishes(self) -> _Wishes:
        """How it is bought."""
        return self._wishes

    @property
    def name(self) -> str:
        """The id of what is being bought; empty before it has one."""
        return self._name

    async def run(self) -> tuple[int, Any, str]:
        """Return the exit code, what was bought, and what went wrong."""
        from app.buyer.client import Away, Client, Refused
        from app.buyer.exchange import BadAddress
        from app.buyer.payer import Exit, Stop
        from app.buyer.purchase import code_of, code_of_refusal

        for trouble in troubles(os.environ):
            return Exit.REFUSED, None, trouble
        try:
            client = Client(self._wishes.url)
        except BadAddress as bad:
            return Exit.REFUSED, None, f"{bad}."
        async with client:
            try:
                display = self._display()
                wallet = await _wallet(self._wishes.wallet, client, display)
                try:
                    done = await self._buy(client, display, wallet)
                    return code_of(done["state"]), done, ""
                finally:
                    await wallet.close()
            except Stop as stop:
                return stop.code, None, stop.sentence
            except Unkept as unkept:
                return Exit.REFUSED, None, str(unkept)
            except Refused as refused:
                sentence = f"{refused} {refused.next_step}".strip()
                return code_of_refusal(refused), None, sentence
            except Away as away:
                return Exit.AWAY, None, f"{away}."

    async def _buy(self, client: "Client", display: "Display", wallet: "Wallet") -> Any:
        from app.buyer.payer import Payer
        from app.buyer.purchase import Purchase

        payer = Payer(wallet, Spending(limit_sats=self._wishes.budget_sats))
        purchase = Purchase(
            client,
            payer,
            display,
            max_sats=self._wishes.max_sats,
            wait_s=self._wishes.wait_s,
            changed=_print_line if self._lines else None,
        )
        try:
            return await self._work(purchase, client)
        finally:
            self._name = purchase.job_id

    def _display(self) -> "Display":
        from rich.console import Console

        from app.buyer.display import Display

        as_json = self._wishes.as_json
        console = Console(stderr=True, quiet=self._lines, highlight=False, emoji=False)
        out = None if as_json else Console(highlight=False, emoji=False)
        return Display(console, drafts=not as_json, out=out)


def _print_line(told: Mapping[str, Any]) -> None:
    print(json.dumps(told), flush=True)


def _run(bought: _Bought) -> None:
    """Run a purchase to its end, and end the command."""
    code, done, trouble = asyncio.run(_interruptible(bought))
    if done is not None and bought.wishes.as_json and not bought.lines:
        print(json.dumps(done))
    if not trouble:
        raise typer.Exit(code)
    _end(bought.wishes, code, trouble, bought.name)


async def _interruptible(bought: _Bought) -> tuple[int, Any, str]:
    """Run a purchase. Once interrupted it ends so, whatever the request under way then says.

    That is so too where a shell had the signal ignored, as it does for what it starts behind it:
    whoever sends it means this process.
    """
    running, interrupted = asyncio.ensure_future(bought.run()), False
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        loop.remove_signal_handler(signal.SIGINT)  # the next one ends it at once
        running.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    await asyncio.wait({running})
    if interrupted:
        if not running.cancelled():
            running.exception()  # nobody asks for it
        return INTERRUPTED, None, "Interrupted."
    return running.result()


def _end(wishes: _Wishes, code: int, trouble: str, name: str) -> NoReturn:
    """End the command with a sentence, and how to go on where there is something to go on with."""
    follow = (
        f" Follow it: boltwork watch {name}" if name and "boltwork watch" not in trouble else ""
    )
    print(f"boltwork: {one_line(trouble, 2_000)}{follow}", file=sys.stderr)
    if wishes.as_json:
        told = {"error": trouble, "exitCode": int(code)}
        print(json.dumps(told | ({"jobId": name} if name else {})))
    raise typer.Exit(code)


def _text(wishes: _Wishes, request: str) -> str:
    """Return what is asked for, of the arguments or of standard input, bounded."""
    if request != "-":
        return request
    try:
        return sys.stdin.buffer.read(MOST_STDIN_BYTES).decode("utf-8", "replace")
    except KeyboardInterrupt:
        _end(wishes, INTERRUPTED, "Interrupted.", "")


def _session(client: "Client") -> "Session":
    """Return the session that BOLTWORK_MACAROON opens. It is in no argument: those are public."""
    from app.buyer.payer import Exit, Stop
    from app.buyer.session import BadMacaroon, Session

    macaroon = os.environ.get("BOLTWORK_MACAROON", "").strip()
    if not macaroon:
        raise Stop(Exit.REFUSED, "--session needs the session's macaroon in BOLTWORK_MACAROON.")
    try:
        return Session(client, macaroon)
    except BadMacaroon as bad:
        raise Stop(Exit.REFUSED, f"BOLTWORK_MACAROON: {bad}") from bad


async def _wallet(name: WalletName, client: "Client", display: "Display") -> "Wallet":
    """Return the wallet that pays. Raises Stop when there are no settings for it."""
    from app.buyer.payer import Exit, Stop
    from app.buyer.wallets.hand import HandWallet
    from app.buyer.wallets.stub import StubWallet

    nwc, url, key = (
        os.environ.get(name, "").strip()
        for name in ("BUYER_NWC", "BUYER_LNBITS_URL", "BUYER_LNBITS_KEY")
    )
    if name is WalletName.AUTO:
        if url or nwc:
            name = WalletName.LNBITS if url else WalletName.NWC
        else:
            name = WalletName.STUB if await _has_stub(client) else WalletName.SCAN
    try:
        match name:
            case WalletName.LNBITS:
                from app.buyer.wallets.lnbits import LnbitsWallet

                if not (url and key):
                    raise ValueError("paying by LNbits needs BUYER_LNBITS_URL and BUYER_LNBITS_KEY")
                return LnbitsWallet(url, key)
            case WalletName.NWC:
                from app.buyer.wallets.nwc import NwcWallet

                if not nwc:
                    raise ValueError("paying by NWC needs BUYER_NWC")
                return NwcWallet(nwc)
            case WalletName.STUB:
                return StubWallet(client)
            case _:
                return HandWallet(display.invoice)
    except ValueError as wrong:
        raise Stop(Exit.REFUSED, f"{wrong}.") from wrong


async def _has_stub(client: "Client") -> bool:
    """Say whether the server's money is play money: whether it has the stub wallet's doors."""
    from app.buyer.client import Refused

    try:
        await client.call("GET", "/api/dev/stub/invoice")
    except Refused as refused:
        return refused.status == 405  # it is there, and takes POST
    return False
