"""A refund in USDC: our own signed order, whose nonce is made of the debt that it pays.

So the contract itself refuses to pay one debt twice, whatever we or a facilitator forget: signed
again with a later window, or for another address, handed over any number of times, it moves the
money once. It is never cancelled: that would mark the nonce as used, too.
"""

import hashlib
from dataclasses import replace
from datetime import datetime
from typing import Final

from payments.usdc.address import Address, address_of_key, read_address
from payments.usdc.authorization import Authorization, sign
from payments.usdc.network import Network
from payments.usdc.outcome import (
    Canceled,
    Facilitator,
    Failed,
    Ledger,
    Moved,
    Outcome,
    Settled,
    Unknown,
    Unused,
    Used,
)
from payments.usdc.payment import Payment, UsdcOffer
from pricing.money import MicroUsdc

WINDOW_S: Final = 600


class RefundKey:
    """The key of the address that refunds come from, on one network. It shows only the address."""

    __slots__ = ("_private_key", "address", "network")

    def __init__(self, private_key: bytes, network: Network) -> None:
        self._private_key, self.network = private_key, network
        self.address = address_of_key(private_key)

    def __repr__(self) -> str:
        return f"RefundKey({self.address}, {self.network.caip2})"

    def refund(
        self, payout_id: str, payee: Address, amount_microusdc: MicroUsdc, now: datetime
    ) -> Payment:
        """Return the signed order that pays a debt of ours."""
        unsigned = unsigned_refund(
            self.network, self.address, payout_id, payee, amount_microusdc, now
        )
        order = unsigned.authorization
        return replace(unsigned, signature=sign(self._private_key, order, self.network))


def unsigned_refund(
    network: Network,
    payer: Address,
    payout_id: str,
    payee: Address,
    amount_microusdc: MicroUsdc,
    now: datetime,
) -> Payment:
    """Return the order that pays a debt of ours as it is signed: enough to ask a chain about it."""
    order = Authorization(
        payer,
        payee,
        amount_microusdc,
        0,
        int(now.timestamp()) + WINDOW_S,
        refund_nonce(network, payout_id),
    )
    return Payment(UsdcOffer(network, payee, amount_microusdc, WINDOW_S), order, "")


def refund_to_of(network: str, payee: Address) -> str:
    """Return where a refund in USDC goes, as a text: a network as x402 names it, and an address."""
    return f"evm:{network}:{payee}"


def read_refund_to(text: str) -> tuple[str, Address] | None:
    """Return the network and the address that such a text names; None for any other."""
    of, _, named = text.partition(":")
    network, _, address = named.rpartition(":")
    payee = read_address(address)
    return (network, payee) if of == "evm" and network and payee is not None else None


def refund_nonce(network: Network, payout_id: str) -> str:
    """Return the nonce of the order that pays a debt: the same for ever."""
    named = f"boltwork:refund:{network.caip2}:{payout_id}"
    return "0x" + hashlib.sha256(named.encode()).hexdigest()


async def what_became(refund: Payment, ledger: Ledger | None, facilitator: Facilitator) -> Outcome:
    """Say whether a debt of ours is paid, by this order or by another one of the same nonce.

    We alone sign for this nonce, and never cancel: used is paid. Without a chain to ask, a
    facilitator that calls the nonce used says it; that nothing moved, it can never say.
    """
    amount_microusdc = refund.authorization.amount_microusdc
    if ledger is None:
        said = await facilitator.verify(refund)
        if isinstance(said, Used):
            return Settled("", amount_microusdc)
        return said if isinstance(said, Unknown) else Unknown("the facilitator would still send it")
    use = await ledger.use_of(refund.authorization)
    match use:
        case Moved(transaction, _, moved_microusdc):
            return Settled(transaction, moved_microusdc)
        case Canceled():
            return Unknown("the refund's nonce was cancelled, which we never do: look at the key")
        case Unused(until_s) if until_s >= refund.authorization.valid_before_s:
            return Failed("it has expired, and was never sent")
        case Unused():
            return Unknown("it is not sent yet, in any block so deep that it stays")
    return use
