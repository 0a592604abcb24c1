"""An invoice is decoded and checked before anything is paid (row 9 of the fault catalogue)."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import bolt11 as lightning
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.bolt11 import (
    LONGEST_BYTES,
    BadInvoice,
    Invoice,
    check_payable,
    decode,
    fee_limit_msat,
)
from pricing.money import Msat, sats_to_msat
from tests.world.invoices import (
    DATE,
    HASH,
    NOW,
    field,
    make,
    number,
    signed,
    taken_apart,
    with_checksum,
    words_of,
)

# The first example with an amount of BOLT #11 itself: 2500 µBTC for coffee, expiring in a minute.
COFFEE = (
    "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqf"
    "qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx8"
    "5fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh"
)


def test_says_what_the_invoice_says() -> None:
    """A decoded invoice names its hash, amount, expiry, network, payee and description."""
    payee = lightning.decode(make()).payee
    assert payee is not None
    assert decode(make()) == Invoice(
        bolt11=make(),
        payment_hash=HASH,
        amount_msat=Msat(21_000),
        expires_at=NOW + timedelta(seconds=600),
        network="bcrt",
        payee=payee,
        description="a refund",
    )


def test_reads_the_example_of_the_standard() -> None:
    """The example of BOLT #11 decodes to what the standard says of it."""
    coffee = decode(COFFEE)
    assert coffee.payment_hash == "0001020304050607080900010203040506070809000102030405060708090102"
    assert coffee.amount_msat == 250_000_000
    assert coffee.expires_at - datetime.fromtimestamp(1496314658, UTC) == timedelta(seconds=60)
    assert coffee.payee == "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"
    assert (coffee.network, coffee.description) == ("bc", "1 cup coffee")


@pytest.mark.parametrize(
    "dress",
    [
        str.upper,
        lambda t: f"lightning:{t}",
        lambda t: f" \n{t}\t",
        lambda t: f"LIGHTNING:{t.upper()}",
    ],
)
def test_takes_an_invoice_as_wallets_give_it(dress: Callable[[str], str]) -> None:
    """Capitals throughout, space around it and the prefix lightning: change nothing."""
    assert decode(dress(make())) == decode(make())


def test_an_expiry_that_is_not_named_is_an_hour() -> None:
    """Without an expiry an invoice lives for an hour."""
    assert decode(make(expiry_s=None)).expires_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a Lightning invoice"),
        ("hello", "not a Lightning invoice"),
        ("lnurl1dp68gurn8ghj7", "not a Lightning invoice"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "not a Lightning invoice"),
        (make()[:-1] + "Q", "capital and small"),
        (make()[:40] + make()[40:41].upper() + make()[41:], "capital and small"),
        ("lnbc" + "q" * LONGEST_BYTES, "too long"),
        (make()[:-1], "damaged"),
        (make()[:-1] + ("q" if make()[-1] != "q" else "p"), "damaged"),
        (make().replace("lnbcrt210n", "lnbcrt310n"), "damaged"),
        (make(amount_msat=1).replace("lnbcrt10p", "lnbcrt15p"), "part of a thousandth"),
        (make(amount_msat=21_000_001 * 10**11), "more bitcoin than there is"),
    ],
)
def test_refuses_what_is_not_a_whole_invoice(text: str, says: str) -> None:
    """Junk, mixed case, cut or changed invoices and impossible amounts are told apart."""
    with pytest.raises(BadInvoice, match=says):
        decode(text)


