"""What every command does: read the settings, find the database, run to the end.

Whatever goes wrong is one sentence on standard error, and an exit code.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Coroutine, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from app.settings import Settings


def fail(sentence: str, code: int = 1) -> NoReturn:
    """End the command with a sentence."""
    print(f"boltwork: {sentence}", file=sys.stderr)
    raise typer.Exit(code)


def read_settings(**given: Any) -> "Settings":
    """Return the settings, or end with what is wrong with each of them.

    What is `given`, by the name of its environment variable, takes the place of that.
    """
    from pydantic import ValidationError

    from app.commands import surroundings
    from app.settings import Settings
    from app.settings.problems import of_settings

    try:
        settings, problems = Settings(**given), list(surroundings.troubles(os.environ))
    except ValidationError as error:
        problems = of_settings(error)
    for problem in problems:
        print(f"boltwork: {problem}", file=sys.stderr)
    if problems:
        raise typer.Exit(2)
    return settings


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end."""
    try:
        import uvloop
    except ModuleNotFoundError:
        work.close()  # else Python says that it was never awaited, after what the command says
        raise

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@contextlib.contextmanager
def database(
    settings: "Settings", *, shared: bool = False, meanwhile: str | None = None
) -> Iterator[str]:
    """Yield the URL of a migrated Postgres, as `app.commands.postgres.database` does.

    `meanwhile` is a module that is imported while Postgres starts. That is done in a thread of
    its own: Postgres is to end with the thread that has started it, and that is this one.
    """
    # First of all: a library whose import two threads begin at once may break in both.
    from app.commands import folder, postgres

    importing = threading.Thread(target=_imported, args=(meanwhile,), daemon=True)
    if meanwhile is not None:
        importing.start()
    try:
        folder.check(settings)
        with postgres.database(settings, shared=shared) as url:
            if meanwhile is not None:
                importing.join()
            yield url
    except Exception as error:
        if not _is_a_sentence(error):
            raise
        fail(str(error))


def _imported(module: str) -> None:
    """Import a module ahead of its use; what is wrong with it is said where it is used."""
    with contextlib.suppress(Exception):
        import_module(module)


def _is_a_sentence(error: Exception) -> bool:
    """Say whether an error is for the operator, and tells the mend."""
    from app.commands.folder import NoFolder
    from app.serving.listener import CannotListen
    from db.embedded import EmbeddedPostgresError
    from db.engine import DatabaseAway
    from db.reach import Unfit
    from payments.seal import BadSecret

    ours = EmbeddedPostgresError | NoFolder | CannotListen | DatabaseAway | Unfit | BadSecret
    return isinstance(error, ours)
