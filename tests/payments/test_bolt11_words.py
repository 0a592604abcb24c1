"""An invoice's words are read as another reader of the standard reads them."""

import bolt11 as lightning
import pytest
from coincurve import PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from payments.bolt11_words import Malformed, Words, number, parse
from tests.world.invoices import (
    DATE,
    KEY,
    field,
    make,
    signed,
    taken_apart,
    with_checksum,
    words_of,
)

NODE = PrivateKey(bytes.fromhex(KEY)).public_key.format()
OTHER = PrivateKey(bytes.fromhex("33" * 32)).public_key.format()

words = st.lists(st.integers(0, 31), max_size=60)
octets = st.binary(max_size=40)
AMOUNTS = st.one_of(
    st.just(""),
    st.builds(lambda n, unit: f"{n}{unit}", st.integers(1, 10**8), st.sampled_from(["", *"mun"])),
    st.builds(lambda n: f"{n}0p", st.integers(1, 10**15)),
)
PREFIXES = st.builds("ln{}{}".format, st.sampled_from(["bc", "tb", "tbs", "bcrt"]), AMOUNTS)
FIELDS = st.one_of(
    st.builds(lambda it: field("p", words_of(it)), st.binary(min_size=32, max_size=32)),
    st.builds(lambda it: field("s", words_of(it)), st.binary(min_size=32, max_size=32)),
    st.builds(lambda it: field("h", words_of(it)), st.binary(min_size=32, max_size=32)),
    st.builds(lambda it: field("d", words_of(it.encode())), st.text(max_size=20)),
    st.builds(lambda it: field("d", it), words),
    st.builds(lambda it: field("m", words_of(it)), octets),
    st.builds(lambda it: field("n", words_of(it)), st.sampled_from([NODE, NODE, OTHER])),
    st.builds(field, st.sampled_from("pshn"), words),
    st.builds(field, st.sampled_from("xcf9"), words),
    st.builds(lambda it: field("r", words_of(it)), st.binary(max_size=120)),
    st.builds(field, st.sampled_from("qyzgt2vw0jk4e6ul7a358"), words),  # nobody knows these
)


def as_the_library_reads(text: str) -> lightning.Bolt11 | None:
    """Return what the library for BOLT 11 makes of it; None: nothing."""
    try:
        return lightning.decode(text, ignore_exceptions=True)
    except Exception:
        return None


def as_we_read(text: str) -> tuple[Words, str] | None:
    """Return our words, and who signed them; None: nothing."""
    try:
        return (read := parse(text)), read.signed_by()
    except Malformed as malformed:
        assert str(malformed).endswith(".")
        return None


def hexed(read: Words, letter: str) -> str | None:
    """Return a field as the library gives it."""
    held = read.octets(letter)
    return None if held is None else held.hex()


def is_text(read: Words) -> bool:
    """Say whether the description that counts, if there is one, is text."""
    try:
        (read.octets("d") or b"").decode()
    except UnicodeDecodeError:
        return "h" in read.fields and [*read.fields].index("h") < [*read.fields].index("d")
    return True


def check_same(text: str) -> None:
    """Both read the same, or both refuse it."""
    theirs, ours = as_the_library_reads(text), as_we_read(text)
    if ours is None or theirs is None:
        # What a description says is looked at after the words are read.
        is_theirs_alone = ours is not None and not is_text(ours[0])
        has_no_expiry = ours is not None and ours[0].fields.get("x") == []
        assert (ours is None and theirs is None) or is_theirs_alone or has_no_expiry, (ours, theirs)
        return
    read, payee = ours
    assert (read.network, read.date, payee) == (theirs.currency, theirs.date, theirs.payee)
    assert read.amount_msat == theirs.amount_msat
    assert hexed(read, "p") == (theirs.payment_hash if theirs.has_payment_hash else None)
    assert hexed(read, "s") == theirs.payment_secret
    assert hexed(read, "m") == theirs.metadata
    first = next((letter for letter in read.fields if letter in "dh"), None)
    assert theirs.description == ((read.octets("d") or b"").decode() if first == "d" else None)
    assert theirs.description_hash == (hexed(read, "h") if first == "h" else None)
    assert theirs.expiry == (number(read.fields["x"]) if "x" in read.fields else 3_600)


@given(PREFIXES, st.lists(FIELDS, max_size=8), st.booleans())
@example("lnbc", [field("c", [])], True)
@example("lnbc", [field("f", [])], True)
@example("lnbc", [field("n", words_of(OTHER))], True)
@example("lnbc", [field("n", words_of(b"\xff" * 33))], True)
@example("lnbc", [field("n", words_of(OTHER)), field("n", words_of(NODE))], True)
@example("lnbc1", [], True)
def test_every_signed_invoice_is_read_as_the_library_reads_it(
    prefix: str, fields: list[list[int]], is_ours: bool
) -> None:
    """Amount, date, payee and all fields agree, whatever is in it and whoever signed it."""
    data = DATE + [word for each in fields for word in each]
    check_same(signed(prefix, data, KEY if is_ours else "33" * 32))


@given(st.binary(min_size=65, max_size=65), st.lists(FIELDS, max_size=3))
@example(b"\0" * 65, [])
@example(b"\xff" * 65, [])
@example(b"\x01" * 64 + b"\x04", [])
def test_every_signature_is_judged_as_the_library_judges_it(
    signature: bytes, fields: list[list[int]]
) -> None:
    """Any 65 octets are of a node, or of none."""
    data = DATE + [word for each in fields for word in each]
    check_same(with_checksum("lnbcrt210n", data + words_of(signature)))


@given(st.integers(0, 10_000), st.integers(0, 31))
def test_a_word_that_was_changed_is_another_node_or_nobody(at: int, word: int) -> None:
    """With the checksum made right again, the signature tells: it is no longer of this node."""
    prefix, data = taken_apart(make())
    changed = [*data]
    changed[at % len(data)] = word
    text = with_checksum(prefix, changed)
    check_same(text)
    read = as_we_read(text)
    assert changed == data or read is None or read[1] != NODE.hex() or changed[:-1] == data[:-1]


def test_high_s_is_recovered_and_not_verified() -> None:
    """The other one of two signatures: taken where the key is recovered, not for a named node."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    for fields, is_read in (([], True), (field("n", words_of(NODE)), False)):
        prefix, data = taken_apart(signed("lnbcrt210n", DATE + fields))
        packed = number(data[-104:]).to_bytes(65, "big")
        high = order - int.from_bytes(packed[32:64], "big")
        turned = packed[:32] + high.to_bytes(32, "big") + bytes([packed[64] ^ 1])
        text = with_checksum(prefix, data[:-104] + words_of(turned))
        check_same(text)
        assert (as_we_read(text) is not None) is is_read


@pytest.mark.parametrize(
    "text", ["lnbc1", "LNBC1QQ", "lnbc1b", "lnxy1qq", "lnbc1qq\n", "\u0131nbc1qq"]
)
def test_what_has_not_the_shape_is_refused(text: str) -> None:
    """Nothing behind the prefix, capitals, letters outside the charset, other prefixes."""
    with pytest.raises(Malformed, match="not a Lightning invoice"):
        parse(text)
