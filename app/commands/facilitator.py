"""The command that serves the stub facilitator: for trying x402 out, never in production."""

from typing import Annotated

import typer

from app.commands.terminal import fail, read_settings, run

app = typer.Typer()


@app.command(name="stub-facilitator")
def stub_facilitator(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port to listen on")] = 8403,
) -> None:
    """Serve a facilitator of x402 that moves no real money, until Ctrl-C or SIGTERM."""
    settings = read_settings()
    from app.settings import Environment

    if settings.env is Environment.PRODUCTION:
        fail("The stub facilitator moves no real money: it is not for BOLTWORK_ENV=production.", 2)
    from app.commands import folder
    from app.serving import facilitator
    from app.serving.listener import CannotListen
    from app.telemetry import logs

    logs.configure(settings.log_level)
    try:
        folder.check(settings)
        run(facilitator.serve(settings, host, port))
    except folder.NoFolder as error:
        fail(str(error))
    except CannotListen as error:
        fail(f"can't listen there ({error.reason}). Choose another --host or --port.")
