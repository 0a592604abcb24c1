"""The command `boltwork`: serve, worker, migrate, doctor, ask, demo; the books beside it."""

import json
import sys
from typing import Annotated

import httpx2
import typer
from rich.console import Console

from app import books_cli, keys_cli, logs, macaroon_cli, serving
from app import doctor as check_up
from app.client import Client, Refused
from app.main import build, make_parts
from app.purchase import Purchase
from app.settings import Settings
from app.terminal import database, read_settings, run

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
app.add_typer(books_cli.app)
app.add_typer(keys_cli.app)
app.add_typer(macaroon_cli.app, name="macaroon")
console = Console(highlight=False)

DEMO_REQUEST = "Say in one sentence what a Lightning invoice is."
Request = Annotated[str, typer.Argument(help="what you want done")]


@app.command()
def serve(
    worker: Annotated[bool, typer.Option(help="also keep promises in this process")] = True,
) -> None:
    """Serve HTTP, and keep promises, until Ctrl-C or SIGTERM."""
    settings = read_settings()
    logs.configure(settings.log_level)
    with database(settings) as url:
        run(serving.serve(settings, url, worker=worker))


@app.command()
def worker() -> None:
    """Keep promises without serving HTTP; as many of these as wanted share one Postgres."""
    settings = read_settings()
    logs.configure(settings.log_level)
    with database(settings, shared=True) as url:
        run(serving.work(settings, url))


@app.command()
def migrate() -> None:
    """Bring the database to the tables of this version."""
    with database(read_settings(), shared=True):
        print("The database is current.")


@app.command()
def doctor() -> None:
    """Say what is wrong with this installation, and how to mend it. Exit code 1 if anything is."""
    settings = read_settings()
    logs.configure("error")
    with database(settings, shared=True) as url:
        findings = run(check_up.examine(settings, url))
    for finding in findings:
        console.print(finding.line, style="green" if finding.well else "red", soft_wrap=True)
    raise typer.Exit(0 if all(finding.well for finding in findings) else 1)


@app.command()
def ask(
    request: Request,
    url: Annotated[str, typer.Option(envvar="BOLTWORK_URL")] = "http://127.0.0.1:8402",
    max_sats: Annotated[int | None, typer.Option(help="most that the work may cost")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the job as JSON")] = False,
) -> None:
    """Buy a job of a running instance. Exit code 0 when it is complete, 1 otherwise."""
    raise typer.Exit(run(_ask(url, request, max_sats, as_json)))


async def _ask(url: str, request: str, max_sats: int | None, as_json: bool) -> int:
    out = Console(stderr=True, highlight=False) if as_json else console
    try:
        async with Client(url) as client:
            job = await Purchase(client, out).buy(request, max_sats)
            job = await client.show(job["jobId"])
    except Refused as refused:
        print(f"boltwork: {refused}", file=sys.stderr)
        return 1
    except httpx2.TransportError as error:
        print(f"boltwork: {url} can't be reached ({type(error).__name__})", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps(job))
    return 0 if job["state"] == "complete" else 1


@app.command()
def demo(request: Annotated[str, typer.Argument()] = DEMO_REQUEST) -> None:
    """Start everything embedded, buy one job with the stub wallet, and show all of it."""
    settings = read_settings()
    logs.configure("error")
    with database(settings) as url:
        raise typer.Exit(run(_demo(settings, url, request)))


async def _demo(settings: Settings, database_url: str, request: str) -> int:
    parts = make_parts(settings, database_url)
    if parts.stub is None:
        print("boltwork: the demo pays with the stub rail: unset LNBITS_URL.", file=sys.stderr)
        return 2
    async with serving.listening(build(parts), "127.0.0.1", 0) as url:
        for line in serving.notes(settings):
            console.print(line)
        return await _ask(url, request, None, False)


def main() -> None:
    """Run the command."""
    app()
