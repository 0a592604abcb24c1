"""Answers that stay the same for a while: by their ETag, who has one is not sent it again."""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

A_WHILE: Final = "public, max-age=60"  # a price that the operator changes is told soon


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is served."""

    body: bytes
    media_type: str
    mark: str  # of its content


def document_of(body: bytes, media_type: str) -> Document:
    """Return bytes as a document."""
    return Document(body, media_type, hashlib.sha256(body).hexdigest()[:16])


def json_document(values: Any, media_type: str = "application/json") -> Document:
    """Return plain values as a document."""
    return document_of(orjson.dumps(values), media_type)


def answered(request: Request, document: Document) -> Response:
    """Return a document; 304 to whoever shows that they have it."""
    tag = f'"{document.mark}"'
    headers = {"Cache-Control": A_WHILE, "ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(document.body, 200, headers, document.media_type)
