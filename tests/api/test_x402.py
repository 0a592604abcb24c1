"""x402's three headers: what is offered, what is taken of a stranger, and what it is told."""

import base64
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payments.usdc.network import BASE, BASE_SEPOLIA
from payments.usdc.outcome import Declined, Failed, Outcome, Settled, Unknown, Used
from payments.usdc.payment import Payment
from payments.usdc.x402 import (
    LONGEST_HEADER,
    Flaw,
    Refused,
    Retry,
    header_of,
    next_step,
    read_header,
    read_payment,
    required,
    response,
)
from pricing.money import MicroUsdc
from tests.world.usdc_fixtures import (
    NOW,
    NOW_S,
    OFFER,
    SHOP,
    SHOP_KEY,
    WINDOW_S,
    Payer,
    header,
    offer_on,
    sent,
)

OFFERS = [offer_on(BASE), OFFER]
PAYER = Payer()


def test_what_is_offered_has_the_shape_that_stock_clients_read() -> None:
    """All the fields that any of them asks for: amounts are text, the name is the contract's own on
    each chain, and it is settled before anything is done for it."""
    told = required(OFFERS, "https://x.test/v1", "A picture", "Payment required")
    assert told == {
        "x402Version": 2,
        "error": "Payment required",
        "resource": {
            "url": "https://x.test/v1",
            "description": "A picture",
            "mimeType": "application/json",
        },
        "accepts": [
            {
                "scheme": "exact",
                "network": network,
                "amount": "50000",
                "asset": asset,
                "payTo": SHOP,
                "maxTimeoutSeconds": WINDOW_S,
                "extra": {"name": name, "version": "2", "paymentFlow": "upfront"},
            }
            for network, asset, name in (
                ("eip155:8453", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin"),
                ("eip155:84532", "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC"),
            )
        ],
    }
    assert json.loads(base64.b64decode(header_of(told))) == told == read_header(header_of(told))


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer.network.title)
def test_a_payment_for_an_offer_is_taken(offer: Any) -> None:
    """It is for that offer, and names its payer; what a client adds of its own is passed over."""
    paid = PAYER.pays(offer)
    told = sent(paid)
    told["extensions"] = {"payment-identifier": {"info": {"id": "x" * 20}}}
    told["resource"] = {"url": "https://x.test"}
    told["accepted"]["extra"]["more"] = 1
    assert read_payment(header_of(told), OFFERS, NOW) == paid


def test_addresses_are_the_same_in_any_letters() -> None:
    """Small letters hold no checksum, and are what some clients send."""
    paid = PAYER.pays(OFFER)
    told = sent(paid)
    for name in ("asset", "payTo"):
        told["accepted"][name] = told["accepted"][name].lower()
    order = told["payload"]["authorization"]
    for name in ("from", "to"):
        order[name] = order[name].lower()
    order["nonce"] = "0x" + order["nonce"][2:].upper()
    assert read_payment(header_of(told), OFFERS, NOW) == paid


def put(told: dict[str, Any], path: str, value: Any) -> None:
    """Put a value into an object, somewhere within."""
    *way, last = path.split(".")
    for name in way:
        told = told[name]
    told[last] = value


ORDER = "payload.authorization"


