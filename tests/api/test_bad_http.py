"""What is wrong with a request before its body means anything: the method, the address, the size,
the framing. Bounded in bytes and time, 4xx, and the next request is served (row 29 of the faults).

What is not HTTP at all is answered by the HTTP parser below the application, with a status, no
body, and the connection closed: there is no request yet that an envelope could answer.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from pytest import Subtests
from starlette.requests import Request

from app.http.body import MOST_BYTES, read_body
from app.ports import Destinations
from app.refusal import Refusal, Why
from tests.world.contract import CONTRACT, refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import PATIENCE_S
from tests.world.raw_http import BrokenDestinations, judged, said

pytestmark = pytest.mark.one_instance

JSON = {"Content-Type": "application/json"}


async def test_a_body_over_the_limit_is_refused(instance: Instance) -> None:
    """256 KiB are read; a byte more, declared or not, is a 413 before its end."""
    path = "/api/estimate"
    full = b'{"request": "a"}'.ljust(MOST_BYTES)
    assert (await instance.http.post(path, content=full, headers=JSON)).status_code == 200
    refused(
        await instance.http.post(path, content=full + b" ", headers=JSON), 413, "Send a shorter"
    )

    async def undeclared() -> AsyncIterator[bytes]:
        yield full
        yield b" "

    refused(await instance.http.post(path, content=undeclared(), headers=JSON), 413, "256 KiB")


async def test_the_label_of_a_body_does_not_matter(instance: Instance) -> None:
    """A body is read as JSON whatever its Content-Type says; forms are told what to send."""
    for label in ("text/plain", "application/x-www-form-urlencoded", "application/xml", "x", ""):
        headers = {"Content-Type": label}
        good = await instance.http.post("/api/jobs", content=b'{"request": "a"}', headers=headers)
        assert good.status_code == 201
    form = {"request": "hello"}
    refused(await instance.http.post("/api/jobs", data=form), 400, "Send one JSON object")
    parts = await instance.http.post("/api/jobs", files={"request": b"hello"})
    refused(parts, 400, "Send one JSON object")


async def test_a_wrong_method_is_told_the_right_ones(instance: Instance) -> None:
    """Any other method is a 405, whose Allow header has just the methods of the contract."""
    for path in CONTRACT.document["paths"]:
        address = re.sub(r"\{[^}]+\}", "0" * 32, path)
        offered = CONTRACT.methods(path)
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"} - offered:
            answer = await instance.http.request(method, address)
            refused(answer, 405, "The Allow header lists those it supports")
            assert {m.strip() for m in answer.headers["allow"].split(",")} == offered


async def test_an_unknown_address_names_the_contract(instance: Instance) -> None:
    """Where there is nothing, the answer says where to read what there is."""
    for path in ("/api", "/api/job", "/API/jobs", "/api//healthz", "/..%2f..%2fetc/passwd"):
        for method in ("GET", "POST"):
            refused(await instance.http.request(method, path), 404, "See /docs")


async def test_a_fault_of_ours_is_a_500_that_tells_nothing(
    database_url: str, tmp_path: Path
) -> None:
    """When our own code breaks, the answer is the envelope with an id, and not a word of why."""
    broken = cast(Destinations, BrokenDestinations())
    asked = {"request": "a", "refundTo": "a@example.org"}
    async with instance_of(database_url, tmp_path, destinations=broken) as house:
        for path in ("/api/jobs", "/api/ask"):
            answer = await house.post(path, asked, headers={"X-Request-Id": "my-own-id"})
            refused(answer, 500, "Something broke on our side")
            assert "canary" not in answer.text and answer.json()["requestId"] == "my-own-id"
            assert answer.headers["x-content-type-options"] == "nosniff"


# What no HTTP client would send.
HOST = b"Host: x\r\n"
CLOSE = b"Connection: close\r\n"
GET = b"GET /api/healthz HTTP/1.1\r\n"
POST = b"POST /api/estimate HTTP/1.1\r\n"
ASK = b'{"request":"a"}'
HIDDEN = GET + HOST + CLOSE + b"\r\n"  # what a smuggler would like to have answered too
MANY = b"".join(b"X-%d: 1\r\n" % number for number in range(10_000))


# name → (bytes, the statuses that are right for them)
BROKEN: dict[str, tuple[bytes, set[int]]] = {
    "no host": (GET + b"\r\n", {400}),
    "two hosts": (GET + HOST + HOST + b"\r\n", {400}),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", {400}),
    "HTTP/0.9": (b"GET /api/healthz\r\n\r\n", {400}),
    "a raw byte in the address": (b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    "NUL in a header": (GET + HOST + b"X-A: a\0b\r\n\r\n", {400}),
    "CR in a header": (GET + HOST + b"X-A: a\rSet-Cookie: b\r\n\r\n", {400}),
    "space before a colon": (POST + HOST + b"Content-Length : 15\r\n\r\n" + ASK, {400}),
    "a header of 200 kB": (GET + HOST + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n", {431}),
    "10,000 headers": (GET + HOST + MANY + b"\r\n", {431}),
    "an address of 100 kB": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST, {431}),
    "two lengths": (
        POST + HOST + b"Content-Length: 15\r\nContent-Length: 2\r\n\r\n" + ASK + HIDDEN,
        {400},
    ),
    "a length below zero": (POST + HOST + b"Content-Length: -1\r\n\r\n" + HIDDEN, {400}),
    "a length with a sign": (POST + HOST + b"Content-Length: +15\r\n\r\n" + ASK + HIDDEN, {400}),
    "a length beyond numbers": (POST + HOST + b"Content-Length: " + b"9" * 20 + b"\r\n\r\n", {413}),
    "a length and chunks": (
        POST + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        {400},
    ),
    "chunks and a length": (
        POST + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
        {400},
    ),
    "a chunk without a length": (
        POST + HOST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n" + ASK + HIDDEN,
        {400},
    ),
    "an unknown encoding": (
        POST + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        {501},
    ),
    "an encoding that looks like chunks": (
        POST + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        {501},
    ),
    "a proxy's address": (b"GET http://x/api/healthz HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {404}),
    "a star": (b"OPTIONS * HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {404}),
    "a tunnel": (b"CONNECT x:443 HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {404}),
    "no slash": (b"GET api/healthz HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {404}),
    "half an escape": (b"GET /api/jobs/%zz%f HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {404}),
    "a web socket": (
        GET
        + HOST
        + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        {403},
    ),
    "a body for a GET": (GET + HOST + CLOSE + b"Content-Length: 5\r\n\r\nhello", {200}),
}


async def test_a_broken_request_is_one_answer_and_the_end(
    instance: Instance, subtests: Subtests
) -> None:
    """Whatever is wrong with the framing, there is one answer, no second one for what is hidden
    behind it, and the connection is closed.
    """
    for name, (sent, statuses) in BROKEN.items():
        with subtests.test(name):
            assert judged(await said(instance, sent)) in statuses
            assert (await instance.http.get("/api/healthz")).status_code == 200


async def test_a_body_without_an_end_is_not_read_to_it(instance: Instance) -> None:
    """A chunked body that goes on for ever is answered at the limit, and then cut off."""
    address = urlsplit(instance.url)
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    for path, status in (("/api/jobs", 413), ("/api/jobs/1/refund", 404), ("/nothing", 404)):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + chunk * 5)
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.readline()).startswith(b"HTTP/1.1 %d" % status)
        sent = 0
        with pytest.raises(ConnectionError):
            while sent < 2**30:
                writer.write(chunk)
                await writer.drain()
                sent += len(chunk)
        assert sent < 2**25  # what fits into the buffers between us
        writer.close()


@pytest.mark.one_instance(False)
async def test_a_request_that_breaks_off_breaks_nothing(instance: Instance) -> None:
    """A client that goes away in the middle of its body leaves no job and no trouble behind."""
    address = urlsplit(instance.url)
    for sent in (b"", GET, POST + HOST, POST + HOST + b"Content-Length: 100\r\n\r\n" + ASK):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(sent.replace(b"estimate", b"jobs"))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    await instance.create()
    assert len(await instance.built.db.read_all("SELECT id FROM job")) == 1


async def test_a_body_that_drips_is_given_up() -> None:
    """A body has a time for all of it, however steadily its bytes come in."""

    async def drip() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    request = Request({"type": "http", "method": "POST", "headers": []}, drip)
    with pytest.raises(Refusal, match=r"did not arrive in time\. Send the request again") as slow:
        await read_body(request, longest_s=0.1)
    assert slow.value.why is Why.TOO_SLOW
