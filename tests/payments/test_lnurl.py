"""Where a refund may go, and what a destination may answer (row 11 of the fault catalogue)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import lnurl
from payments.bolt11 import Invoice
from payments.lnurl import BadDestination, Destination, decode, encode, parse
from payments.public_http import Away, Refused
from tests.world.pay_server import AMOUNT, METADATA, PayServer, fetch, invoice, said

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
        ("you@", "not a plain name"),
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
        ("https://①②⑦.⓪.⓪.①/", "not a public one"),
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


pieces = st.sampled_from(
    ["https://", "lnurlp://", "lightning:", "LNURL1", "you@", "example.org", "[::1]", ":443", "/?#"]
)


@given(st.text() | st.lists(pieces | st.text(max_size=5)).map("".join))
def test_any_text_is_a_destination_or_is_told_why_not(text: str) -> None:
    """Nothing that somebody writes makes the reading of it fail; what is kept is plain ASCII."""
    destination = parse(text)
    if isinstance(destination, Destination):
        assert destination.url.startswith("https://") and destination.text.isascii()
        assert destination.text.isprintable() and parse(destination.text) == destination
    else:
        assert destination.sentence.endswith(".")


def test_the_longest_destination_is_read() -> None:
    """The limit is of characters, whatever they are."""
    text = "https://example.org/" + "a" * (lnurl.LONGEST - 20)
    assert isinstance(parse(text), Destination)
    assert isinstance(parse(text + "a"), BadDestination)


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
        ({"callback": "http://10.0.0.1/cb"}, "not a public one"),
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
        (lambda msat: invoice(msat).translate(str.maketrans("qp", "pq")), "damaged"),
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