@pytest.mark.parametrize(
    ("path", "value", "flaw"),
    [
        ("x402Version", 1, Flaw.VERSION),
        ("x402Version", "2", Flaw.VERSION),
        ("x402Version", None, Flaw.VERSION),
        ("accepted", None, Flaw.UNREADABLE),
        ("accepted", [], Flaw.UNREADABLE),
        ("accepted.scheme", "upto", Flaw.SCHEME),
        ("accepted.network", "eip155:1", Flaw.NETWORK),
        ("accepted.network", ["eip155:84532"], Flaw.NETWORK),
        ("accepted.network", "base-sepolia", Flaw.NETWORK),
        ("accepted.network", "eip155:8453", Flaw.ASSET),  # with the other one's contract
        ("accepted.asset", SHOP, Flaw.ASSET),
        ("accepted.payTo", PAYER.address, Flaw.PAYEE),
        ("accepted.amount", "49999", Flaw.AMOUNT),
        ("accepted.amount", 50_000, Flaw.AMOUNT),
        ("accepted.maxTimeoutSeconds", 10**9, Flaw.TERMS),
        ("accepted.maxTimeoutSeconds", True, Flaw.TERMS),
        ("accepted.extra", None, Flaw.TERMS),
        ("accepted.extra.name", "USD Coin", Flaw.TERMS),
        ("accepted.extra.paymentFlow", "authorization", Flaw.TERMS),
        ("payload", None, Flaw.UNREADABLE),
        (ORDER, "x", Flaw.UNREADABLE),
        (f"{ORDER}.value", 50_000, Flaw.UNREADABLE),
        (f"{ORDER}.value", "050000", Flaw.UNREADABLE),
        (f"{ORDER}.value", "-1", Flaw.UNREADABLE),
        (f"{ORDER}.value", "٥٠٠٠٠", Flaw.UNREADABLE),
        (f"{ORDER}.value", str(2**256), Flaw.UNREADABLE),
        (f"{ORDER}.validBefore", "soon", Flaw.UNREADABLE),
        (f"{ORDER}.from", "0x1", Flaw.UNREADABLE),
        (f"{ORDER}.to", None, Flaw.UNREADABLE),
        (f"{ORDER}.nonce", "0x" + "0" * 63, Flaw.UNREADABLE),
        (f"{ORDER}.nonce", 0, Flaw.UNREADABLE),
        ("payload.signature", None, Flaw.UNREADABLE),
        ("payload.signature", "", Flaw.SIGNATURE),
        ("payload.signature", "0x" + "ab" * 65, Flaw.SIGNATURE),
        ("payload.signature", "0x" + "ab" * 66, Flaw.SMART_WALLET),
        (f"{ORDER}.to", PAYER.address, Flaw.PAYEE),
        (f"{ORDER}.value", "50001", Flaw.AMOUNT),
        (f"{ORDER}.validAfter", str(NOW_S), Flaw.NOT_YET),
        (f"{ORDER}.validBefore", str(NOW_S + 5), Flaw.EXPIRED),
        (f"{ORDER}.validBefore", str(NOW_S + WINDOW_S + 601), Flaw.TOO_LONG),
        (f"{ORDER}.nonce", "0x" + "00" * 32, Flaw.SIGNATURE),
        (f"{ORDER}.validAfter", "0", Flaw.SIGNATURE),
        (f"{ORDER}.from", SHOP, Flaw.OWN),
        (f"{ORDER}.from", "0x" + "11" * 20, Flaw.SIGNATURE),
    ],
)
def test_one_field_that_is_not_as_offered_is_refused_by_its_name(
    path: str, value: Any, flaw: Flaw
) -> None:
    """The first flaw has a code and a sentence, and says what a client does next."""
    told = deepcopy(sent(PAYER.pays(OFFER)))
    put(told, path, value)
    refused = read_payment(header_of(told), OFFERS, NOW)
    assert isinstance(refused, Refused) and refused.flaw is flaw
    assert refused.sentence.endswith(".")
    final = {Flaw.VERSION, Flaw.SCHEME, Flaw.SMART_WALLET, Flaw.OWN}
    assert refused.retry_action is (Retry.ABANDON if flaw in final else Retry.RESIGN)


@pytest.mark.parametrize("gone", ["x402Version", "accepted", "payload"])
def test_a_field_that_is_missing_is_refused(gone: str) -> None:
    """Nothing is filled in for a payer."""
    told = sent(PAYER.pays(OFFER))
    del told[gone]
    assert isinstance(read_payment(header_of(told), OFFERS, NOW), Refused)


@pytest.mark.parametrize(
    "changed",
    [
        {"amount_microusdc": 49_999},
        {"payee": PAYER.address},
        {"valid_after_s": NOW_S},
        {"valid_before_s": NOW_S},
        {"valid_before_s": 2**256 - 1},
    ],
)
def test_what_is_signed_well_for_other_terms_is_refused(changed: dict[str, Any]) -> None:
    """A signature that holds is not enough: the order must be the one that was offered."""
    assert isinstance(read_payment(header(PAYER.pays(OFFER, **changed)), OFFERS, NOW), Refused)


def test_a_signature_for_another_chain_is_refused() -> None:
    """The same order, signed to the contract of the other network."""
    there, here = PAYER.pays(offer_on(BASE)), PAYER.pays(OFFER)
    nonce = there.authorization.nonce
    mixed = replace(PAYER.pays(OFFER, nonce=nonce), signature=there.signature)
    refused = read_payment(header(mixed), OFFERS, NOW)
    assert isinstance(refused, Refused) and refused.flaw is Flaw.SIGNATURE
    assert isinstance(read_payment(header(here), OFFERS, NOW), Payment)


def test_an_order_of_the_paid_address_itself_is_refused() -> None:
    """It would move nothing, and be counted as paid."""
    shop = Payer()
    shop.key, shop.address = SHOP_KEY, SHOP
    refused = read_payment(header(shop.pays(OFFER)), OFFERS, NOW)
    assert isinstance(refused, Refused) and refused.flaw is Flaw.OWN


def base64_of(text: str | bytes) -> str:
    """Return what a header would carry."""
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


