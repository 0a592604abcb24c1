"""The demo at a terminal: a whole server for one job, which the stub wallet buys."""

from rich.console import Console

from app.buyer.client import Client
from app.buyer.display import Display
from app.buyer.payer import Payer
from app.buyer.purchase import Purchase, code_of
from app.buyer.wallets.stub import StubWallet
from app.main import assemble, build
from app.serving import banner
from app.serving import run as serving
from app.settings import Settings


async def play(settings: Settings, database_url: str, request: str) -> int:
    """Buy one job and show all of it; return the exit code."""
    console = Console(highlight=False)
    built = assemble(settings, database_url)
    async with serving.listening(build(built), "127.0.0.1", 0) as url:
        for line in banner.notes(settings):
            console.print(line)
        async with Client(url) as client:
            purchase = Purchase(client, Payer(StubWallet(client)), Display(console))
            return code_of((await purchase.buy(request))["state"])
