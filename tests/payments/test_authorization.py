"""Signed orders to move USDC: the same to the byte as those of others, and in one form only."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payments.usdc.address import Address, address_of_key, keccak, read_address
from payments.usdc.authorization import Authorization, sign, signature_of, signer_of
from payments.usdc.network import BASE, BASE_SEPOLIA, Network, domain_separator
from pricing.money import MicroUsdc

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
KEY = keccak(b"a payer")
# The example of a payment that the specification of x402 v2 gives.
PUBLISHED = Authorization(
    Address("0x857b06519E91e3A54538791bDbb0E22373e36b66"),
    Address("0x209693Bc6afc0C5328bA36FaF03C514EF312287C"),
    MicroUsdc(10_000),
    1_740_672_089,
    1_740_672_154,
    "0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480",
)
PUBLISHED_SIGNATURE = (
    "0x2d6a7588d6acca505cbf0d9a4a227e0c52c6c34008c8e8986a12832597641736"
    "08a2ce6496642e377d6da8dbbf5836e9bd15092f9ecab05ded3d6293af148b571c"
)
words = st.integers(0, 2**256 - 1)
keys = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
orders = st.builds(
    lambda payee, amount, after, before, nonce: Authorization(
        address_of_key(KEY), payee, MicroUsdc(amount), after, before, "0x" + nonce.hex()
    ),
    keys.map(address_of_key),
    words,
    words,
    words,
    st.binary(min_size=32, max_size=32),
)


@pytest.mark.parametrize(
    "written",
    [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        BASE.token,
        BASE_SEPOLIA.token,
    ],
)
def test_the_capitals_of_an_address_are_its_checksum(written: str) -> None:
    """The examples of EIP-55: as they are, or in small letters; one wrong capital is a slip."""
    assert read_address(written) == written == read_address(written.lower())
    at = next(i for i, c in enumerate(written) if i > 1 and c.isalpha())
    assert read_address(written[:at] + written[at].swapcase() + written[at + 1 :]) is None


@pytest.mark.parametrize(
    "text", ["", "0x", BASE.token[2:], BASE.token + "0", BASE.token[:-1] + "g", BASE.token + "\n"]
)
def test_another_text_is_no_address(text: str) -> None:
    """Twenty bytes in hex behind 0x, and nothing else."""
    assert read_address(text) is None


def test_the_published_example_of_eip_712_comes_out_alike() -> None:
    """The separator of "Ether Mail", and the signature that Cow makes of the example's hash."""
    contract = Address("0x" + "C" * 40)
    separator = "f2cee375fa42b42143804025fc449deafd50cc031ca257e0b194a650a912090f"
    assert domain_separator("Ether Mail", "1", 1, contract).hex() == separator
    cow, digest = keccak(b"cow"), "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"
    made = signature_of(cow, bytes.fromhex(digest))
    assert made == (
        "0x4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d"
        "07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b915621c"
    )
    assert signer_of(bytes.fromhex(digest), made) == "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"


@pytest.mark.parametrize(
    ("network", "separator"),
    [
        (BASE, "02fa7265e7c5d81118673727957699e4d68f74cd74b7db77da710fe8a2c7834f"),
        (BASE_SEPOLIA, "71f17a3b2ff373b803d70a5a07c046c1a2bc8e89c09ef722fcb047abe94c9818"),
    ],
)
def test_each_network_has_the_separator_that_its_contract_tells(
    network: Network, separator: str
) -> None:
    """What DOMAIN_SEPARATOR() of USDC answers there: name, version, chain and address are right."""
    assert network.domain_separator.hex() == separator
    assert network.caip2 == f"eip155:{network.chain_id}"


def test_the_published_payment_of_x402_is_its_payers() -> None:
    """The example of the specification is signed by the payer it names, and on no other chain."""
    assert PUBLISHED.is_signed_by_payer(BASE_SEPOLIA, PUBLISHED_SIGNATURE)
    assert PUBLISHED.is_signed_by_payer(BASE_SEPOLIA, PUBLISHED_SIGNATURE.upper().replace("X", "x"))
    assert not PUBLISHED.is_signed_by_payer(BASE, PUBLISHED_SIGNATURE)


@given(keys, st.binary(min_size=32, max_size=32))
@settings(max_examples=60, deadline=None)
def test_who_signs_is_found_again(key: bytes, digest: bytes) -> None:
    """From the hash and the signature alone; the same key signs the same hash in the same way."""
    made = signature_of(key, digest)
    assert signer_of(digest, made) == address_of_key(key)
    assert made == signature_of(key, digest) and made[-2:] in ("1b", "1c")
    assert int(made[66:130], 16) <= ORDER // 2


@given(orders, st.data())
@settings(max_examples=60, deadline=None)
def test_a_signature_holds_for_all_that_was_signed(
    order: Authorization, data: st.DataObject
) -> None:
    """Whatever of it is changed, by as little as one: the payer has not signed that."""
    made = sign(KEY, order, BASE)
    assert order.is_signed_by_payer(BASE, made) and not order.is_signed_by_payer(BASE_SEPOLIA, made)
    field = data.draw(st.sampled_from(["amount_microusdc", "valid_after_s", "valid_before_s"]))
    number = getattr(order, field)
    changes = {field: number + 1 if number < 2**256 - 1 else number - 1}
    assert not replace(order, **changes).is_signed_by_payer(BASE, made)
    nonce = "0x" + (int(order.nonce, 16) ^ 1).to_bytes(32, "big").hex()
    assert not replace(order, nonce=nonce).is_signed_by_payer(BASE, made)
    assert not replace(order, payee=BASE.token).is_signed_by_payer(BASE, made)
    assert not replace(order, payer=BASE.token).is_signed_by_payer(BASE, made)


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=40, deadline=None)
def test_a_signature_has_one_form(digest: bytes) -> None:
    """With the other `s`, with `v` from 0, shorter, longer, or unfinished, it is none."""
    made = bytes.fromhex(signature_of(KEY, digest)[2:])
    other_s = (ORDER - int.from_bytes(made[32:64], "big")).to_bytes(32, "big")
    for raw in (
        made[:32] + other_s + bytes([55 - made[64]]),  # the same point, the other way round
        made[:64] + bytes([made[64] - 27]),
        made[:64] + bytes([made[64] + 2]),
        made[:64],
        made + b"\0",
        bytes(64) + b"\x1b",
        b"\xff" * 32 + made[32:],
    ):
        assert signer_of(digest, "0x" + raw.hex()) is None
    assert signer_of(digest, made.hex()) is None


@given(st.text(max_size=140))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_as_a_signature_or_none(text: str) -> None:
    """Nothing that somebody sends makes reading fail."""
    assert signer_of(bytes(32), text) is None and signer_of(bytes(32), "0x" + text) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": PUBLISHED.nonce.upper()},
        {"nonce": PUBLISHED.nonce[:-1]},
        {"amount_microusdc": -1},
        {"valid_before_s": 2**256},
    ],
)
def test_what_no_contract_could_be_given_is_no_authorization(changed: dict[str, object]) -> None:
    """A nonce is 32 bytes in small hex digits, a number has 256 bits and no sign."""
    with pytest.raises(ValueError):
        replace(PUBLISHED, **changed)  # type: ignore[arg-type]


def test_only_the_payer_signs() -> None:
    """With another key than that of its payer nothing is signed."""
    with pytest.raises(ValueError, match="payer"):
        sign(KEY, PUBLISHED, BASE)