@pytest.mark.parametrize(
    "written",
    [
        "",
        "x",
        "{}",
        base64_of(""),
        base64_of("[]"),
        base64_of("null"),
        base64_of(b"\xff\xfe"),
        base64_of("[" * 6_000),
        base64_of('{"a":' * 2_000),
        base64_of('{"x402Version":2,"x402Version":2}'),
        base64_of('{"accepted":{"amount":"1","amount":"50000"}}'),
        base64_of('{"x402Version":NaN}'),
        base64_of('{"x402Version":' + "9" * 5_000 + "}"),
        base64_of("{}") + "\n\n!",
        base64_of("{}" + " " * LONGEST_HEADER),
        "é" + base64_of("{}"),
    ],
    ids=range(16),
)
def test_what_is_no_base64_of_one_object_is_refused(written: str) -> None:
    """Other text, other JSON, a field twice, nested without end, or longer than any payment."""
    refused = read_payment(written, OFFERS, NOW)
    assert isinstance(refused, Refused) and refused.flaw is Flaw.UNREADABLE


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
places = st.sampled_from(
    ["x402Version", "accepted", "payload", "payload.signature", ORDER, "accepted.extra"]
    + [f"accepted.{name}" for name in OFFER.requirements()]
    + [f"{ORDER}.{n}" for n in ("from", "to", "value", "validAfter", "validBefore", "nonce")]
)


@given(places, json_values, st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_whatever_is_sent_is_refused_and_breaks_nothing(path: str, value: Any, raw: bytes) -> None:
    """Any value in any field, and any bytes in place of it all."""
    told = deepcopy(SENT)
    put(told, path, value)
    assert told == SENT or isinstance(read_payment(header_of(told), OFFERS, NOW), Refused)
    assert isinstance(read_payment(base64_of(raw), OFFERS, NOW), Refused)
    assert isinstance(read_payment(raw.decode("latin-1"), OFFERS, NOW), Refused)


SENT = sent(PAYER.pays(OFFER))


def test_nothing_that_a_stranger_adds_goes_on_to_a_facilitator() -> None:
    """What it is asked with holds our requirements, the order and its signature alone."""
    paid = PAYER.pays(OFFER)
    told = {**sent(paid), "extensions": {"x": "\ud800"}, "resource": {"url": "javascript:x"}}
    told["accepted"] = {**told["accepted"], "planted": "y" * 500}
    read = read_payment(header_of(told), OFFERS, NOW)
    assert isinstance(read, Payment)
    asked = read.asked()
    assert asked == paid.asked() and asked["paymentRequirements"] == OFFER.requirements()
    assert set(asked["paymentPayload"]) == {"x402Version", "accepted", "payload"}


def settled_or_not() -> list[tuple[Settled | str, dict[str, Any]]]:
    """Return outcomes, and what is told of each."""
    named = {"network": "eip155:84532", "payer": PAYER.address}
    yes = {"success": True, "transaction": "0x" + "1" * 64, "amount": "50000"}
    no = {"success": False, "transaction": "", "errorReason": "settlement_pending"}
    return [
        (Settled("0x" + "1" * 64, MicroUsdc(50_000)), {**yes, **named}),
        ("settlement_pending", {**no, **named}),
    ]


@pytest.mark.parametrize(("outcome", "told"), settled_or_not())
def test_what_became_of_it_is_told_as_x402_writes_it(
    outcome: Settled | str, told: dict[str, Any]
) -> None:
    """Settled, with the transaction; or not, with the reason and no transaction."""
    assert response(BASE_SEPOLIA, PAYER.address, outcome) == told


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (Settled("0x" + "1" * 64, MicroUsdc(50_000)), (None, "settled")),
        (Refused(Flaw.AMOUNT, "x."), ("resign", "not_paid")),
        (Refused(Flaw.SMART_WALLET, "x."), ("abandon", "not_paid")),
        (Failed("expired"), ("resign", "not_paid")),
        (Declined("no", "insufficient_funds", is_early=True), ("resign", "not_paid")),
        (Declined("no", "transaction_failed"), ("retry_same_payment", "unknown")),
        (Used("used", "nonce_already_used"), ("retry_same_payment", "unknown")),
        (Unknown("lost"), ("retry_same_payment", "unknown")),
    ],
    ids=str,
)
def test_nobody_is_told_to_pay_anew_while_a_payment_may_have_moved(
    outcome: Outcome | Refused, told: tuple[str | None, str]
) -> None:
    """Another signature is asked for only where nothing was sent, or where it never will move."""
    assert next_step(outcome) == told


def test_the_header_of_an_answer_is_read_back() -> None:
    """Base64 of JSON, without a line end, in ASCII, whatever the description holds."""
    written = header_of(required([OFFER], "https://x.test/ä", "Ein Bild\n✓", "x"))
    assert written.isascii() and "\n" not in written
    read: Callable[[str], dict[str, Any] | None] = read_header
    assert (read(written) or {})["resource"]["description"] == "Ein Bild\n✓"
