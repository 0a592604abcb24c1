"""Where a refund may go, and what a stranger's server may do to us (rows 11 and 30)."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from payments import lnurl
from payments.bolt11 import Invoice
from payments.lnurl import BadDestination, Destination, LnurlPay, decode, encode, parse
from payments.public_http import LARGEST_BYTES, Away, PublicHttp, Refused, is_public
from pricing.money import Msat
from tests.pay_server import METADATA, PayServer, invoice, said

AMOUNT = Msat(13_000)


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


@pytest.fixture
async def stranger() -> AsyncIterator[PayServer]:
    """An honest LNURL-pay server on this machine."""
    async with PayServer().running() as server:
        yield server


async def fetch(
    destination: str, http: PublicHttp | None = None, comment: str = "", patience_s: float = 10
) -> Invoice | Refused | Away:
    """Ask a destination for an invoice, as a server would that may ask this machine."""
    http = http or PublicHttp(allow_loopback=True)
    asking = LnurlPay(http, network="bcrt", clock=utc_now, patience_s=patience_s)
    parsed = asking.parse(destination)
    assert isinstance(parsed, Destination), parsed
    try:
        return await asking.fetch_invoice(parsed, AMOUNT, comment)
    finally:
        await asking.close()


# ------------------------------------------------------------------------------ destinations


# The example of LUD-01 itself.
EXAMPLE_URL = (
    "https://service.com/api?q=3fc3645b439ce8e7f2553a69e5267081d96dcd340693afabe04be7b0ccd178df"
)
EXAMPLE = (
    "LNURL1DP68GURN8GHJ7UM9WFMXJCM99E3K7MF0V9CXJ0M385EKVCENXC6R2C35XVUKXEFCV5MKVV34X5EKZD3EV56NYD"
    "3HXQURZEPEXEJXXEPNXSCRVWFNV9NXZCN9XQ6XYEFHVGCXXCMYXYMNSERXFQ5FNS"
)


def test_the_example_of_the_standard_is_read_and_written() -> None:
    """The LNURL of LUD-01 decodes to its URL, and is what we write."""
    assert decode(EXAMPLE) == EXAMPLE_URL
    assert encode(EXAMPLE_URL) == EXAMPLE
    assert decode(EXAMPLE[:-1] + "Q") is None


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("You@Example.org", "https://example.org/.well-known/lnurlp/you"),
        ("you+tag@example.org:8443", "https://example.org:8443/.well-known/lnurlp/you+tag"),
        (" lightning:you@example.org\n", "https://example.org/.well-known/lnurlp/you"),
        (EXAMPLE, EXAMPLE_URL),
        (EXAMPLE.lower(), EXAMPLE_URL),
        (f"lightning:{EXAMPLE}", EXAMPLE_URL),
        ("lnurlp://example.org/pay?u=1", "https://example.org/pay?u=1"),
        ("https://example.org/pay", "https://example.org/pay"),
        (f"https://example.org/gift?lightning={EXAMPLE}", EXAMPLE_URL),
    ],
)
def test_a_destination_is_taken_as_wallets_give_it(text: str, url: str) -> None:
    """Lightning addresses, bech32 and lnurlp:// LNURLs, and URLs that hold one."""
    destination = parse(text)
    assert isinstance(destination, Destination), destination
    assert destination.url == url
    assert parse(destination.text) == destination  # what is stored means the same


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no refund destination"),
        ("somebody", "no refund destination"),
        ("x" * 2_001, "at most 2000"),
        ("lnbc130n1p4s9zn0pp5wf40v2teh", "an invoice"),
        (EXAMPLE[:-1] + "Q", "damaged"),
        ("you @example.org", "no Lightning address"),
        ("a@b@example.org", "no Lightning address"),
        ("you@", "not a whole https address"),
        ("you@localhost", "not a public name"),
        ("you@intranet", "not a public name"),
        ("you@127.0.0.1", "not a public one"),
        ("you@[::1]", "not a public one"),
        ("you@hidden.onion", "onion"),
        ("you@example.org:0", "port"),
        ("you@example.org:99999", "port"),
        ("http://example.org/pay", "not https"),
        ("https://me:secret@example.org/pay", "user name"),
        ("https://example.org\\@evil.org/", "plain letters"),
        ("https://exa mple.org/", "plain letters"),
        ("https://example.org/\x00", "plain letters"),
        ("lnurlp://10.0.0.1/pay", "not a public one"),
        ("https://169.254.169.254/latest", "not a public one"),
        ("https://[::ffff:127.0.0.1]/", "not a public one"),
        ("https://[64:ff9b::7f00:1]/", "not a public one"),
        ("https://[fe80::1%25eth0]/", "not a plain name"),
        ("https://2130706433/", "disguise"),
        ("https://0x7f000001/", "disguise"),
        ("https://0x7f.1/", "disguise"),
        ("https://127.1/", "disguise"),
        ("https://0177.0.0.1/", "disguise"),
        ("https://①②⑦.⓪.⓪.①/", "plain letters"),
        ("https://example。org/", "plain letters"),
        ("https://example.org./", "plain name"),
        (encode("https://192.168.0.1/"), "not a public one"),
        (encode("ftp://example.org/"), "plain letters"),
    ],
)
def test_what_can_not_be_a_destination_is_told_why(text: str, says: str) -> None:
    """Each is refused in a sentence, before anybody is asked, and as often as it is tried."""
    destination = parse(text)
    assert isinstance(destination, BadDestination), destination
    assert says in destination.sentence and destination.sentence.endswith(".")


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


