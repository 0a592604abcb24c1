"""The wire of x402 v2: three headers, each base64 of a JSON object.

`PAYMENT-REQUIRED` says what is asked for, `PAYMENT-SIGNATURE` brings a signed order, and
`PAYMENT-RESPONSE` says what became of it. What a stranger sends is read strictly and within
bounds, and compared with our own offers field by field: any text gives a Payment or a Refused.
"""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from payments.usdc.address import Address, read_address
from payments.usdc.authorization import Authorization
from payments.usdc.network import Network
from payments.usdc.outcome import Declined, Failed, Outcome, Settled
from payments.usdc.payment import SCHEME, VERSION, Payment, UsdcOffer
from pricing.money import MicroUsdc

REQUIRED: Final = "PAYMENT-REQUIRED"
SIGNATURE: Final = "PAYMENT-SIGNATURE"
RESPONSE: Final = "PAYMENT-RESPONSE"

LONGEST_HEADER: Final = 16_384  # real ones have one to three thousand characters
LEAST_LEFT_S: Final = 6  # as facilitators want: below that they do not begin
CLOCKS_APART_S: Final = 600  # how wrong a payer's clock may be, and its window therefore longer

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,77}")
_NONCE: Final = re.compile(r"0x[0-9a-fA-F]{64}")
_PLAIN_SIGNATURE: Final = 2 + 2 * 65


class Retry(StrEnum):
    """What a client does next (`retry_action`)."""

    RESIGN = "resign"  # sign anew, for what the offer says
    RETRY_SAME_PAYMENT = "retry_same_payment"  # send the same header again
    POLL = "poll"
    WAIT_AND_RETRY = "wait_and_retry"
    ABANDON = "abandon"


class PaymentState(StrEnum):
    """Where a payment stands, as an answer tells it (`payment_state`)."""

    NOT_PAID = "not_paid"
    UNKNOWN = "unknown"  # it may have moved the money, or may yet do so: nobody pays again for it
    SETTLED = "settled"


class Flaw(StrEnum):
    """Why a payment is refused before anything is done with it. Nothing has moved."""

    UNREADABLE = "invalid_payload"
    VERSION = "invalid_x402_version"
    SCHEME = "unsupported_scheme"
    NETWORK = "invalid_network"
    ASSET = "invalid_exact_evm_asset"
    AMOUNT = "invalid_exact_evm_payload_authorization_value_mismatch"
    PAYEE = "invalid_exact_evm_payload_recipient_mismatch"
    TERMS = "invalid_payment_requirements"
    NOT_YET = "invalid_exact_evm_payload_authorization_valid_after"
    EXPIRED = "invalid_exact_evm_payload_authorization_valid_before"
    TOO_LONG = "invalid_exact_evm_payload_authorization_window"
    OWN = "invalid_exact_evm_payload_payer"
    SMART_WALLET = "invalid_exact_evm_payload_smart_wallet"
    SIGNATURE = "invalid_exact_evm_payload_signature"


_ABANDONED: Final = frozenset({Flaw.SMART_WALLET, Flaw.OWN, Flaw.VERSION, Flaw.SCHEME})


@dataclass(frozen=True, slots=True)
class Refused:
    """What was meant as a payment and is none for us: which flaw, and what to do, for its sender.

    Nothing has moved.
    """

    flaw: Flaw
    sentence: str

    @property
    def retry_action(self) -> Retry:
        """Return what a client does next."""
        return Retry.ABANDON if self.flaw in _ABANDONED else Retry.RESIGN


def next_step(outcome: Outcome | Refused) -> tuple[Retry | None, PaymentState]:
    """Return what a client does next, and where its payment stands. Where it has the address of
    what it buys, it polls that in place of sending the same payment again.

    Never "sign another one" while the first may have paid: a client that does pays twice.
    """
    match outcome:
        case Refused():
            return outcome.retry_action, PaymentState.NOT_PAID
        case Settled():
            return None, PaymentState.SETTLED
        case Failed() | Declined(is_early=True):
            return Retry.RESIGN, PaymentState.NOT_PAID
    return Retry.RETRY_SAME_PAYMENT, PaymentState.UNKNOWN


