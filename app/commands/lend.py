"""The command that lends this machine: it makes what waits at a server, and is paid in sats. One
below it has the pay sent.

0 it was told to end, or pay is on its way, 1 the server has no more of this worker, 2 what was
typed can't be used, 5 no server there, 130 it was told to end at once.
"""

import asyncio
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.buying import HERE, INTERRUPTED, Url
from app.commands.terminal import fail

if TYPE_CHECKING:
    from app.lender.backends import Asked
    from app.lender.registering import Place

app = typer.Typer()
GONE = "Move {path} away, and start with --to: it registers a new worker then."
State = Annotated[Path | None, typer.Option(help="the file that keeps the worker")]


@app.callback(invoke_without_command=True)
def lend(
    context: typer.Context,
    url: Url = HERE,
    to: Annotated[
        str, typer.Option(help="a Lightning address or LNURL: where the pay goes; once is enough")
    ] = "",
    name: Annotated[str, typer.Option(help="what this machine is called")] = "boltwork lend",
    backend: Annotated[
        str,
        typer.Option(
            help="what makes things: scene (the embedded painter), comfy:URL, a1111:URL,"
            " openai:URL, or auto: what is found on this machine"
        ),
    ] = "auto",
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="what is made, as the server names it: NAME, or NAME=ITS-NAME-AT-THE-BACKEND (of"
            " ComfyUI: the file of its workflow)"
        ),
    ] = None,
    backend_key: Annotated[
        str,
        typer.Option(
            envvar="BOLTWORK_BACKEND_KEY",
            help="the key of that backend; of a1111 USER:PASSWORD. Better in the environment",
        ),
    ] = "",
    at_once: Annotated[
        int, typer.Option(min=1, max=8, help="how many items are made at the same time")
    ] = 1,
    most_side: Annotated[
        int, typer.Option(min=64, max=8192, help="the largest side of a picture, in pixels")
    ] = 2048,
    vram_gb: Annotated[int, typer.Option(min=0, help="VRAM of its graphics card, in GB")] = 0,
    min_sats: Annotated[
        int, typer.Option(min=0, help="make nothing that pays less than so many sats")
    ] = 0,
    items: Annotated[int, typer.Option(min=0, help="end after so many; 0: go on")] = 0,
    state: State = None,
) -> None:
    """Lend this machine to a running instance, and be paid for what it makes."""
    if context.invoked_subcommand is not None:
        context.obj = url, state
        return
    from app.lender.backends import Asked

    asked = Asked(backend, model or [], backend_key, most_side, at_once)
    lent = _Lent(url.rstrip("/"), to, name, asked, vram_gb, min_sats, items, state)
    raise typer.Exit(asyncio.run(_interruptible(lent)))


@app.command()
def withdraw(
    context: typer.Context,
    sats: Annotated[
        int | None, typer.Option(min=1, max=100_000_000, help="how much; else all that is free")
    ] = None,
    url: Annotated[str | None, typer.Option(help="the instance, where not named before")] = None,
    state: State = None,
) -> None:
    """Have what is free of this machine's pay sent to where it goes."""
    named = context.obj or (HERE, None)
    asyncio.run(_withdraw((url or named[0]).rstrip("/"), state or named[1], sats))


async def _withdraw(url: str, state: Path | None, sats: int | None) -> None:
    from app.buyer.exchange import Exchange, shown
    from app.lender.keeping import Unkept
    from app.lender.patience import patiently
    from app.lender.server import TIMEOUT_S, Server

    with _told(url, state) as at:
        kept = at.kept()
        if kept is None or not kept.token:
            raise Unkept(f"{at.path} knows no worker at {shown(url)}: say with --url which it is.")
        server, name = Server(Exchange(url, TIMEOUT_S), kept.token), secrets.token_hex(32)
        try:
            await server.me()  # where there is no server, nothing is asked of it
            standing = await patiently(lambda: server.withdraw(sats, name), _say)
        finally:
            await server.close()
        print(f"Your pay is on its way to {standing.pay_to}.")
        for line in standing.sums:
            print(line)