def test_refuses_a_signature_of_another_node() -> None:
    """An invoice that names its payee and is signed by somebody else is damaged."""
    signed = lightning.decode(make())
    signed.tags.add(
        lightning.TagChar.payee,
        "02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    )
    forged = lightning.encode(signed, "33" * 32, keep_payee=True)
    with pytest.raises(BadInvoice, match="signature"):
        decode(forged)


def test_an_explicit_zero_expiry_is_never_payable() -> None:
    """An expiry of zero, in either of its spellings, does not raise and does not pay."""
    hrp, data = taken_apart(make(expiry_s=None))
    body, signature = data[:-104], data[-104:]
    x = 6  # the tag "x"
    for expiry in ([x, 0, 0], [x, 0, 1, 0]):
        text = with_checksum(hrp, body + expiry + signature)
        with pytest.raises(BadInvoice):
            check_payable(
                decode(text), amount_msat=Msat(21_000), network="bcrt", now=NOW, margin_s=0
            )


@given(st.text(max_size=400))
def test_any_text_is_an_invoice_or_a_bad_one(text: str) -> None:
    """No text at all raises anything but BadInvoice."""
    _decodes_or_refuses(text)


@given(
    st.sampled_from(["lnbc", "lnbcrt21u", "lntb1m", "lntbs", "lnbc7p", "lnbc9999999999999"]),
    st.lists(st.integers(0, 31), max_size=300),
)
def test_any_data_with_a_good_checksum_is_an_invoice_or_a_bad_one(
    hrp: str, data: list[int]
) -> None:
    """A checksum is easily made: what stands behind it is still not trusted."""
    _decodes_or_refuses(with_checksum(hrp, data))


@given(st.integers(0, 10_000), st.lists(st.integers(0, 31), max_size=60))
def test_any_change_inside_a_real_invoice_is_survived(at: int, field: list[int]) -> None:
    """Fields of any length and content between the real ones raise nothing but BadInvoice."""
    hrp, data = taken_apart(make())
    at = 7 + at % (len(data) - 104 - 7)
    _decodes_or_refuses(with_checksum(hrp, data[:at] + field + data[at:]))


def _decodes_or_refuses(text: str) -> None:
    try:
        invoice = decode(text)
    except BadInvoice as bad:
        assert str(bad).endswith(".")
    else:
        assert len(bytes.fromhex(invoice.payment_hash)) == 32
        assert invoice.amount_msat is None or invoice.amount_msat > 0


def check(
    invoice: str, now: datetime = NOW, amount_msat: int = 21_000, network: str = "bcrt"
) -> None:
    check_payable(decode(invoice), amount_msat=Msat(amount_msat), network=network, now=now)


def test_an_exact_invoice_with_time_left_is_payable() -> None:
    """The exact amount, on our network, with more than the margin left, passes."""
    check(make(), now=NOW + timedelta(seconds=570))


@pytest.mark.parametrize(
    ("invoice", "now", "says"),
    [
        (make(amount_msat=None), NOW, "names no amount. Make one for exactly 21 sats."),
        (make(amount_msat=1_234_000), NOW, "asks for 1,234 sats, and 21 sats are owed"),
        (make(amount_msat=20_999), NOW, "asks for 20.999 sats, and 21 sats are owed"),
        (make(amount_msat=1_000), NOW, "asks for 1 sat, and 21 sats are owed"),
        (make(network="bc"), NOW, "is for Bitcoin, and we pay on regtest"),
        (make(network="tb"), NOW, "is for testnet, and we pay on regtest"),
        (make(), NOW + timedelta(seconds=600), "has expired. Make a new one."),
        (make(), NOW + timedelta(seconds=571), "about to expire: at least 30 seconds"),
    ],
)
def test_says_why_an_invoice_is_not_payable(invoice: str, now: datetime, says: str) -> None:
    """Each reason not to pay has a sentence of its own, that says what to do."""
    with pytest.raises(BadInvoice) as refused:
        check(invoice, now)
    assert says in str(refused.value)


@given(st.integers(1, 10**15), st.one_of(st.none(), st.integers(0, 10**12)))
def test_the_fee_limit_is_one_percent_at_least_a_sat_at_most_the_cap(
    amount_msat: int, cap_msat: int | None
) -> None:
    """Routing may cost 1 % rounded up, or a sat if that is more, and never more than the cap."""
    cap = None if cap_msat is None else Msat(cap_msat)
    limit_msat = fee_limit_msat(Msat(amount_msat), cap)
    if cap_msat is not None and cap_msat <= limit_msat:
        assert limit_msat == cap_msat
    else:
        assert limit_msat == max(1_000, -(-amount_msat // 100))


def test_a_rail_may_need_a_higher_least_fee_limit() -> None:
    """The least limit can be raised to what a rail's own reserve is, but not above the cap."""
    assert fee_limit_msat(sats_to_msat(10), None, Msat(2_000)) == 2_000
    assert fee_limit_msat(sats_to_msat(10), Msat(500), Msat(2_000)) == 500


def test_two_invoices_are_never_mistaken_for_each_other() -> None:
    """An invoice is equal to itself only: two with other hashes differ."""
    assert decode(make()) != decode(make(memo=secrets.token_hex(4)))


# --------------------------------------------------------------- why it can't be paid


P = field("p", words_of(bytes.fromhex(HASH)))
S = field("s", words_of(b"\x22" * 32))
D = field("d", words_of(b"a refund"))


def features(*bits: int) -> list[int]:
    """Return the field of features with these bits."""
    return field("9", number(sum(1 << bit for bit in bits)))


def test_a_handmade_invoice_is_read() -> None:
    """The fields of these tests make an invoice that can be paid; the order is their maker's."""
    for fields in (P + S + D, D + S + P, S + P + D + features(8, 14, 17, 49, 263)):
        read = decode(signed("lnbcrt210n", DATE + fields))
        assert (read.payment_hash, read.amount_msat) == (HASH, 21_000)
        assert read.expires_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("hrp", "fields", "says"),
    [
        ("lnbcrt210n", P + D + field("5", words_of(b"\x01" * 90)), "blinded path"),
        ("lnbcrt210n", P + D + field("5", []) + features(8, 262), "blinded path"),
        ("lnbcrt210n", P + D, "no payment secret"),
        ("lnbcrt210n", P + D + field("s", words_of(b"\x22" * 31)), "no payment secret"),
        ("lnbcrt210n", S + D, "no payment hash"),
        ("lnbcrt210n", P + S, "does not say what it is for"),
        ("lnbcrt210n", P + S + D + features(8, 14, 30), r"not known here \(bit 30\)"),
        ("lnbcrt210n", P + S + D + features(100), r"not known here \(bit 100\)"),
        ("lnbcrt210n", P + S + D + field("x", number(3 * 10**11)), "300,000,000,000 seconds"),
        ("lnbcrt210n", P + S + D + field("x", [31] * 40), "which no calendar"),
        ("lnbcrt0n", P + S + D, "asks for 0 sats"),
        ("lnbcrt0", P + S + D, "asks for 0 sats"),
        ("lnbcrt0210n", P + S + D, "begins with a zero"),
        ("lnbcrt210n", P + S + field("d", words_of(b"\xff\xfe")), "one of its fields"),
        ("lnbcrt210n", P + S + D + [1, 3], "one of its fields is cut"),
        ("lnbcrt210n", P + S + D + [1, 31, 31, 0], "one of its fields is cut"),
    ],
)
def test_an_invoice_that_can_not_be_paid_says_the_true_reason(
    hrp: str, fields: list[int], says: str
) -> None:
    """It is whole and signed, so nobody is told to copy it again for nothing."""
    with pytest.raises(BadInvoice, match=says) as raised:
        decode(signed(hrp, DATE + fields))
    assert "checksum" not in str(raised.value)


def test_an_expiry_of_no_digits_is_zero() -> None:
    """Such an invoice is born expired, and that is what is said of it."""
    for fields, says in ((field("x", []), "0 seconds"), (field("x", [0]), "has expired")):
        with pytest.raises(BadInvoice, match=says):
            read = decode(signed("lnbcrt210n", DATE + P + S + D + fields))
            check_payable(read, amount_msat=Msat(21_000), network="bcrt", now=NOW)


def test_what_was_cut_or_changed_is_told_from_what_is_short() -> None:
    """Only then a copy helps."""
    with pytest.raises(BadInvoice, match="checksum does not hold"):
        decode(make()[:-1])
    with pytest.raises(BadInvoice, match="too short to be signed"):
        decode(with_checksum("lnbcrt210n", DATE))


def test_an_amount_is_missing_on_the_wrong_network_or_named() -> None:
    """Three sentences, and none of them is damaged."""
    for text, says in (
        (make(amount_msat=None), "names no amount"),
        (make(network="tb"), "is for testnet"),
        (make(amount_msat=22_000), "asks for 22 sats"),
    ):
        with pytest.raises(BadInvoice, match=says):
            check_payable(decode(text), amount_msat=Msat(21_000), network="bcrt", now=NOW)
