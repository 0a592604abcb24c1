"""What the commands of a buyer share: how something is to be bought, with which wallet, and how the
command ends: by an exit code for scripts, and a sentence with how to go on.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from app.buyer.spending import MOST_SATS, Spending, Unkept
from app.commands.surroundings import troubles
from app.plain_text import one_line

if TYPE_CHECKING:
    from app.buyer.account import Account
    from app.buyer.client import Client
    from app.buyer.display import Display
    from app.buyer.payer import Payer
    from app.buyer.session import Session
    from app.buyer.wallets.wallet import Wallet

INTERRUPTED = 130
KEY = "BOLTWORK_API_KEY"
SESSION_HAS_ITS_OWN = (
    "--refund-to can't be given with --session: what is not needed stays on the session's balance,"
    " and what is left at its end goes to the destination that was named when it was opened, or"
    " closed."
)


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
AsJson = Annotated[
    bool, typer.Option("--json", help="print one JSON object; progress goes to stderr")
]
BySession = Annotated[
    bool, typer.Option("--session", help="a session pays, by its BOLTWORK_MACAROON")
]
ByAccount = Annotated[
    bool, typer.Option("--account", help="an account pays, by its BOLTWORK_API_KEY")
]
Wait = Annotated[int | None, typer.Option(min=0, help="seconds after which to stop waiting")]


@dataclass(frozen=True)
class Wishes:
    """How something is to be bought."""

    url: str
    wallet: WalletName = WalletName.AUTO
    max_sats: int = MOST_SATS
    budget_sats: int | None = None
    as_json: bool = False
    wait_s: int | None = None


@dataclass
class Parts:
    """What a purchase is made with; whoever makes one says its id here, once it has one."""

    client: "Client"
    payer: "Payer"
    display: "Display"
    wishes: Wishes
    changed: Callable[[Mapping[str, Any]], None] | None = None  # is shown each change
    name: str = ""


class Bought:
    """One purchase by a command, from its parts to its exit code.

    `work` makes it, and `code` says the exit code of what came of it; `follow` is the command by
    which one that was interrupted is gone on with, before its id.
    """

    def __init__(
        self,
        wishes: Wishes,
        work: Callable[[Parts], Awaitable[Any]],
        code: Callable[[Any], int],
        *,
        follow: str = "boltwork watch",
        lines: bool = False,
    ) -> None:
        self._wishes, self._work, self._code, self._lines = wishes, work, code, lines
        self.follow = follow
        self._name = ""

    @property
    def lines(self) -> bool:
        """Whether each change is printed as a line of JSON."""
        return self._lines

    @property
    def wishes(self) -> Wishes:
        """How it is bought."""
        return self._wishes

    @property
    def name(self) -> str:
        """The id of what is being bought; empty before it has one."""
        return self._name

    async def run(self) -> tuple[int, Any, str]:
        """Return the exit code, what was bought, and what went wrong."""
        from app.buyer.client import Client
        from app.buyer.exchange import BadAddress
        from app.buyer.failures import Away, Refused
        from app.buyer.payer import Exit, Stop
        from app.buyer.purchase import code_of_refusal

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
                    return self._code(done), done, ""
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

        payer = Payer(wallet, Spending(limit_sats=self._wishes.budget_sats))
        shows = _print_line if self._lines else None
        parts = Parts(client, payer, display, self._wishes, shows)
        try:
            return await self._work(parts)
        finally:
            self._name = parts.name

    def _display(self) -> "Display":
        from rich.console import Console

        from app.buyer.display import Display

        as_json = self._wishes.as_json
        console = Console(stderr=True, quiet=self._lines, highlight=False, emoji=False)
        out = None if as_json else Console(highlight=False, emoji=False)
        return Display(console, drafts=not as_json, out=out)


def _print_line(told: Mapping[str, Any]) -> None:
    print(json.dumps(told), flush=True)


def run(bought: Bought) -> None:
    """Run a purchase to its end, and end the command."""
    code, done, trouble = asyncio.run(_interruptible(bought))
    if done is not None and bought.wishes.as_json and not bought.lines:
        print(json.dumps(done))
    if not trouble:
        raise typer.Exit(code)
    end(bought.wishes, code, trouble, bought.name, bought.follow)


async def _interruptible(bought: Bought) -> tuple[int, Any, str]:
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


def end(
    wishes: Wishes, code: int, trouble: str, name: str = "", how: str = "boltwork watch"
) -> NoReturn:
    """End the command with a sentence, and how to go on where there is something to go on with."""
    follow = f" Follow it: {how} {name}" if name and how not in trouble else ""
    print(f"boltwork: {one_line(trouble, 2_000)}{follow}", file=sys.stderr)
    if wishes.as_json:
        told = {"error": trouble, "exitCode": int(code)}
        print(json.dumps(told | ({"jobId": name} if name else {})))
    raise typer.Exit(code)


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
    from app.buyer.failures import Refused

    try:
        await client.call("GET", "/api/dev/stub/invoice")
    except Refused as refused:
        return refused.status == 405  # it is there, and takes POST
    return False


def account_of(client: "Client") -> "Account":
    """Return the account that BOLTWORK_API_KEY opens."""
    from app.buyer.account import Account, BadKey
    from app.buyer.payer import Exit, Stop

    key = os.environ.get(KEY, "").strip()
    if not key:
        raise Stop(Exit.REFUSED, f"--account needs an API key of the account in {KEY}.")
    try:
        return Account(client, key)
    except BadKey as bad:
        raise Stop(Exit.REFUSED, f"{KEY}: {bad}.") from bad


def session_of(client: "Client") -> "Session":
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
