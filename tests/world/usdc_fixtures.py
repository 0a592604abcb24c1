"""Payers, offers and signed orders in USDC, for the tests."""

from dataclasses import dataclass, field
from typing import Any

from payments.usdc.address import address_of_key, keccak
from payments.usdc.authorization import Authorization, sign
from payments.usdc.network import BASE_SEPOLIA, Network
from payments.usdc.payment import Payment, UsdcOffer
from payments.usdc.x402 import header_of
from pricing.money import MicroUsdc
from tests.world.clock import Clock

NOW = Clock().now
NOW_S = int(NOW.timestamp())
WINDOW_S = 300
PRICE = MicroUsdc(50_000)
SHOP_KEY = keccak(b"the shop")
SHOP = address_of_key(SHOP_KEY)


def offer_on(network: Network, amount_microusdc: int = PRICE) -> UsdcOffer:
    """Return an offer of the shop's."""
    return UsdcOffer(network, SHOP, MicroUsdc(amount_microusdc), WINDOW_S)


@dataclass
class Payer:
    """Somebody with a key, who signs a new nonce each time."""

    name: str = "a payer"
    signed: int = 0
    key: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.key = keccak(self.name.encode())
        self.address = address_of_key(self.key)

    def nonce(self) -> str:
        """Return the next nonce."""
        self.signed += 1
        return "0x" + keccak(f"{self.name} {self.signed}".encode()).hex()

    def pays(self, offer: UsdcOffer, now_s: int = NOW_S, **changed: Any) -> Payment:
        """Return a payment for an offer; what is changed is signed, too."""
        told = {
            "payer": self.address,
            "payee": offer.pay_to,
            "amount_microusdc": offer.amount_microusdc,
            "valid_after_s": now_s - 600,
            "valid_before_s": now_s + WINDOW_S,
        }
        nonce = changed.pop("nonce", None) or self.nonce()
        order = Authorization(**{**told, **changed}, nonce=nonce)
        return Payment(offer, order, sign(self.key, order, offer.network))


def sent(payment: Payment) -> dict[str, Any]:
    """Return what a client sends of a payment."""
    payload: dict[str, Any] = payment.asked()["paymentPayload"]
    return payload


def header(payment: Payment) -> str:
    """Return the header that a client sends of a payment."""
    return header_of(sent(payment))


OFFER = offer_on(BASE_SEPOLIA)