def _say(line: str) -> None:
    print(f"boltwork: {line}", file=sys.stderr)


@contextmanager
def _told(url: str, state: Path | None) -> Iterator["Place"]:
    """Yield a server with the file of its worker; where that can't be used, or the server has no
    more of it, or isn't there, end the command with a sentence."""
    from app.buyer.exchange import BadAddress, Lost, shown
    from app.lender import keeping
    from app.lender.backends import NoBackend
    from app.lender.registering import Place
    from app.lender.server import Refused

    try:
        at = Place(url, state or keeping.default_path())
        yield at
    except (NoBackend, BadAddress, keeping.Unkept) as wrong:
        fail(str(wrong), 2)
    except Refused as refused:
        more = f" {GONE.format(path=at.path)}" if refused.code == "worker_unknown" else ""
        fail(f"{shown(url)}: {refused.sentence}{more}")
    except Lost as lost:
        fail(f"There is no answer from {shown(url)}: {lost.reason}.", 5)


@dataclass
class _Lent:
    """What was typed."""

    url: str
    to: str
    name: str
    backend: "Asked"
    vram_gb: int
    min_sats: int
    items: int
    state: Path | None
    end: Callable[[], None] | None = None  # gently, once it has begun

    async def work(self) -> int:
        """Lend the machine until it is told to end."""
        from app.lender import keeping

        with _told(self.url, self.state) as at:
            async with AsyncExitStack() as stack:
                stack.enter_context(keeping.held(at.path))
                sums = await self._lend(at, stack)
            for line in sums:
                print(line, flush=True)
        return 0

    async def _lend(self, at: "Place", stack: AsyncExitStack) -> list[str]:
        from rich.console import Console

        from app.buyer.exchange import Exchange
        from app.lender.backends import backend_of
        from app.lender.display import shown_on
        from app.lender.lending import Lender
        from app.lender.registering import enter
        from app.lender.server import TIMEOUT_S, Machine, Server

        console = Console(stderr=True, highlight=False, emoji=False)
        shows = stack.enter_context(shown_on(console))

        def hears(what: str, status: int) -> None:
            shows.say(f"The backend: {what}{f' ({status})' if status else ''}.")

        self._check_destination(is_new=at.kept() is None)
        made = await backend_of(self.backend, hears)
        stack.push_async_callback(made.executor.close)
        for line in made.said:
            shows.say(line)
        most_side = self.backend.most_side
        machine = Machine(made.models, most_side**2, self.vram_gb, self.min_sats)
        server = Server(Exchange(self.url, TIMEOUT_S))
        stack.push_async_callback(server.close)
        await enter(server, at, self.name, self.to, shows.say)
        lender = Lender(
            server, made.executor, machine, shows, at_once=self.backend.at_once,
            most_items=self.items,
        )  # fmt: skip
        self.end = lender.end
        await lender.run()
        return (await server.me()).sums

    def _check_destination(self, *, is_new: bool) -> None:
        """End where the pay could go nowhere."""
        from payments.lnurl import BadDestination, parse

        if is_new and not self.to:
            fail("Say with --to where the pay goes: a Lightning address, or an LNURL.", 2)
        if self.to and isinstance(bad := parse(self.to, allow_loopback=True), BadDestination):
            fail(f"--to: {bad.sentence}", 2)


async def _interruptible(lent: _Lent) -> int:
    """Lend until a signal, which ends it gently; a second one ends it at once.

    What is held then is not lost: a later start goes on with it.
    """
    running, signals = asyncio.ensure_future(lent.work()), [0]
    loop, both = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)

    def told() -> None:
        signals[0] += 1
        if signals[0] == 1 and lent.end is not None:
            lent.end()
            return
        for each in both:
            loop.remove_signal_handler(each)  # a third one asks nobody
        running.cancel()

    for each in both:
        loop.add_signal_handler(each, told)
    await asyncio.wait({running})
    if running.cancelled():
        print("boltwork: Ended at once. A later start goes on with what was held.", file=sys.stderr)
        return INTERRUPTED
    return running.result()
