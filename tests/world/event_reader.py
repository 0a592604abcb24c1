"""A reader of server-sent events, as HTML describes them: what a browser's EventSource does."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from app.buyer.event_reader import lines_of
from tests.world.contract import CONTRACT


@dataclass(frozen=True)
class Event:
    """One event: its name, its data as JSON, and its id where it has one."""

    name: str
    data: dict[str, Any]
    id: str | None


class Reader:
    """Reads one stream, event by event."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.last_id = ""
        self.comments = 0
        self.retry_ms = 0
        self._lines = lines_of(answer.aiter_bytes())

    async def next(self) -> Event | None:
        """Return the next event; None at the stream's end."""
        name, data = "message", list[str]()
        own_id: str | None = None
        async for line in self._lines:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if data:
                    return Event(name, json.loads("\n".join(data)), own_id)
            elif not field:
                self.comments += 1
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                self.last_id = own_id = value
            elif field == "retry":
                self.retry_ms = int(value)
            else:
                raise AssertionError(f"no field of an event: {field!r}")
        return None

    async def until(self, name: str, state: str | None = None) -> Event:
        """Return the next event of this name (and state)."""
        async for event in self.events():
            if event.name == name and state in (None, event.data.get("state")):
                return event
        raise AssertionError(f"the stream ended before {name} {state or ''}")

    async def events(self) -> AsyncIterator[Event]:
        """Yield events until the stream ends."""
        while (event := await self.next()) is not None:
            yield event

    async def rest(self) -> list[Event]:
        """Return all events until the stream ends."""
        return [event async for event in self.events()]

    async def beats(self, count: int) -> None:
        """Return when the heart was heard so many times; no event may come meanwhile."""
        reading = asyncio.ensure_future(self.next())
        while self.comments < count and not reading.done():
            await asyncio.wait({reading}, timeout=0.05)
        assert not reading.done(), reading.result()
        reading.cancel()


@asynccontextmanager
async def watching(
    http: httpx2.AsyncClient, job_id: str, last_id: str | None = None, **parameters: str
) -> AsyncIterator[Reader]:
    """Watch a job for as long as the block lasts."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    path = f"/api/jobs/{job_id}/events"
    async with http.stream("GET", path, headers=headers, params=parameters) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield Reader(answer)


STORY = [
    "created", "eval_paid", "accepted", "work_invoice_opened", "work_paid", "finished",
]  # fmt: skip
SCHEMAS = CONTRACT.document["components"]["schemas"]


def checked(events: list[Event], first: int = 1) -> list[Event]:
    """Return stored events, which have every id once, in order, and are as the contract says."""
    assert [event.id for event in events] == [str(first + i) for i in range(len(events))]
    for event in events:
        assert event.data["version"] == int(event.id or 0)
        assert CONTRACT.problems(SCHEMAS["JobEvent"], event.data) == []
    return events
