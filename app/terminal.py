"""What every command does: read the settings, find the database, run to the end.

Whatever goes wrong is one sentence on standard error, and an exit code.
"""

import asyncio
import contextlib
import sys
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from app.settings import Settings


def fail(sentence: str, code: int = 1) -> NoReturn:
    """End the command with a sentence."""
    print(f"boltwork: {sentence}", file=sys.stderr)
    raise typer.Exit(code)


def read_settings() -> "Settings":
    """Return the settings, or end with what is wrong with each of them."""
    from pydantic import ValidationError

    from app.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        for problem in settings_problems(error):
            print(f"boltwork: {problem}", file=sys.stderr)
        raise typer.Exit(2) from None


def settings_problems(error: Any) -> list[str]:
    """Return a sentence for each setting that is wrong. No value is quoted."""
    sentences = []
    for problem in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in problem["loc"])
        sentences.append(f"{where} {problem['msg']}".strip().replace("  ", " "))
    return sentences


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@contextlib.contextmanager
def database(settings: "Settings", *, shared: bool = False) -> Iterator[str]:
    """Yield the URL of a migrated Postgres, as `app.serving.database` does."""
    from app import serving
    from db.embedded import EmbeddedPostgresError
    from db.engine import DatabaseAway
    from payments.seal import BadSecret

    try:
        with serving.database(settings, shared=shared) as url:
            yield url
    except (EmbeddedPostgresError, serving.CannotListen, DatabaseAway, BadSecret) as error:
        fail(str(error))
