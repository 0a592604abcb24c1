"""Where a server listens: IPv4, IPv6, both, a name; and one sentence where it can't."""

import socket

import httpx2
import pytest
from pytest import Subtests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from app.serving.listener import CannotListen, open_listener, written
from app.serving.run import listening
from tests.world.patience import PATIENCE_S
from tests.world.server_process import ServerProcess


def has_ipv6() -> bool:
    """Say whether this machine has an IPv6 loopback."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


async def who(request: Request) -> PlainTextResponse:
    """Say who asks."""
    assert request.client is not None
    return PlainTextResponse(request.client.host)


APP = Starlette(routes=[Route("/", who)])
# HOST → (the URL that is printed, who is reached there, and by which address, as it is seen).
WHERE = {
    "127.0.0.1": {"127.0.0.1": "127.0.0.1"},
    "localhost": {"127.0.0.1": "127.0.0.1"},
    "0.0.0.0": {"127.0.0.1": "127.0.0.1"},
    "::1": {"[::1]": "::1"},
    "::": {"[::1]": "::1", "127.0.0.1": "::ffff:127.0.0.1"},
}


async def test_it_listens_on_every_kind_of_address(subtests: Subtests) -> None:
    """A URL has an IPv6 address in brackets. `::` is all of IPv6, and IPv4 too. Where the machine
    has no IPv6, a sentence says what to set.
    """
    for host, reached in WHERE.items():
        with subtests.test(host):
            if ":" in host and not has_ipv6():
                with pytest.raises(CannotListen, match=r"can't listen on \[.*Set HOST or PORT"):
                    open_listener(host, 0)
                continue
            async with (
                listening(APP, host, 0) as url,
                httpx2.AsyncClient(timeout=PATIENCE_S) as http,
            ):
                port = int(url.rpartition(":")[2])
                assert url == f"http://{written(host, port)}"
                assert (f"[{host}]:" in url) == (":" in host)
                for name, seen in reached.items():
                    assert (await http.get(f"http://{name}:{port}/")).text == seen


def test_no_piece_of_an_answer_waits_for_another() -> None:
    """What is written goes out at once: each connection is told not to wait until what was sent
    before is acknowledged, which takes 40 ms of each answer on a connection that is used again."""
    with (
        open_listener("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as taken,
    ):
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_where_it_can_not_listen_a_sentence_says_so() -> None:
    """An address that is taken, or another machine's, or no address, or a port that is ours not."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"can't listen on 127.0.0.1:{port} .*in use"):
            open_listener("127.0.0.1", port)
    for host in ("192.0.2.1", "2001:db8::1", "é" * 70, "[::1]"):
        with pytest.raises(CannotListen, match=r"can't listen on .*\)\. Set HOST or PORT"):
            open_listener(host, 0)


def test_the_command_listens_on_ipv6(server: ServerProcess) -> None:
    """`HOST=::1 boltwork serve` prints an address that can be opened, or says why there is none."""
    server.environment["HOST"] = "::1"
    if not has_ipv6():
        with pytest.raises(AssertionError, match=r"boltwork: can't listen on \[::1\]"):
            server.start()
        return
    url = server.start()
    assert url.startswith("http://[::1]:")
    made = httpx2.post(f"{url}/api/jobs", json={"request": "a"}, timeout=PATIENCE_S)
    assert made.status_code == 201
