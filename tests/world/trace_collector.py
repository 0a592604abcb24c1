"""A collector of traces on 127.0.0.1: takes what OTLP's exporter sends, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.serving.run import listening


@dataclass(frozen=True)
class Span:
    """One span as it arrived."""

    name: str
    trace: str
    id: str
    parent: str
    links: list[str]
    attributes: dict[str, Any]
    failed: bool


@dataclass
class Collector:
    """What was sent: as bytes, and read."""

    url: str = ""
    raw: bytes = b""
    spans: list[Span] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: Request) -> Response:
        """POST /v1/traces."""
        body = await request.body()
        sent = ExportTraceServiceRequest.FromString(body)
        async with self.arrived:
            self.raw += body
            for resource in sent.resource_spans:
                for scope in resource.scope_spans:
                    self.spans += [_read(span) for span in scope.spans]
            self.arrived.notify_all()
        done = ExportTraceServiceResponse().SerializeToString()
        return Response(done, media_type="application/x-protobuf")

    def named(self, name: str) -> list[Span]:
        """Return the spans of this name."""
        return [span for span in self.spans if span.name == name]


def _read(span: Any) -> Span:
    attributes = {}
    for one in span.attributes:
        kind = one.value.WhichOneof("value")
        attributes[one.key] = getattr(one.value, kind)
    return Span(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        [link.trace_id.hex() for link in span.links],
        attributes,
        span.status.code == span.status.STATUS_CODE_ERROR,
    )


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Collect for as long as the block lasts."""
    collector = Collector()
    app = Starlette(routes=[Route("/v1/traces", collector.take, methods=["POST"])])
    async with listening(app, "127.0.0.1", 0) as url:
        collector.url = url
        yield collector
