"""What a stranger's server, or its name server, may do to us (row 30 of the fault catalogue)."""

import asyncio
import ipaddress
from pathlib import Path

import pytest

from payments.bolt11 import Invoice
from payments.lnurl import BadDestination, parse
from payments.public_http import LARGEST_BYTES, Away, PublicHttp, Refused, is_public
from tests.world.certificates import certificate_for
from tests.world.pay_server import PayServer, fetch


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.0.9", "0.0.0.0", "10.1.2.3", "100.64.0.1", "169.254.169.254",
        "172.16.0.1", "172.31.255.255", "192.0.0.9", "192.0.2.1", "192.88.99.1", "192.168.1.1",
        "198.18.0.1", "198.51.100.1", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
        "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1",
        "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1",
        "fd12::1", "fe80::1", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_closed(address: str) -> None:
    """Private, local, reserved, multicast, and IPv6 that maps or embeds IPv4."""
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111"])
def test_a_public_address_is_open(address: str) -> None:
    """Hosts of the public net can be asked."""
    assert is_public(ipaddress.ip_address(address))


async def test_one_question_is_bounded_too(stranger: PayServer) -> None:
    """The client itself does not wait for ever, whoever uses it."""
    stranger.hang = {"/pay"}
    http = PublicHttp(allow_loopback=True, timeout_s=0.3)
    assert isinstance(await http.get(stranger.url), Away)
    await http.close()


async def test_a_stream_without_an_end_is_cut(stranger: PayServer) -> None:
    """The limit holds for bytes that come, not for a length that is declared."""
    more = b"%x\r\n" % 65_536 + b" " * 65_536 + b"\r\n"
    stranger.raw = {"/pay": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + more * 9}
    assert LARGEST_BYTES < 9 * 65_536
    answer = await fetch(stranger.url)
    assert isinstance(answer, Refused) and "too much" in answer.reason


async def test_nobody_listens() -> None:
    """A refused connection may pass."""
    async with PayServer().running() as server:
        url = server.url
    assert isinstance(await fetch(url), Away)


# ------------------------------------------------------------------------------------- names


class Names:
    """A name server that answers from a list, one after the other, and counts."""

    def __init__(self, *answers: list[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        """Resolve a name."""
        self.asked.append(host)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, OSError):
            raise answer
        return answer


async def test_a_name_is_resolved_once_for_each_question(stranger: PayServer) -> None:
    """The address that was vetted is the one that is connected to."""
    names = Names(["127.0.0.1"])
    stranger.host = "rebind.example"
    given = await fetch(stranger.url, PublicHttp(allow_loopback=True, resolve=names))
    assert isinstance(given, Invoice)
    assert names.asked == ["rebind.example"] * 2  # one for the offer, one for the callback
    assert stranger.asked[0].headers["host"] == f"rebind.example:{stranger.port}"


@pytest.mark.parametrize("inner", ["10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "fe80::1%1"])
async def test_a_name_that_changes_its_address_is_vetted_again(
    stranger: PayServer, inner: str
) -> None:
    """A name that is good for the offer and leads inside for the callback is refused."""
    names = Names(["127.0.0.1"], [inner])
    stranger.host = "rebind.example"
    answer = await fetch(stranger.url, PublicHttp(allow_loopback=True, resolve=names))
    assert isinstance(answer, Refused | Away), answer
    assert len(stranger.asked) == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "2002:7f00:1::", "0.0.0.0"])
async def test_a_name_that_leads_inside_is_refused(address: str) -> None:
    """Without the development setting, loopback is as closed as any private address."""
    http = PublicHttp(resolve=Names([address]))
    answer = await fetch("https://shop.example/pay", http)
    assert answer == Refused("shop.example does not lead to a public address.")


async def test_of_several_addresses_only_public_ones_are_tried(stranger: PayServer) -> None:
    """Bad addresses beside a good one are left out; one that is dead gives way to the next."""
    stranger.host = "many.example"
    names = Names(["10.0.0.1", "127.0.0.2", "::1", "127.0.0.1"])
    given = await fetch(stranger.url, PublicHttp(allow_loopback=True, resolve=names))
    assert isinstance(given, Invoice)


@pytest.mark.parametrize("trouble", [OSError("no such name"), []])
async def test_a_name_that_is_not_found_may_be_found_later(trouble: OSError | list[str]) -> None:
    """A name server's trouble is passing."""
    http = PublicHttp(resolve=Names(trouble))
    answer = await fetch("you@shop.example", http)
    assert isinstance(answer, Away) and "can't be resolved" in answer.reason


async def test_a_name_server_that_hangs_is_not_waited_for() -> None:
    """Resolving is inside the time limit."""

    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    http = PublicHttp(resolve=never, timeout_s=0.2)
    assert isinstance(await fetch("you@shop.example", http), Away)


async def test_the_system_resolver_is_vetted() -> None:
    """What this machine resolves is looked at as addresses: localhost is refused."""
    assert isinstance(parse("https://localhost/pay"), BadDestination)
    http = PublicHttp()
    answer = await http.get("https://localhost.localdomain/pay")
    assert isinstance(answer, Refused | Away)
    await http.close()


async def test_http_is_for_this_machine_only() -> None:
    """Even in development, a public host is asked over https."""
    http = PublicHttp(allow_loopback=True, resolve=Names(["8.8.8.8"]))
    answer = await fetch("http://shop.example/pay", http)
    assert answer == Refused("shop.example does not lead to a public address.")


# --------------------------------------------------------------------------------------- TLS


async def test_the_certificate_is_the_names_not_the_addresss(tmp_path: Path) -> None:
    """Connected to by its address, a server must still prove the name that was asked for."""
    server, client = certificate_for("shop.example", tmp_path)
    names = Names(["127.0.0.1"])
    async with PayServer(host="shop.example").running(server) as shop:
        http = PublicHttp(allow_loopback=True, resolve=names, tls=client)
        assert isinstance(await fetch(shop.url, http), Invoice)
        assert shop.asked[0].headers["host"] == f"shop.example:{shop.port}"
        other = f"https://other.example:{shop.port}/pay"
        http = PublicHttp(allow_loopback=True, resolve=names, tls=client)
        assert isinstance(await fetch(other, http), Away)
        assert all("other" not in asked.headers["host"] for asked in shop.asked)
