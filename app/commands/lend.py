"""The command that lends this machine: it makes what waits at a server, and is paid in sats.

0 it was told to end, 1 the server has no more of this worker, 2 what was typed can't be used, 5 no
server there, 130 it was told to end at once.
"""

import asyncio
import secrets
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.buying import HERE, INTERRUPTED, Url
from app.commands.terminal import fail

if TYPE_CHECKING:
    from app.lender.backends import Asked
    from app.lender.display import Shows
    from app.lender.keeping import Kept
    from app.lender.server import Server

app = typer.Typer()
GONE = "Move {path} away, and start with --to: it registers a new worker then."


@app.command()
def lend(
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
    state: Annotated[Path | None, typer.Option(help="the file that keeps the worker")] = None,
) -> None:
    """Lend this machine to a running instance, and be paid for what it makes."""
    from app.lender.backends import Asked

    asked = Asked(backend, model or [], backend_key, most_side, at_once)
    lent = _Lent(url.rstrip("/"), to, name, asked, vram_gb, min_sats, items, state)
    raise typer.Exit(asyncio.run(_interruptible(lent)))


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
        from app.buyer.exchange import BadAddress, Lost, shown
        from app.lender import keeping
        from app.lender.backends import NoBackend
        from app.lender.server import Refused

        try:
            path = self.state or keeping.default_path()
            async with AsyncExitStack() as stack:
                stack.enter_context(keeping.held(path))
                sums = await self._lend(path, stack)
            for line in sums:
                print(line, flush=True)
            return 0
        except (NoBackend, BadAddress, keeping.Unkept) as wrong:
            fail(str(wrong), 2)
        except Refused as refused:
            more = f" {GONE.format(path=path)}" if refused.code == "worker_unknown" else ""
            fail(f"{shown(self.url)}: {refused.sentence}{more}")
        except Lost as lost:
            fail(f"There is no answer from {shown(self.url)}: {lost.reason}.", 5)

    async def _lend(self, path: Path, stack: AsyncExitStack) -> list[str]:
        from rich.console import Console

        from app.buyer.exchange import Exchange
        from app.lender import keeping
        from app.lender.backends import backend_of
        from app.lender.display import shown_on
        from app.lender.lending import Lender
        from app.lender.server import TIMEOUT_S, Machine, Server

        console = Console(stderr=True, highlight=False, emoji=False)
        shows = stack.enter_context(shown_on(console))

        def hears(what: str, status: int) -> None:
            shows.say(f"The backend: {what}{f' ({status})' if status else ''}.")

        kept = keeping.read(path, self.url)
        self._check_destination(is_new=kept is None)
        made = await backend_of(self.backend, hears)
        stack.push_async_callback(made.executor.close)
        for line in made.said:
            shows.say(line)
        most_side = self.backend.most_side
        machine = Machine(made.models, most_side**2, self.vram_gb, self.min_sats)
        server = Server(Exchange(self.url, TIMEOUT_S))
        stack.push_async_callback(server.close)
        await self._known(server, kept, path, shows)
        lender = Lender(
            server, made.executor, machine, shows, at_once=self.backend.at_once,
            most_items=self.items,
        )  # fmt: skip
        self.end = lender.end
        await lender.run()
        return (await server.me()).sums

    async def _known(
        self, server: "Server", kept: "Kept | None", path: Path, shows: "Shows"
    ) -> None:
        """Be the worker that is known at the server, or a new one. Raises Refused, Lost."""
        from app.buyer.exchange import shown
        from app.lender import keeping
        from app.lender.keeping import Kept
        from app.lender.server import Refused

        if kept is not None and kept.token:
            server.token = kept.token
            await self._back(server, kept, shows)
            return
        if kept is None:
            kept = Kept(key=secrets.token_hex(32), name=self.name, to=self.to)
            keeping.write(path, self.url, kept)  # first: what it answers may never be heard
        try:
            worker_id, token = await server.register(kept.name, kept.to, kept.key)
        except Refused:
            keeping.forget(path, self.url)
            raise
        keeping.write(path, self.url, Kept(worker_id, token))
        at = shown(self.url)
        shows.say(f"Worker {worker_id[:8]} is registered at {at}; {path} keeps its token.")
        shows.say(f"Its pay goes to {kept.to}.")

    def _check_destination(self, *, is_new: bool) -> None:
        """End where the pay could go nowhere."""
        from payments.lnurl import BadDestination, parse

        if is_new and not self.to:
            fail("Say with --to where the pay goes: a Lightning address, or an LNURL.", 2)
        if self.to and isinstance(bad := parse(self.to, allow_loopback=True), BadDestination):
            fail(f"--to: {bad.sentence}", 2)

    async def _back(self, server: "Server", kept: "Kept", shows: "Shows") -> None:
        """Be given items again, and paid where that was said anew. Waits for a server that is
        away: who is started with the machine may be there before its network is."""
        from app.buyer.exchange import shown
        from app.lender.patience import patiently

        fields = {"state": "online"}
        standing = await patiently(server.me, shows.say)
        if self.to and self.to != standing.pay_to:
            fields["payTo"] = self.to
        standing = await patiently(lambda: server.change(**fields), shows.say)
        shows.say(f"Worker {kept.worker_id[:8]} is back at {shown(self.url)}.")
        shows.say(f"Its pay goes to {standing.pay_to}.")
        if standing.pays_next:
            shows.say(f"Later it goes to {standing.pays_next}.")
        for payout in standing.stuck:
            shows.say(f"Not sent yet: {payout} Another destination can be named with --to.")


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
