"""Traces, for an operator who names a collector (OTEL_EXPORTER_OTLP_ENDPOINT): what is done for a
request or a promise, and how long each call to the outside took.

The packages for it are imported only then. Spans hold names, ids and outcomes, like the log; those
of one job's promises are one trace, in whichever process each was kept.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

from pricing.loopback import is_here
from statemachine.public_id import shown

FLUSH_S = 5
NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")

_OFF: AbstractContextManager[Any] = nullcontext()


class _Tracing:
    """What this process traces with, once an operator has asked for it."""

    def __init__(self) -> None:
        self.provider: Any = None
        self.tracer: Any = None
        self.api: Any = None


_on = _Tracing()


def is_installed() -> bool:
    """Say whether the packages are there that traces need."""
    try:
        return all(find_spec(name) is not None for name in NEEDED)
    except ModuleNotFoundError:
        return False


def configure(endpoint: str | None) -> None:
    """Send traces to this collector from now on; without one, do nothing."""
    if endpoint is None:
        return
    import requests
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    session = requests.Session()
    session.trust_env = not is_here(endpoint)
    traces_at = f"{endpoint.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=traces_at, session=session)
    # Not the provider of the whole process: the SDKs of agents would tell it what was asked.
    provider = TracerProvider(resource=Resource.create({"service.name": "boltwork"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _on.provider, _on.api, _on.tracer = provider, trace, provider.get_tracer("boltwork")


def close() -> None:
    """Send what was not sent yet, or give it up after a moment. Blocks."""
    provider, _on.provider, _on.tracer = _on.provider, None, None
    if provider is not None:
        provider.force_flush(FLUSH_S * 1000)
        provider.shutdown()


def span(name: str, **attributes: str | int) -> AbstractContextManager[Any]:
    """Open a span below the one that is open; it is yielded, or None where nothing is traced."""
    return _OFF if _on.tracer is None else _opened(name, None, attributes)


def span_of(owner_id: str, name: str, **attributes: str | int) -> AbstractContextManager[Any]:
    """Open a span in the trace of a job or a session."""
    return _OFF if _on.tracer is None else _opened(name, owner_id, attributes)


@contextmanager
def _opened(name: str, owner_id: str | None, attributes: Mapping[str, Any]) -> Iterator[Any]:
    context = None
    if owner_id is not None:
        context = _on.api.set_span_in_context(_on.api.NonRecordingSpan(_context_of(owner_id)))
    named = {f"boltwork.{key}": value for key, value in attributes.items()}
    opened = _on.tracer.start_as_current_span(
        name,
        context=context,
        attributes=named,
        record_exception=False,  # its message may quote what somebody wrote
        set_status_on_exception=False,
    )
    with opened as current:
        try:
            yield current
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(_on.api.StatusCode.ERROR)
            raise


def mark(subjects: Mapping[str, str]) -> None:
    """Say what the open span is about, and where the job's own trace is."""
    if _on.tracer is None:
        return
    current = _on.api.get_current_span()
    for name, value in subjects.items():
        is_id = name != "request_id"
        current.set_attribute(f"boltwork.{name}", shown(value) if is_id else value)
        if is_id and current.is_recording():
            current.add_link(_context_of(value))


def _context_of(owner_id: str) -> Any:
    """Return the trace of a job or a session: found by its id, and telling nobody the id."""
    digest = hashlib.sha256(f"boltwork trace {owner_id}".encode()).digest()
    return _on.api.SpanContext(
        trace_id=int.from_bytes(digest[:16]),
        span_id=int.from_bytes(digest[16:24]),
        is_remote=True,
        trace_flags=_on.api.TraceFlags(_on.api.TraceFlags.SAMPLED),
    )
