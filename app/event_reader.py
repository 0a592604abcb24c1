"""Reads server-sent events, as the HTML standard writes them: from lines, whoever brings those."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One event. Its id is empty where it has none; its data is empty where that is no JSON."""

    kind: str
    id: str
    data: dict[str, Any]


async def read_events(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    """Yield each whole event. One that is cut off in the middle was not sent."""
    kind, name, data = "", "", list[str]()
    async for line in lines:
        if not line:
            if data:
                yield Event(kind or "message", name, _object("\n".join(data)))
            kind, name, data = "", "", []
            continue
        field, _, value = line.partition(":")  # a comment has no field
        value = value.removeprefix(" ")
        match field:
            case "event":
                kind = value
            case "id":
                name = value
            case "data":
                data.append(value)


def _object(text: str) -> dict[str, Any]:
    try:
        read = json.loads(text)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
