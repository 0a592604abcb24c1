"""A payment in USDC: what was offered, and the payer's signed order for it.

What a facilitator is given is written anew from these: nothing that a stranger sent along with it
goes any further.
"""

from dataclasses import dataclass
from typing import Any, Final

from payments.usdc.address import Address
from payments.usdc.authorization import Authorization
from payments.usdc.network import Network
from pricing.money import MicroUsdc

VERSION: Final = 2  # of x402
SCHEME: Final = "exact"
FLOW: Final = "upfront"  # settled before anything is done for it


@dataclass(frozen=True, slots=True)
class UsdcOffer:
    """One way to pay for one thing: so much, to whom, on which chain, within which time."""

    network: Network
    pay_to: Address
    amount_microusdc: MicroUsdc
    window_s: int  # the longest that an order may be valid
    cell: str = ""  # whose offer it is, where there are several: payers send it back

    def requirements(self) -> dict[str, Any]:
        """Return it as x402 writes it (PaymentRequirements): all that stock clients ask for."""
        return {
            "scheme": SCHEME,
            "network": self.network.caip2,
            "amount": str(self.amount_microusdc),
            "asset": self.network.token,
            "payTo": self.pay_to,
            "maxTimeoutSeconds": self.window_s,
            "extra": {
                "name": self.network.token_name,
                "version": self.network.token_version,
                "paymentFlow": FLOW,
                **({"cell": self.cell} if self.cell else {}),
            },
        }


@dataclass(frozen=True, slots=True)
class Payment:
    """A signed order for an offer."""

    offer: UsdcOffer
    authorization: Authorization
    signature: str

    @property
    def network(self) -> Network:
        """Return the chain that it is paid on."""
        return self.offer.network

    def asked(self) -> dict[str, Any]:
        """Return what a facilitator is asked with, to verify or to settle."""
        order, requirements = self.authorization, self.offer.requirements()
        return {
            "x402Version": VERSION,
            "paymentPayload": {
                "x402Version": VERSION,
                "accepted": requirements,
                "payload": {
                    "signature": self.signature,
                    "authorization": {
                        "from": order.payer,
                        "to": order.payee,
                        "value": str(order.amount_microusdc),
                        "validAfter": str(order.valid_after_s),
                        "validBefore": str(order.valid_before_s),
                        "nonce": order.nonce,
                    },
                },
            },
            "paymentRequirements": requirements,
        }
