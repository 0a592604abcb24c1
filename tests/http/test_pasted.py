"""An invoice or a destination is read in whatever a wallet shows it in."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.bolt11 import BadInvoice, decode
from payments.lnurl import BadDestination, Destination, parse
from payments.pasted import read
from tests.world.contract import refused
from tests.world.house_fixtures import Instance
from tests.world.invoices import make

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
INVOICE = make()  # of 21 sats

DRESSES: dict[str, Callable[[str], str]] = {
    "BIP21": lambda t: f"bitcoin:{ADDRESS}?amount=0.00000021&label=My%20Shop&lightning={t}",
    "BIP21 with other things behind it": lambda t: (
        f"bitcoin:{ADDRESS}?lightning={t}&pj=https://a.b"
    ),
    "BIP21 in capitals": lambda t: f"bitcoin:{ADDRESS}?amount=0.00000021&lightning={t}".upper(),
    "BIP21 without an address": lambda t: f"bitcoin:?lightning={t}",
    "BIP21 with slashes": lambda t: f"bitcoin://{ADDRESS}?lightning={t}",
    "BIP21 with spaces in its label": lambda t: f"bitcoin:{ADDRESS}?label=My Shop&lightning={t}",
    "a scheme with slashes": lambda t: f"lightning://{t}",
    "a scheme twice": lambda t: f"lightning:LIGHTNING:{t.upper()}",
    "a zero-width space": lambda t: t[:30] + "\u200b" + t[30:],
    "a soft hyphen": lambda t: t[:30] + "\u00ad" + t[30:],
    "a byte-order mark": lambda t: "\ufeff" + t,
    "line breaks": lambda t: "\r\n".join(t[i : i + 40] for i in range(0, len(t), 40)),
    "spaces": lambda t: " ".join(t[i : i + 4] for i in range(0, len(t), 4)),
    "quotes": lambda t: f"“{t}”",
    "angle brackets": lambda t: f"<lightning:{t}>",
    "full-width letters": lambda t: "".join(chr(ord(c) + 0xFEE0) for c in t),
}


@pytest.mark.parametrize("dress", DRESSES)
def test_the_invoice_within_is_read(dress: str) -> None:
    """What is round it, and what nobody sees in it, changes nothing."""
    assert decode(DRESSES[dress](INVOICE)) == decode(INVOICE)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"bitcoin:{ADDRESS}?amount=0.00000007&lightning={INVOICE}", "asks for 7 sats"),
        (f"bitcoin:{ADDRESS}?amount=1", "holds no Lightning invoice"),
        (f"bitcoin:{ADDRESS}", "holds no Lightning invoice"),
        (f"bitcoin:{ADDRESS}?lightning=", "holds no Lightning invoice"),
        (f"bitcoin:?lightning={INVOICE[:-1]}", "damaged"),
        ("bitcoin:?lightning=bitcoin:?lightning=x", "not a Lightning invoice"),
        ("bitcoin:?lightning=" + "q" * 5_000, "too long"),
        ("q" * 10_000, "too long"),
    ],
)
def test_a_code_that_can_not_be_paid_says_why(text: str, says: str) -> None:
    """An amount round the invoice that is another than its own is not guessed about."""
    with pytest.raises(BadInvoice, match=says):
        decode(text)


@pytest.mark.parametrize(
    "amount", ["", "x", "NaN", "-1", "1e400", "0.000000000001", "∞", "9" * 40, "1_0"]
)
def test_an_amount_that_is_none_is_passed_over(amount: str) -> None:
    """What the invoice itself says counts."""
    assert decode(f"bitcoin:?amount={amount}&lightning={INVOICE}") == decode(INVOICE)


@given(st.text(max_size=200) | st.text("bitcoin:?lightning=&amount=%0aA1", max_size=80))
def test_any_text_is_read(text: str) -> None:
    """No exception comes of what somebody pastes, and reading what was read changes nothing."""
    within = read(text).text
    assert read(within).text in (within, read(within).text)


@pytest.mark.parametrize("dress", [DRESSES["BIP21"], DRESSES["a zero-width space"]])
async def test_a_refund_is_claimed_with_what_a_wallet_shows(
    instance: Instance, dress: Callable[[str], str]
) -> None:
    """Over the API, as on the page and by LNURL: one reader for all."""
    done = await instance.to_end()
    sats = done["refunds"][0]["amountSats"]
    mine = (await instance.post("/api/dev/stub/invoice", {"amountSats": sats})).json()
    text = dress(mine["paymentRequest"]).replace("amount=0.00000021", f"amount=0.{sats:08d}")
    path = f"/api/jobs/{done['jobId']}/refund"
    wrong = f"bitcoin:?amount=0.5&lightning={mine['paymentRequest']}"
    refused(await instance.post(path, {"invoice": wrong}), 400, "This code asks for")
    answer = await instance.post(path, {"invoice": text})
    assert answer.status_code == 200, answer.text


# ------------------------------------------------------------------------- destinations


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("₿alice@example.org", "https://example.org/.well-known/lnurlp/alice"),
        ("⚡alice@example.org", "https://example.org/.well-known/lnurlp/alice"),
        ("⚡\ufe0f alice@example.org", "https://example.org/.well-known/lnurlp/alice"),
        ("lightning:₿alice@example.org", "https://example.org/.well-known/lnurlp/alice"),
        ("lightning://alice@example.org", "https://example.org/.well-known/lnurlp/alice"),
        ("<alice@example.org>", "https://example.org/.well-known/lnurlp/alice"),
        ("ａｌｉｃｅ＠ｅｘａｍｐｌｅ．ｏｒｇ", "https://example.org/.well-known/lnurlp/alice"),
        ("alice@\u200bexample.org", "https://example.org/.well-known/lnurlp/alice"),
        ("alice@münchen.de", "https://xn--mnchen-3ya.de/.well-known/lnurlp/alice"),
        ("alice@MÜNCHEN.de", "https://xn--mnchen-3ya.de/.well-known/lnurlp/alice"),
        ("alice@例え。jp", "https://xn--r8jz45g.jp/.well-known/lnurlp/alice"),
        ("https://bücher.example/lnurlp/me", "https://xn--bcher-kva.example/lnurlp/me"),
        ("lnurlp://bücher.example/me", "https://xn--bcher-kva.example/me"),
    ],
)
def test_a_destination_is_read_as_it_is_shown(text: str, url: str) -> None:
    """Signs before it are dropped, and a host in another script is its A-label."""
    found = parse(text)
    assert isinstance(found, Destination), found
    assert found.url == url and found.text.isascii()


@pytest.mark.parametrize(
    "text",
    [
        "alice@①②⑦.⓪.⓪.①",
        "alice@１２７.0.0.1",
        "alice@127。0。0。1",
        "https://①⓪.0.0.1/pay",
        "https://ｌｏｃａｌｈｏｓｔ/pay",
        "https://０x7f.1/pay",
        "alice@２１３０７０６４３３",
        "alice@exa℀mple.org",
        "https://example.org\uff20127.0.0.1/pay",
        "alice@-bücher-.example",
        "alice@" + "ü" * 70 + ".example",
        "alicé@example.org",
        "alice@b\u0338@ücher.example",
        "alice @example.org",
        "https://exa\nmple.org/",
    ],
)
def test_another_script_opens_no_other_way_in(text: str) -> None:
    """What a host becomes is held to the same rules as one in plain letters."""
    found = parse(text)
    assert isinstance(found, BadDestination), found
