"""The log: one JSON object a line on standard error, of names, ids, counts and outcomes only.

No request text, no invoice, no key and no preimage is ever logged; errors are named by class.
Whoever knows the id of a job may read it, so the log holds the beginning of its public id, and no
digit of any secret one.
"""

import logging
import re
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, WrappedLogger

from app.telemetry import library_log, tracing
from app.telemetry.folded import Fold
from app.telemetry.log_stream import LogStream
from statemachine.public_id import shown

_LONG = re.compile("[0-9a-fA-F]{32,}")


def configure(level: str) -> None:
    """Set the log up for this process."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    stream = LogStream(sys.stderr)
    library_log.install()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            conceal,
            structlog.processors.add_log_level,
            Fold(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, stream)),
        cache_logger_on_first_use=True,
    )


def conceal(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Put the public id of every long hexadecimal word in its place, but of the request's own id:
    they are ids, hashes, and what is worse."""
    for name, value in line.items():
        if isinstance(value, str) and name != "request_id":
            line[name] = _LONG.sub(lambda found: shown(found[0]), value)
    return line


def about(**subjects: str) -> None:
    """Name what the work at hand is about (job, session, request_id): on each line from here on,
    and on the span that is open."""
    structlog.contextvars.bind_contextvars(**subjects)
    tracing.mark(subjects)
