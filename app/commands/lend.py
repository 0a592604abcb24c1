"""The command that lends this machine: it makes what waits at a server, and is paid in sats.

0 it was told to end, 1 the server has no more of this worker, 2 what was typed can't be used, 5 no
server there.
"""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.buying import HERE, Url
from app.commands.terminal import fail, run

if TYPE_CHECKING:
    from app.lender.server import Server

app = typer.Typer()


@app.command()
def lend(
    url: Url = HERE,
    to: Annotated[
        str, typer.Option(help="a Lightning address or LNURL: where the pay goes; once is enough")
    ] = "",
    name: Annotated[str, typer.Option(help="what this machine is called")] = "boltwork lend",
    backend: Annotated[
        str, typer.Option(help="scene (the embedded painter), or openai:URL")
    ] = "scene",
    model: Annotated[
        list[str] | None,
        typer.Option(help="what is made, as the server names it; NAME=ITS-NAME-AT-THE-BACKEND"),
    ] = None,
    backend_key: Annotated[
        str, typer.Option(envvar="BOLTWORK_BACKEND_KEY", help="the key of that backend")
    ] = "",
    most_side: Annotated[
        int, typer.Option(min=64, max=8192, help="the largest side of a picture, in pixels")
    ] = 2048,
    vram_gb: Annotated[int, typer.Option(min=0, help="VRAM of its graphics card, in GB")] = 0,
    items: Annotated[int, typer.Option(min=0, help="end after so many; 0: go on")] = 0,
    state: Annotated[Path | None, typer.Option(help="the file that keeps the worker")] = None,
) -> None:
    """Lend this machine to a running instance, and be paid for what it makes."""
    size = most_side, vram_gb
    asked = _Asked(url, to, name, backend, model or [], backend_key, size, items, state)
    run(asked.work())


class _Asked:
    """What was typed."""

    def __init__(
        self, url: str, to: str, name: str, backend: str, models: list[str], key: str,
        size: tuple[int, int], items: int, state: Path | None,
    ) -> None:  # fmt: skip
        self.url, self.to, self.name = url.rstrip("/"), to, name
        self.backend, self.models, self.key = backend, models, key
        self.size, self.items, self.file = size, items, state

    async def work(self) -> None:
        """Lend the machine until it is told to end."""
        from app.buyer.exchange import BadAddress, Exchange, Lost
        from app.lender.backends import NoBackend, backend_of
        from app.lender.keeping import Unkept
        from app.lender.lending import Lender
        from app.lender.server import TIMEOUT_S, Machine, Refused

        try:
            most_side, vram_gb = self.size
            executor, models = backend_of(self.backend, self.models, self.key, most_side)
            machine = Machine(models, most_side**2, vram_gb)
            server = await self._server(Exchange(self.url, TIMEOUT_S))
            lender = Lender(server, executor, machine, say, most_items=self.items)
            with _told_to_end(lender.end):
                await lender.run()
            summed_up(await server.me())
            await server.close()
            await executor.close()
        except (NoBackend, BadAddress, Unkept) as wrong:
            fail(str(wrong), 2)
        except Refused as refused:
            fail(refused.sentence)
        except Lost as lost:
            fail(f"There is no answer from the server: {lost.reason}.", 5)

    async def _server(self, exchange: Any) -> "Server":
        """Return the server, with the worker that is known there, or with a new one."""
        from app.lender import keeping
        from app.lender.server import Server

        path = self.file or keeping.default_path()
        kept = keeping.read(path, self.url)
        if kept is not None:
            server = Server(exchange, kept.token)
            await server.change(state="online", **({"payTo": self.to} if self.to else {}))
            say(f"Worker {kept.worker_id[:8]} is back at {self.url}.")
            return server
        if not self.to:
            fail("Say with --to where the pay goes: a Lightning address, or an LNURL.", 2)
        server = Server(exchange)
        worker_id, token = await server.register(self.name, self.to)
        keeping.write(path, self.url, keeping.Kept(worker_id, token))
        say(f"Worker {worker_id[:8]} is registered at {self.url}; its token is kept in {path}.")
        return server


def say(line: str) -> None:
    """Tell whoever watches."""
    print(line, file=sys.stderr, flush=True)


def summed_up(me: dict[str, Any]) -> None:
    """Print what the worker has earned, one line an asset."""
    from app.lender.server import shifted

    for asset, unit, places in (("msat", "sats", 3), ("microUsdc", "USDC", 6)):
        each = me.get("earnings", {}).get(asset, {})
        parts = [
            f"{name} {shifted(int(each.get(name, 0)), places)}"
            for name in ("earned", "held", "free", "sending", "paid")
        ]
        if asset == "msat" or each.get("earned"):
            print(f"{unit}: {', '.join(parts)}")


class _told_to_end:
    """Have SIGINT and SIGTERM end the work gently, the first time."""

    def __init__(self, end: Any) -> None:
        self._end = end

    def __enter__(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, self._told, loop, each)

    def _told(self, loop: Any, which: signal.Signals) -> None:
        loop.remove_signal_handler(which)
        self._end()

    def __exit__(self, *_: object) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)
