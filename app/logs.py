"""The log: one JSON object a line on standard error, of names, ids, counts and outcomes only.

No request text, no invoice, no key and no preimage is ever logged; errors are named by class.
Whoever knows the id of a job may read it, so the log holds the beginning of each id, and no more.
"""

import logging
import re
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

from app import tracing

SHOWN = 12  # digits of an id: enough to find a job by, and far from enough to open one
_LONG = re.compile(f"([0-9a-fA-F]{{{SHOWN}}})[0-9a-fA-F]{{20,}}")


def configure(level: str) -> None:
    """Set the log up for this process."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, format="%(message)s")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            shorten,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def shorten(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Cut every long hexadecimal word but the request's own id: ids, hashes, and what is worse."""
    for name, value in line.items():
        if isinstance(value, str) and name != "request_id":
            line[name] = _LONG.sub(r"\1", value)
    return line


def about(**subjects: str) -> None:
    """Name what the work at hand is about (job, session, request_id): on each line from here on,
    and on the span that is open."""
    structlog.contextvars.bind_contextvars(**subjects)
    tracing.mark(subjects)