# ------------------------------------------------------------------------- an honest stranger


async def test_a_pay_endpoint_gives_its_invoice(stranger: PayServer) -> None:
    """The invoice asks for just that amount; the callback's own query is kept."""
    given = await fetch(stranger.url)
    assert isinstance(given, Invoice) and given.amount_msat == AMOUNT
    offer, callback = stranger.asked
    assert offer.path == "/pay"
    assert (callback.path, callback.query) == ("/cb", {"user": ["7"], "amount": ["13000"]})


@pytest.mark.parametrize(
    ("callback", "query"),
    [
        ("/cb", {"amount": ["13000"]}),
        ("/cb?", {"amount": ["13000"]}),
        ("/cb?a=1&b=%26", {"a": ["1"], "b": ["&"], "amount": ["13000"]}),
        ("/cb?a=1#top", {"a": ["1"], "amount": ["13000"]}),
    ],
)
async def test_the_amount_joins_whatever_query_is_there(
    stranger: PayServer, callback: str, query: dict[str, list[str]]
) -> None:
    """<callback><?|&>amount=<millisatoshis>, as LUD-06 has it."""
    stranger.offer = {"callback": stranger.base + callback}
    assert isinstance(await fetch(stranger.url), Invoice)
    assert stranger.asked[-1].query == query


async def test_a_lightning_address_is_found(stranger: PayServer) -> None:
    """name@domain is asked for at /.well-known/lnurlp/name, with the right Host."""
    given = await fetch(f"you@127.0.0.1:{stranger.port}")
    assert isinstance(given, Invoice)
    assert stranger.asked[0].path == "/.well-known/lnurlp/you"
    assert stranger.asked[0].headers["host"] == f"127.0.0.1:{stranger.port}"


async def test_a_comment_is_sent_where_it_fits(stranger: PayServer) -> None:
    """LUD-12: a comment goes along when the service takes one of that length."""
    stranger.offer = {"commentAllowed": 10}
    await fetch(stranger.url, comment="a refund")
    assert stranger.asked[-1].query["comment"] == ["a refund"]
    await fetch(stranger.url, comment="a refund that is too long")
    assert "comment" not in stranger.asked[-1].query


async def test_an_invoice_without_a_hash_is_taken(stranger: PayServer) -> None:
    """Since 2023 a service may give an invoice with a plain description."""

    async def plain(amount_msat: int) -> str:
        return invoice(amount_msat, metadata=None)

    stranger.make = plain
    given = await fetch(stranger.url)
    assert isinstance(given, Invoice) and given.description == "a refund"


# ----------------------------------------------------------------------- a stranger who cheats

ELSEWHERE = "Location: http://169.254.169.254/latest\r\n"


