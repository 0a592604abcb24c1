"""What becomes of a payment in USDC, and who can say so.

Only what the chain can't undo is `Settled` or `Failed`. A facilitator that says "no" proves
nothing: the same order may have been used a moment before, and it says "no" to the second one too.
Its "yes" is believed, when it names our payer, our amount and our chain. No method raises for
something the outside world did.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from payments.rail import Unavailable
from payments.usdc.address import Address
from payments.usdc.authorization import Authorization
from payments.usdc.payment import Payment
from pricing.money import MicroUsdc

# What comes in smaller pieces is not told of: to send a million of them costs next to nothing.
DUST_MICROUSDC: Final = MicroUsdc(10_000)


@dataclass(frozen=True, slots=True)
class Settled:
    """The payer's USDC is the payee's, all of what the order says."""

    transaction: str  # 0x and 64 hex digits in small letters
    amount_microusdc: MicroUsdc


@dataclass(frozen=True, slots=True)
class Failed:
    """This order moved nothing, and never will: it expired, or its nonce was used otherwise.

    The reason is for a person.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say yet. It may have moved the money, or it may yet do so."""

    reason: str


@dataclass(frozen=True, slots=True)
class Declined(Unknown):
    """The facilitator says that it did not do it, and why (x402's `errorReason`). Alone, that is
    no proof: the chain knows.

    `is_early`: it says that its own checks found the flaw, before it sent anything. Whoever has
    handed the order over only once may ask for another payment then.
    """

    code: str = ""
    is_early: bool = False


@dataclass(frozen=True, slots=True)
class Used(Declined):
    """The nonce was used before: by this order, or by another one of its payer's."""


Outcome = Settled | Failed | Unknown


@dataclass(frozen=True, slots=True)
class Valid:
    """The facilitator would settle it now."""


class Facilitator(Protocol):
    """Who hands signed orders to a chain, and pays for the gas."""

    identity: str  # names what it is, and no secret of it

    async def verify(self, payment: Payment) -> Valid | Unknown:
        """Ask whether it would settle. `Declined` or `Used` when it would not."""
        ...

    async def settle(self, payment: Payment) -> Settled | Unknown:
        """Have it settle, and wait for that. Asked twice, the money moves once at most."""
        ...

    async def healthy(self) -> Unavailable | None:
        """Return None when it answers, accepts our header and knows our network."""
        ...

    async def close(self) -> None:
        """Let go of connections and files."""
        ...


@dataclass(frozen=True, slots=True)
class Moved:
    """A nonce was used for this transfer, so deep that it stays."""

    transaction: str
    payee: Address
    amount_microusdc: MicroUsdc


@dataclass(frozen=True, slots=True)
class Canceled:
    """A nonce was made useless by its payer, so deep that it stays."""


@dataclass(frozen=True, slots=True)
class Unused:
    """A nonce was not used by this time of the chain, in seconds since 1970."""

    until_s: int


Use = Moved | Canceled | Unused


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a chain, by its number and its hash: another one may take its place."""

    number: int
    hash: str
    at_s: int  # in seconds since 1970


@dataclass(frozen=True, slots=True)
class Transfer:
    """USDC that came to an address, so deep that it stays."""

    txid: str  # 0x and 64 hex digits
    place: int  # among the transaction's transfers to this address, from 1
    block: Block
    payer: Address
    amount_microusdc: MicroUsdc
    nonce: str | None  # of the signed order that it is of; None: it was sent without one


@dataclass(frozen=True, slots=True)
class Received:
    """All transfers to an address in the blocks after one, up to another, but for dust."""

    upto: Block
    transfers: tuple[Transfer, ...]
    is_all: bool  # there are no further blocks so deep that they stay


@dataclass(frozen=True, slots=True)
class Gone:
    """The block after which was to be read is not there any more: the chain was reorganised."""


class Ledger(Protocol):
    """Who reads one chain itself."""

    async def use_of(self, authorization: Authorization) -> Use | Unknown:
        """Say what the nonce of an order was used for, by this order or by another."""
        ...

    async def balance_microusdc(self, holder: Address) -> MicroUsdc | Unknown:
        """Return what an address holds, so deep that it stays."""
        ...

    async def received(self, payee: Address, after: Block | None) -> Received | Gone | Unknown:
        """Return what came to an address after a block, of so many blocks as can be read at once;
        without one, only which block to begin after.
        """
        ...

    async def is_there(self, block: Block) -> bool | Unknown:
        """Say whether a block is still on the chain."""
        ...

    async def is_signed_by_contract(
        self, signer: Address, digest: bytes, signature: bytes
    ) -> bool | Unknown:
        """Say whether a wallet that is a contract calls a signature of a hash its own."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def outcome_of(order: Authorization, use: Use | Unknown) -> Outcome:
    """Return what became of an order that somebody else has signed.

    A payer can sign two for one nonce: only the transfer that the order names pays us.
    """
    match use:
        case Moved(transaction, order.payee, order.amount_microusdc):
            return Settled(transaction, order.amount_microusdc)
        case Moved():
            return Failed("its payer has used the nonce for another transfer")
        case Canceled():
            return Failed("its payer has cancelled it")
        case Unused(until_s) if until_s >= order.valid_before_s:
            # The contract wants a block's time below the end, and no block's time runs back.
            return Failed("it has expired, and was never used")
        case Unused():
            return Unknown("it is not used yet, in any block so deep that it stays")
    return use
