"""Server-sent events are read as the HTML standard writes them, whatever an agent's text holds."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from app.buyer.client import Client
from app.buyer.event_reader import MOST_LINE_BYTES, Event, Overlong, lines_of, read_events
from app.buyer.payer import Payer
from app.buyer.purchase import Purchase
from app.buyer.session import open_session
from app.buyer.wallets.stub import StubWallet
from app.strict_json import dumped
from tests.world.house_fixtures import Instance

ODD = "First.\u2028Second.\u2029Third.\u0085Fourth.\x0bFifth.\x0cSixth.\x1cSeventh.\x1eEighth."


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    """Yield bytes as they come from a socket."""
    for each in given:
        yield each


async def lines(*given: bytes) -> list[str]:
    """Return the lines in what comes."""
    return [line async for line in lines_of(pieces(*given))]


async def test_a_line_ends_at_cr_lf_and_crlf_and_at_nothing_else() -> None:
    """However it is cut into pieces; a mark at the beginning is no part of it."""
    whole = f"\ufeffa{ODD}\rb\nc\r\nd\r\r\n\n\ue000\u2028\n".encode()
    expected = [f"a{ODD}", "b", "c", "d", "", "", "\ue000\u2028"]
    assert await lines(whole) == expected
    for size in (1, 2, 3, 7):
        cut = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert await lines(*cut) == expected
    assert await lines(b"no end") == []


async def test_a_line_is_read_as_soon_as_it_ends() -> None:
    """A CR ends it: whether an LF follows is not waited for."""
    waiting = lines_of(pieces(b"a\r", b"\nb\r"))
    assert await anext(waiting) == "a"
    assert await anext(waiting) == "b"


async def test_a_line_without_end_is_not_kept() -> None:
    """Neither a line nor the data of an event is read beyond a limit."""

    async def endless(piece: bytes) -> AsyncIterator[bytes]:
        while True:
            yield piece

    with pytest.raises(Overlong):
        _ = [line async for line in lines_of(endless(b"x" * 65_536))]
    data = b"data: " + b"x" * 65_536 + b"\n"
    for piece in (data, b"data\n" * 1_000):
        with pytest.raises(Overlong):
            _ = [event async for event in read_events(lines_of(endless(piece)))]
    assert len(data) < MOST_LINE_BYTES


async def test_an_event_that_cannot_be_read_has_an_id_all_the_same() -> None:
    """It counts as read; an id that could not be sent back is none."""
    told = b'id: 1\ndata: {"a"\n\nid: \xc3\xa9\ndata: [1]\n\nid: 3\nevent: x\ndata: {"a": 1}\n\n'
    read = [event async for event in read_events(lines_of(pieces(told)))]
    assert read == [Event("message", "1", {}), Event("message", "", {}), Event("x", "3", {"a": 1})]


def test_what_is_sent_holds_no_end_of_a_line() -> None:
    """A reader that takes U+2028, U+2029 or U+0085 for one finds none; the text is the same."""
    sent = dumped({"text": ODD, "é": "ÃÂ…é\u2027\u202a"})
    assert len(sent.decode().splitlines()) == 1
    assert httpx2.Response(200, content=sent).json() == {"text": ODD, "é": "ÃÂ…é\u2027\u202a"}


async def test_a_text_with_odd_line_ends_is_bought(instance: Instance) -> None:
    """Both invoices are paid, the result comes, and its refund: by the stream, and on a session."""
    request = "First line.\u2028Second line.\u2029Third"
    async with Client(instance.url) as client:
        payer = Payer(StubWallet(client))
        job = await Purchase(client, payer).buy(request)
        assert job["result"] == f"done: {request}"
        assert [owed["refundState"] for owed in job["refunds"]] == ["paid"]
        session = await open_session(client, 500, payer)
        assert (await session.request(request))["result"] == f"done: {request}"
    events = f"/api/jobs/{job['jobId']}/events"
    async with instance.http.stream("GET", events) as answer:
        told = await answer.aread()
    assert b"\\u2028" in told and "\u2028".encode() not in told
