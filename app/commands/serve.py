"""The commands of an operator: serve, worker, migrate, doctor, demo."""

import gc
import json
import sys
from typing import Annotated

import typer

from app.agents.agent import EASY_QUESTION
from app.commands.terminal import database, read_settings, run

app = typer.Typer()


@app.command()
def serve(
    worker: Annotated[bool, typer.Option(help="also keep promises in this process")] = True,
    host: Annotated[
        str | None, typer.Option(help="address to listen on, in place of HOST's")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="port to listen on, in place of PORT's")
    ] = None,
) -> None:
    """Serve HTTP, and keep promises, until Ctrl-C or SIGTERM."""
    gc.disable()  # what is imported stays: to look through it again and again is a slow start
    given = {"HOST": host, "PORT": port}
    settings = read_settings(**{name: each for name, each in given.items() if each is not None})
    with database(settings, meanwhile="app.serving.run") as url:
        from app.serving import run as serving
        from app.telemetry import logs

        logs.configure(settings.log_level)
        run(serving.serve(settings, url, worker=worker))


@app.command()
def worker() -> None:
    """Keep promises without serving HTTP; as many of these as wanted share one Postgres."""
    settings = read_settings()
    with database(settings, shared=True, meanwhile="app.serving.run") as url:
        from app.serving import run as serving
        from app.telemetry import logs

        logs.configure(settings.log_level)
        run(serving.work(settings, url))


@app.command()
def migrate() -> None:
    """Bring the database to the tables of this version."""
    with database(read_settings(), shared=True):
        print("The database is current.")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Say what is wrong with this installation, and how to mend it. Exit code 1 if anything is."""
    from app.commands import doctor as check_up
    from app.commands.findings import is_wrong, show

    findings = check_up.examine()
    if as_json:
        told = [finding.told for finding in findings]
        print(json.dumps({"ok": not is_wrong(findings), "findings": told}))
    else:
        show(findings)
    raise typer.Exit(1 if is_wrong(findings) else 0)


@app.command()
def demo(request: Annotated[str, typer.Argument()] = EASY_QUESTION) -> None:
    """Start everything embedded, buy one job with the stub wallet, and show all of it."""
    settings = read_settings()
    if settings.lnbits_url is not None:
        print("boltwork: the demo pays with the stub rail: unset LNBITS_URL.", file=sys.stderr)
        raise typer.Exit(2)
    with database(settings, meanwhile="app.commands.demonstration") as url:
        from app.commands import demonstration
        from app.telemetry import logs

        logs.configure("error")
        raise typer.Exit(run(demonstration.play(settings, url, request)))
