"""A withdrawal in words: what a wallet shows to its holder, who approves it by signing.

The same text is written where the message is asked for, and where its signature is shown: a
signature approves the withdrawal that it names, and no other.
"""

from dataclasses import dataclass

from payments.bolt11 import Invoice
from payments.lnurl import Destination
from payments.usdc.address import Address
from payments.usdc.network import Network
from pricing.money import MicroUsdc, Msat, sats_text, usdc_text
from statemachine.entries import Asset


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What is to be taken out, and where it goes."""

    asset: Asset
    amount: int  # in the smallest unit of the asset
    to: str  # in words that a wallet can show: printable ASCII, as ERC-4361 has it

    @property
    def statement(self) -> str:
        """Return the sentence that is signed."""
        usdc = self.asset is Asset.MICROUSDC
        amount = f"{usdc_text(self.amount)} USDC" if usdc else f"{sats_text(self.amount)} sats"
        return f"I take {amount} out of my Boltwork account, to {self.to}. This moves money."


def to_invoice(invoice: Invoice, amount_msat: Msat) -> Withdrawal:
    """Return the withdrawal that pays an invoice, and takes out so much for it."""
    return Withdrawal(Asset.MSAT, amount_msat, f"the invoice {invoice.bolt11}")


def to_destination(amount_msat: Msat, to: Destination | None) -> Withdrawal:
    """Return the withdrawal to a destination; None: to whoever scans its code."""
    where = "whoever scans its code" if to is None else to.text
    return Withdrawal(Asset.MSAT, amount_msat, where)


def to_wallet(amount: MicroUsdc, to: Address, network: Network) -> Withdrawal:
    """Return the withdrawal of USDC to a wallet on a chain."""
    return Withdrawal(Asset.MICROUSDC, amount, f"{to} on {network.title}")