def required(offers: Sequence[UsdcOffer], url: str, description: str, error: str) -> dict[str, Any]:
    """Return what a 402 asks for (PaymentRequired), for its header and for its body."""
    return {
        "x402Version": VERSION,
        "error": error,
        "resource": {"url": url, "description": description, "mimeType": "application/json"},
        "accepts": [offer.requirements() for offer in offers],
    }


def response(network: Network, payer: Address, outcome: Settled | str) -> dict[str, Any]:
    """Return what became of a payment (SettleResponse): settled, or the reason why not (yet)."""
    if isinstance(outcome, str):
        failed = {"success": False, "errorReason": outcome, "transaction": ""}
        return {**failed, "network": network.caip2, "payer": payer}
    return {
        "success": True,
        "transaction": outcome.transaction,
        "network": network.caip2,
        "payer": payer,
        "amount": str(outcome.amount_microusdc),
    }


def header_of(told: dict[str, Any]) -> str:
    """Return an object as a header carries it."""
    return base64.b64encode(json.dumps(told, separators=(",", ":")).encode()).decode()


def read_header(header: str) -> dict[str, Any] | None:
    """Return the object that a header carries; None for what carries none."""
    if len(header) > LONGEST_HEADER:
        return None
    try:
        text = base64.b64decode(header.strip(" \t"), validate=True).decode()
        read = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (binascii.Error, ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def read_payment(header: str, offers: Sequence[UsdcOffer], now: datetime) -> Payment | Refused:
    """Return the signed order that a PAYMENT-SIGNATURE brings, for the offer that it takes.

    It is signed by its payer, for all that the offer says, and it can be settled now.
    """
    told = read_header(header)
    if told is None:
        return Refused(
            Flaw.UNREADABLE,
            f"{SIGNATURE} must be base64 of one JSON object, of at most"
            f" {LONGEST_HEADER:,} characters in all.",
        )
    if type(told.get("x402Version")) is not int or told["x402Version"] != VERSION:
        return Refused(Flaw.VERSION, "This server speaks version 2 of x402 (`x402Version`: 2).")
    accepted = told.get("accepted")
    if not isinstance(accepted, dict):
        return Refused(Flaw.UNREADABLE, "`accepted` must be one of the offers under `accepts`.")
    offer = _taken(accepted, offers)
    if isinstance(offer, Refused):
        return offer
    order = read_order(told.get("payload"))
    if isinstance(order, Refused):
        return order
    authorization, signature = order
    flaw = _differs(authorization, offer) or _untimely(authorization, offer, now)
    if flaw is not None:
        return flaw
    if len(signature) > _PLAIN_SIGNATURE:
        return Refused(
            Flaw.SMART_WALLET,
            "The signature is that of a smart wallet. Pay from an account with a key of its own.",
        )
    if not authorization.is_signed_by_payer(offer.network, signature):
        return Refused(
            Flaw.SIGNATURE,
            f"The signature is not that of `from` for this order. Sign it for"
            f" {offer.network.token_name!r}, version {offer.network.token_version}, on chain"
            f" {offer.network.chain_id}, with 65 bytes and a low s.",
        )
    return Payment(offer, authorization, signature)


def order_in(header: str) -> tuple[str, Authorization, str] | None:
    """Return the order that a PAYMENT-SIGNATURE holds, whether or not it can be taken now: on which
    chain, the order, and its signature. None where it holds none.
    """
    told = read_header(header) or {}
    accepted, order = told.get("accepted"), read_order(told.get("payload"))
    network = accepted.get("network") if isinstance(accepted, dict) else None
    if isinstance(order, Refused) or not isinstance(network, str):
        return None
    return network, *order


def _taken(accepted: dict[str, Any], offers: Sequence[UsdcOffer]) -> UsdcOffer | Refused:
    """Return the offer that was accepted, which must be ours in every field that we wrote."""
    if accepted.get("scheme") != SCHEME:
        return Refused(Flaw.SCHEME, "`accepted.scheme` must be exact: no other one is offered.")
    by_name = {offer.network.caip2: offer for offer in offers}
    name = accepted.get("network")
    offer = by_name.get(name) if isinstance(name, str) else None
    if offer is None:
        names = " or ".join(by_name)
        return Refused(Flaw.NETWORK, f"`accepted.network` must be {names}, as offered.")
    return _other_terms(accepted, offer) or offer


def _other_terms(accepted: dict[str, Any], offer: UsdcOffer) -> Refused | None:
    ours = offer.requirements()
    for field, flaw in (
        ("asset", Flaw.ASSET),
        ("payTo", Flaw.PAYEE),
        ("amount", Flaw.AMOUNT),
        ("maxTimeoutSeconds", Flaw.TERMS),
    ):
        if not _same(accepted.get(field), ours[field]):
            return Refused(flaw, f"`accepted.{field}` must be {ours[field]}, as offered.")
    extra = accepted.get("extra")
    for field, value in ours["extra"].items():
        if not isinstance(extra, dict) or extra.get(field) != value:
            return Refused(Flaw.TERMS, f"`accepted.extra.{field}` must be {value}, as offered.")
    return None


def _same(given: object, ours: object) -> bool:
    if isinstance(ours, str) and isinstance(given, str) and ours.startswith("0x"):
        return given.lower() == ours.lower()
    return type(given) is type(ours) and given == ours


def read_order(payload: object) -> tuple[Authorization, str] | Refused:
    """Return the order and its signature, each field of its one form."""
    if not isinstance(payload, dict) or not isinstance(payload.get("authorization"), dict):
        return Refused(Flaw.UNREADABLE, "`payload.authorization` must be an object of EIP-3009.")
    told: dict[str, Any] = payload["authorization"]
    numbers = [told.get(name) for name in ("value", "validAfter", "validBefore")]
    if not all(isinstance(n, str) and _NUMBER.fullmatch(n) and int(n) < 2**256 for n in numbers):
        return Refused(
            Flaw.UNREADABLE,
            "`value`, `validAfter` and `validBefore` must be whole numbers, written as strings.",
        )
    nonce, signature = told.get("nonce"), payload.get("signature")
    parties = [told.get("from"), told.get("to")]
    payer, payee = (read_address(p) if isinstance(p, str) else None for p in parties)
    if payer is None or payee is None:
        return Refused(Flaw.UNREADABLE, "`from` and `to` must be addresses, 0x and 40 hex digits.")
    if not isinstance(nonce, str) or not _NONCE.fullmatch(nonce):
        return Refused(Flaw.UNREADABLE, "`nonce` must be 0x and 64 hex digits.")
    if not isinstance(signature, str):
        return Refused(Flaw.UNREADABLE, "`payload.signature` must be 0x and 130 hex digits.")
    value, after_s, before_s = (int(str(number)) for number in numbers)
    order = Authorization(payer, payee, MicroUsdc(value), after_s, before_s, nonce.lower())
    return order, signature


def _differs(order: Authorization, offer: UsdcOffer) -> Refused | None:
    if order.payee != offer.pay_to:
        return Refused(Flaw.PAYEE, f"`to` must be {offer.pay_to}, as offered.")
    if order.amount_microusdc != offer.amount_microusdc:
        return Refused(Flaw.AMOUNT, f"`value` must be {offer.amount_microusdc}, as offered.")
    if order.payer == offer.pay_to:
        return Refused(Flaw.OWN, "`from` is the address that is paid. Pay from one of yours.")
    return None


def _untimely(order: Authorization, offer: UsdcOffer, now: datetime) -> Refused | None:
    now_s = int(now.timestamp())
    if order.valid_after_s >= now_s:
        return Refused(Flaw.NOT_YET, "`validAfter` lies ahead. Sign with a time that has passed.")
    if order.valid_before_s < now_s + LEAST_LEFT_S:
        return Refused(Flaw.EXPIRED, "`validBefore` has passed, or is too near. Sign anew.")
    if order.valid_before_s > now_s + offer.window_s + CLOCKS_APART_S:
        return Refused(
            Flaw.TOO_LONG,
            f"`validBefore` must be at most {offer.window_s} seconds ahead, as offered.",
        )
    return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a field is given twice")
    return read


def _no_number(name: str) -> Any:
    raise ValueError(name)
