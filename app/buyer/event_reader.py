"""Reads server-sent events, as the HTML standard writes them (9.2.6), from bytes of any source.

A line ends at CR, LF or CRLF, and at nothing else: U+2028 is a character like any other.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from app.buyer.answer_fields import Unreadable
from app.buyer.answers import parsed

MOST_LINE_BYTES = 4 * 1024 * 1024
TOO_LONG = "a line of its events is longer than 4 MiB"
MOST_ID = 255
_BOM = b"\xef\xbb\xbf"


class Overlong(Exception):
    """More than is read here. The message says of what."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. Its id is empty where it has none; its data is empty where that is no JSON."""

    kind: str
    id: str
    data: dict[str, Any]


async def lines_of(pieces: AsyncIterator[bytes], most: int = MOST_LINE_BYTES) -> AsyncIterator[str]:
    """Yield each line as soon as its end is there. What follows the last end is no line."""
    waiting, at_start, after_cr = bytearray(), True, False
    async for piece in pieces:
        if after_cr and piece:
            piece, after_cr = piece.removeprefix(b"\n"), False
        waiting += piece
        if at_start and not _BOM.startswith(waiting):  # else the rest of it may yet come
            at_start = False
            if waiting.startswith(_BOM):
                del waiting[: len(_BOM)]
        if b"\r" in piece or b"\n" in piece:
            after_cr = waiting.endswith(b"\r")
            *lines, rest = bytes(waiting.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).split(b"\n")
            waiting = bytearray(rest)
            for line in lines:
                if len(line) > most:
                    raise Overlong(TOO_LONG)
                yield line.decode("utf-8", "replace")
        if len(waiting) > most:
            raise Overlong(TOO_LONG)


async def read_events(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    """Yield each whole event. One that is cut off in the middle was not sent."""
    kind, name, data, size = "", "", list[str](), 0
    async for line in lines:
        if not line:
            if data:
                yield Event(kind or "message", name, _object("\n".join(data)))
            kind, name, data, size = "", "", [], 0
            continue
        field, _, value = line.partition(":")  # a comment has no field
        value = value.removeprefix(" ")
        match field:
            case "event":
                kind = value
            case "id" if value.isascii() and value.isprintable() and len(value) <= MOST_ID:
                name = value
            case "data":
                size += len(value) + 1
                if size > MOST_LINE_BYTES:
                    raise Overlong(TOO_LONG)
                data.append(value)


async def with_first(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield a line that was read already, and then the others."""
    yield first
    async for line in rest:
        yield line


def _object(text: str) -> dict[str, Any]:
    try:
        return parsed(text.encode())
    except Unreadable:
        return {}