@pytest.mark.parametrize(
    ("offer", "says"),
    [
        ({"tag": "withdrawRequest"}, "offers no payments"),
        ({"tag": None}, "offers no payments"),
        ({"status": "ERROR", "reason": "no such user\x1b[31m."}, "says: no such user"),
        ({"status": "ERROR"}, "says: no."),
        ({"minSendable": 14_000}, "takes 14 sats to 100,000 sats, and 13 sats are owed"),
        ({"maxSendable": 12_999}, "takes 1 sat to 12.999 sats"),
        ({"minSendable": -5}, "does not say how much"),
        ({"minSendable": "1000"}, "does not say how much"),
        ({"maxSendable": 1e12}, "does not say how much"),
        ({"maxSendable": True}, "does not say how much"),
        ({"callback": None}, "does not say where"),
        ({"metadata": [["text/plain", "x"]]}, "does not say where"),
        ({"callback": "http://10.0.0.1/cb"}, "does not lead to a public address"),
        ({"callback": "http://169.254.169.254/cb"}, "not a public one"),
        ({"callback": "file:///etc/passwd"}, "plain letters"),
        ({"callback": "http://[::1"}, "can't be read"),
        ({"callback": "https://2130706433/"}, "disguise"),
    ],
)
async def test_an_offer_that_can_not_be_taken_is_refused(
    stranger: PayServer, offer: dict[str, object], says: str
) -> None:
    """What the pay endpoint says is read strictly; where it sends us is vetted again."""
    stranger.offer = offer
    answer = await fetch(stranger.url)
    if says == "does not lead to a public address":
        says = "not a public one"
    assert isinstance(answer, Refused), answer
    assert says in answer.reason and "\x1b" not in answer.reason
    assert answer.reason.endswith(".")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda msat: invoice(msat + 1), "asks for 13.001 sats"),
        (lambda msat: invoice(msat * 1000), "asks for 13,000 sats"),
        (lambda msat: invoice(None), "names no amount"),
        (lambda msat: invoice(msat, metadata=METADATA + " "), "for something else"),
        (lambda msat: invoice(msat, network="bc"), "is for Bitcoin"),
        (lambda msat: invoice(msat, expiry_s=5), "about to expire"),
        (
            lambda msat: invoice(msat, at=datetime.now(UTC) - timedelta(days=1)),
            "has expired",
        ),
        (lambda msat: invoice(msat)[:-1] + "q", "damaged"),
        (lambda msat: "", "not a Lightning invoice"),
        (lambda msat: "lnbcrt" + "1" * 3000, "too long"),
    ],
)
async def test_a_wrong_invoice_is_refused(stranger: PayServer, bad: object, says: str) -> None:
    """Another amount, another description hash, another network, expired, damaged, none."""
    assert callable(bad)

    async def cheat(amount_msat: int) -> str:
        return str(bad(amount_msat))

    stranger.make = cheat
    answer = await fetch(stranger.url)
    assert isinstance(answer, Refused), answer
    assert "wrong invoice" in answer.reason and says in answer.reason


@pytest.mark.parametrize("path", ["/pay", "/cb"])
@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (said({}, 302, ELSEWHERE), "redirect"),
        (said({}, 307, "Location: /pay2\r\n"), "redirect"),
        (said(b"x" * 10 * 2**20), "too much"),
        (said(b"{" * 50_000), "no answer that is LNURL"),
        (said(b"<html>soon</html>"), "no answer that is LNURL"),
        (said(b"[1]"), "no answer that is LNURL"),
        (said(b"\xff\xfe"), "no answer that is LNURL"),
        (said(b""), "no answer that is LNURL"),
        (said({"status": "ERROR", "reason": "x" * 999}, 404), "x" * 160),
        (said({}, 404), "HTTP 404"),
    ],
)
async def test_an_answer_that_is_none_is_refused(
    stranger: PayServer, path: str, raw: bytes, says: str
) -> None:
    """Redirects, ten megabytes, garbage: definitive, bounded, and nobody else is asked."""
    stranger.raw = {path: raw}
    answer = await fetch(stranger.url)
    assert isinstance(answer, Refused), answer
    assert says in answer.reason and len(answer.reason) < 300


@pytest.mark.parametrize("path", ["/pay", "/cb"])
@pytest.mark.parametrize(
    "raw",
    [
        said({}, 500),
        said({}, 503),
        said({}, 429),
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{",
        b"no HTTP at all",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: y\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
    ],
)
async def test_trouble_that_may_pass_is_away(stranger: PayServer, path: str, raw: bytes) -> None:
    """A server that is broken or busy is asked again another time."""
    stranger.raw = {path: raw}
    answer = await fetch(stranger.url)
    assert isinstance(answer, Away), answer


@pytest.mark.parametrize("path", ["/pay", "/cb"])
async def test_a_server_that_says_nothing_is_not_waited_for(stranger: PayServer, path: str) -> None:
    """Both questions together are bounded in time."""
    stranger.hang = {path}
    answer = await fetch(stranger.url, patience_s=0.3)
    assert answer == Away("The destination did not answer in time.")


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


def certificate_for(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context with a certificate for a name, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "certificate.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    client = ssl.create_default_context(cafile=str(pem))
    return server, client


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


def test_the_longest_destination_is_read() -> None:
    """The limit is of characters, whatever they are."""
    text = "https://example.org/" + "a" * (lnurl.LONGEST - 20)
    assert isinstance(parse(text), Destination)
    assert isinstance(parse(text + "a"), BadDestination)
