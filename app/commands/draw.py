"""The command that buys pictures and films, and saves them in a folder. Their names alone are on
standard output; how it goes on is for a person, on standard error; an exit code is for scripts:

0 all were delivered, 1 some were not, 2 refused before paying, 4 a payment that could not be made
or that nobody knows of, 5 no server there, 130 interrupted.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.buyer.spending import MOST_SATS
from app.commands.buying import (
    HERE,
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
    from app.buyer.batch import Wish

MOST = 500
PAID_FOR = "--session can't be given with --resume: what a session pays for is paid at once."
_SIZE = re.compile("([0-9]{2,4})x([0-9]{2,4})")

app = typer.Typer()


@dataclass(frozen=True)
class Asked:
    """What is to be drawn, as it was typed."""

    text: str
    model: str  # empty: the first that there is
    count: int
    sides: tuple[int, int]
    film: tuple[int, str, str]  # seconds (0: pictures), resolution, shape
    refund_to: str | None

    async def wish(self, parts: Parts) -> "Wish":
        """Return it as the client orders it."""
        from app.buyer.batch import Wish, first_model

        name = self.model or await first_model(parts.client, is_film=bool(self.film[0]))
        seconds, resolution, ratio = self.film
        film, to = (resolution, ratio), self.refund_to
        return Wish(self.text, name, self.count, *self.sides, seconds, *film, refund_to=to)


@app.command()
def draw(
    prompt: Annotated[
        list[str] | None, typer.Argument(help="what is to be seen; several words make one prompt")
    ] = None,
    url: Url = HERE,
    model: Annotated[
        str, typer.Option(help="as GET /api/models names it; the first of those, without one")
    ] = "",
    count: Annotated[int, typer.Option(min=1, max=MOST, help="how many, each another one")] = 1,
    size: Annotated[str, typer.Option(help="of pictures: WIDTHxHEIGHT, in pixels")] = "1024x1024",
    seconds: Annotated[
        int, typer.Option(min=0, max=60, help="makes films of this length, in place of pictures")
    ] = 0,
    resolution: Annotated[str, typer.Option(help="of films: 480p or 720p")] = "720p",
    ratio: Annotated[str, typer.Option(help="of films: their width to their height")] = "16:9",
    out: Annotated[Path, typer.Option(help="the folder that the files are saved in")] = Path("."),
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
    resume: Annotated[
        str, typer.Option(help="go on with a batch that was interrupted, by its id")
    ] = "",
    wait: Wait = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what it costs, and buy nothing")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Buy pictures or films of a running instance, and save them. Exit codes: 0 all delivered,
    1 some were not, 2 refused before paying, 4 not paid or not known, 5 no server."""
    wishes = Wishes(url, wallet, max_sats, budget_per_day, as_json, wait)
    text = " ".join(prompt or ()).strip()
    if bool(text) == bool(resume):
        end(wishes, 2, "Say what is to be seen, or which batch to --resume.")
    if session and (resume or refund_to is not None):
        end(wishes, 2, PAID_FOR if resume else SESSION_HAS_ITS_OWN)
    measured = _SIZE.fullmatch(size)
    if measured is None:
        end(wishes, 2, "--size is WIDTHxHEIGHT in pixels, as in 1024x1024.")

    sides = int(measured[1]), int(measured[2])
    wanted = Asked(text, model, count, sides, (seconds, resolution, ratio), refund_to)

    async def work(parts: Parts) -> Any:
        from app.buyer.drawing import Drawing

        drawing = Drawing(
            parts.client, parts.payer, out, parts.display, max_sats=max_sats, wait_s=wait
        )
        try:
            if resume:
                return await drawing.go_on(resume.strip())
            wish = await wanted.wish(parts)
            if dry_run:
                return await _price(drawing, wish)
            if session:
                return await drawing.draw_on_session(session_of(parts.client), wish)
            return await drawing.draw(wish)
        finally:
            parts.name = drawing.batch_id

    run(Bought(wishes, work, _ended(as_json), follow=f"boltwork draw --out {out} --resume"))


async def _price(drawing: Any, wish: "Wish") -> dict[str, Any]:
    price_sats = await drawing.price(wish)
    return {"priceSats": price_sats, "status": "completed", "items": 0, "files": []}


def _ended(as_json: bool) -> Callable[[Any], int]:
    """Return what prints the names of files, or the price alone, and says the exit code."""

    def code_of(told: Any) -> int:
        from app.buyer import drawing

        if not as_json:
            for line in told["files"] or ([] if told["items"] else [told["priceSats"]]):
                print(line)
        return drawing.code_of(told)

    return code_of
