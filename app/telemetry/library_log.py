"""What libraries say, as lines of our log: warnings and errors only, and of those no values.

A library may log what a buyer wrote, an address with a key in it, or an exception that quotes a
row: so its own words are cut to one short line, and an exception is its class and where it was.
"""

import asyncio
import logging
import re
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog

SAID = 200  # characters
FRAMES = 8
_QUERY = re.compile(r"(\w+://)(?:[^\s/@]*@)?([^\s?'\"]*)[^\s'\"]*")
_ARGUMENTS = re.compile(r"[(=].*", re.DOTALL)  # procrastinate names a task with all its values

log = structlog.get_logger("boltwork.library")


def install() -> None:
    """Have everything that the process says on its own come out as lines of the log."""
    logging.raiseExceptions = False
    logging.basicConfig(level=logging.WARNING, handlers=[_Handler()], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _crashed
    threading.excepthook = lambda args: _broke("thread_broke", args.exc_value)


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Have what nobody awaited of this loop come out as lines of the log."""
    loop.set_exception_handler(_untaken)


class _Handler(logging.Handler):
    """Makes a record of a library a line of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """See Handler. Whatever level a library gave itself, less than a warning is dropped."""
        if record.levelno < logging.WARNING:
            return
        level = "error" if record.levelno >= logging.ERROR else "warning"
        error = record.exc_info[1] if record.exc_info else None
        said = {"logger": record.name, "said": _cut(record)}
        getattr(log, level)("library", **said, **(_of(error) if error else {}))


def _cut(record: logging.LogRecord) -> str:
    """Return one short line of what a library said, without what addresses and tasks hold."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    plain = tuple(
        type(one).__name__ if isinstance(one, BaseException) else one for one in arguments
    )
    try:
        said = str(record.msg) % plain if plain else str(record.msg)
    except (TypeError, ValueError):
        said = str(record.msg)
    if record.name == "py.warnings":  # the place, its class and words, then the source line
        said = record.getMessage()
    said = _QUERY.sub(r"\1\2", said.strip().split("\n")[0])
    if record.name.startswith("procrastinate"):
        said = _ARGUMENTS.sub("(…)", said)
    return said[:SAID]


def _of(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    where = [f"{'/'.join(Path(x.filename).parts[-2:])}:{x.lineno} {x.name}" for x in frames]
    return {"error": type(error).__name__, "where": where}


def _broke(event: str, error: BaseException | None) -> None:
    if error is not None and not isinstance(error, SystemExit):
        log.error(event, **_of(error))


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        _broke("crashed", error)


def _untaken(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    said = str(context.get("message", ""))[:SAID]
    log.error("task_broke", said=said, **(_of(error) if error else {}))
