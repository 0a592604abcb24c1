"""Server-sent events without a server: what is sent, when, and that their maker is closed."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, Literal

import pytest
from starlette.types import Message

from app.http.event_stream import EventStream
from app.refusal import Refusal, Why
from db.engine import DatabaseAway

Making = AsyncGenerator[dict[str, Any], None]
SCOPE: Any = {"type": "http", "method": "POST", "path": "/", "headers": [], "state": {}}

NOT_READY = Refusal(Why.NOT_READY, "No.")


class Never(asyncio.Event):
    """What never comes; it tells when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = asyncio.Event()

    async def wait(self) -> Literal[True]:
        """Tell, and wait."""
        self.waits.set()
        return await super().wait()


class Reader:
    """A client, which leaves when it is told to."""

    def __init__(self, sends: Callable[[Message], None] = lambda _: None) -> None:
        self.got: list[Message] = []
        self.leaves = asyncio.Event()
        self._sends = sends

    async def receive(self) -> Message:
        """Say that the client is gone, once it is."""
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take what is sent."""
        self._sends(message)
        self.got.append(message)

    @property
    def status(self) -> int:
        """The status of the answer."""
        return int(self.got[0]["status"])

    @property
    def body(self) -> bytes:
        """All that was sent."""
        return b"".join(message.get("body", b"") for message in self.got)


async def made(closed: list[str], *steps: Any) -> Making:
    """Yield what is given, raise what is an error, wait for what is an event."""
    try:
        for step in steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, asyncio.Event):
                await step.wait()
            else:
                yield step
    finally:
        await asyncio.sleep(0)  # what it does at its end is waited for
        closed.append("closed")


async def read(reader: Reader, *steps: Any, beat_s: float = 15) -> list[str]:
    """Send these events to a reader to their end."""
    closed: list[str] = []
    stream = EventStream(made(closed, *steps), beat_s=beat_s)
    await stream(SCOPE, reader.receive, reader.send)
    return closed


async def test_each_event_is_a_line_of_json() -> None:
    """They are sent one by one, as a stream that nobody may collect first."""
    reader = Reader()
    assert await read(reader, {"content": "a\nb"}, {"done": True}) == ["closed"]
    assert reader.body == b'data: {"content":"a\\nb"}\n\ndata: {"done":true}\n\n'
    headers = dict(reader.got[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"x-accel-buffering"] == b"no" and b"content-length" not in headers
    assert [message.get("more_body") for message in reader.got] == [None, True, True, False]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NOT_READY, 409),
        (DatabaseAway("gone"), 503),
        (ValueError("secret"), 500),
    ],
)
async def test_what_goes_wrong_first_is_an_ordinary_answer(error: Exception, status: int) -> None:
    """Before the first event there is still a status to say it with."""
    reader = Reader()
    assert await read(reader, error) == ["closed"]
    assert reader.status == status and b'"error"' in reader.body and b"secret" not in reader.body


@pytest.mark.parametrize("error", [NOT_READY, DatabaseAway("x"), ValueError("secret")])
async def test_what_goes_wrong_later_is_the_last_event(error: Exception) -> None:
    """Afterwards it is told in the stream, which comes to its end."""
    reader = Reader()
    assert await read(reader, {"content": "a"}, error) == ["closed"]
    assert reader.status == 200 and reader.got[-1]["more_body"] is False
    first, last = reader.body.decode().strip().split("\n\n")
    assert first == 'data: {"content":"a"}' and last.startswith('data: {"error":"')
    assert "secret" not in last


async def test_a_silence_is_broken_by_comments() -> None:
    """No proxy takes it for a dead connection; before the first event nothing can be sent."""
    goes_on, beats = asyncio.Event(), 0

    def count(message: Message) -> None:
        nonlocal beats
        beats += message.get("body", b"").startswith(b":")
        if beats == 2:
            goes_on.set()

    reader = Reader(count)
    await read(reader, {"content": "a"}, goes_on, {"done": True}, beat_s=0.01)
    assert reader.body.endswith(b'data: {"done":true}\n\n')


@pytest.mark.parametrize("begun", [True, False])
async def test_who_leaves_ends_the_making(begun: bool) -> None:
    """Whoever makes the events is closed at once, also while it waits for the first."""
    reader, closed = Reader(), list[str]()
    before, never, sent = [{"content": "a"}] if begun else [], Never(), 2 if begun else 0
    stream = EventStream(made(closed, *before, never))
    answering = asyncio.create_task(stream(SCOPE, reader.receive, reader.send))
    await never.waits.wait()
    while len(reader.got) < sent:
        await asyncio.sleep(0)
    reader.leaves.set()
    await answering
    assert closed == ["closed"] and len(reader.got) == sent


async def test_a_connection_that_breaks_ends_the_making() -> None:
    """Servers that raise when they can't send are understood too."""

    def breaks(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise OSError("broken pipe")

    assert await read(Reader(breaks), {"content": "a"}, {"content": "b"}) == ["closed"]


async def test_a_server_that_stops_ends_the_making() -> None:
    """Who is cancelled closes the maker first."""
    closed: list[str] = []
    reader, never = Reader(), Never()
    stream = EventStream(made(closed, {"content": "a"}, never))
    answering = asyncio.create_task(stream(SCOPE, reader.receive, reader.send))
    await never.waits.wait()
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    assert closed == ["closed"]
