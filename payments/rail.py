"""What a rail (a way money moves) can do, and what it can answer.

Expected outcomes are values. Only an explicit, terminal answer is `Failed`; whatever cannot be
understood (a timeout, a 5xx, garbage, a dropped connection) is `Unknown`, and Unknown is never
treated as Failed. No method raises for something the outside world did.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pricing.money import Msat

NO_FEE = Msat(0)


@dataclass(frozen=True, slots=True)
class Opened:
    """An invoice that pays us now exists. Checked: its BOLT11 says what was asked."""

    bolt11: str
    payment_hash: str  # 64 lower-case hex digits
    amount_msat: Msat
    expires_at: datetime  # aware, UTC
    wallet: str | None = None  # of the rail, that made it; None: it has but one


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The rail could not do it now. Nothing was promised; try again after `retry_after_s`."""

    reason: str  # for a log: names no secret
    retry_after_s: int = 5


@dataclass(frozen=True, slots=True)
class Settled:
    """The payment is final. `amount_msat` is what the payee got; `fee_msat` what we paid on top."""

    payment_hash: str
    amount_msat: Msat
    preimage: str  # 64 lower-case hex digits; its sha256 is payment_hash
    fee_msat: Msat = NO_FEE


@dataclass(frozen=True, slots=True)
class Pending:
    """The rail knows the payment, and it is not final."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The rail says, explicitly and for good, that this payment did not and will not happen."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unsent(Failed):
    """Nothing was sent, for a passing reason that is not the payee's: the rail is away, or busy,
    or short of funds. The same invoice can be paid later.
    """


@dataclass(frozen=True, slots=True)
class Unknown:
    """The rail did not say. It may have happened, it may yet happen."""

    reason: str


@dataclass(frozen=True, slots=True)
class Absent(Unknown):
    """The rail knows of no such payment. Right after a call this proves nothing: it may be on its
    way. Once the invoice has been expired for a while, it can't be paid any more.
    """


@dataclass(frozen=True, slots=True)
class GivenUp(Unknown):
    """The rail gave an invoice up that nobody had paid in time. Its node may be paid all the same;
    until the rail says so, that is in no balance of its own.
    """


Outcome = Settled | Pending | Failed | Unknown


class Rail(Protocol):
    """One adapter a rail. Each call is bounded in time by the adapter itself."""

    name: str  # "stub", "lnbits"
    identity: str  # names what it is, and no secret of it: the books are compared under it
    least_fee_limit_msat: Msat  # with a lower limit it would refuse every payment
    network: str  # BOLT11 prefix without "ln": "bc", "tb", "bcrt"

    @property
    def wallet(self) -> str:
        """Name the wallet that pays from now on. A rail that has but one: its identity."""
        ...

    @property
    def push_is_up(self) -> bool:
        """Say whether `pushes` is connected: it would tell of a payment made now."""
        ...

    async def create_invoice(
        self, key: str, amount_msat: Msat, memo: str, expiry_s: int
    ) -> Opened | Unavailable:
        """Ask for an invoice of a whole number of sats ≥ 1. `key` is ours, and names the attempt.

        The same key may give a second invoice when the answer to the first call was lost: the
        first one was then never shown to anyone.
        """
        ...

    async def look_up_invoice(self, payment_hash: str, wallet: str | None = None) -> Outcome:
        """Say whether somebody paid this invoice of ours. Never `Failed` while it can be paid.

        `wallet` made it; None: whichever.
        """
        ...

    async def pay(self, bolt11: str, fee_limit_msat: Msat, wallet: str | None = None) -> Outcome:
        """Pay somebody's invoice. Asked twice for one payment_hash, it pays at most once.

        What has expired is not sent: that is the fence against a caller who stood still for long.
        Asked again, `wallet` must be the same: another one does not know what this one sent.
        """
        ...

    async def look_up_payment(self, payment_hash: str, wallet: str | None = None) -> Outcome:
        """Say what became of a payment of ours. A hash it does not know is `Absent`.

        `wallet` was told to pay; None: whichever. One that is not ours to ask is Unknown.
        """
        ...

    async def balance_msat(self) -> Msat | Unknown:
        """Return what the rail holds for us, in all its wallets."""
        ...

    def pushes(self) -> AsyncIterator[Settled | None]:
        """Yield payments to our invoices as the rail tells of them, for ever.

        None is yielded each time the channel has (re)connected: what happened before is not
        replayed, so look everything open up. It reconnects by itself and may repeat a payment.
        """
        ...

    async def healthy(self) -> Unavailable | None:
        """Return None when the rail answers and accepts our credentials."""
        ...

    async def close(self) -> None:
        """Let go of connections and files."""
        ...


@dataclass(frozen=True, slots=True)
class KnownWallet:
    """A wallet that was opened before, as the rail is given it."""

    identity: str
    key: str = field(repr=False)  # "" for the first, whose key the rail has
    is_heard: bool  # it may still be paid: its channel is listened to
    is_counted: bool = True  # it is asked what it holds


@dataclass(frozen=True, slots=True)
class NewWallet:
    """A wallet that exists from now on."""

    identity: str
    key: str = field(repr=False)


class Wallets(Protocol):
    """What a rail can do that opens one wallet after another. See app.operator.receiving."""

    async def open_wallet(self, name: str) -> NewWallet | Unavailable:
        """Open an empty wallet. When the answer is lost, one that nobody knows of is left."""
        ...

    async def balance_of(self, wallet: str) -> Msat | Unknown:
        """Return what one wallet holds."""
        ...

    async def delete_wallet(self, wallet: str) -> Unavailable | None:
        """Delete a wallet that nobody needs any more; None: it is gone, perhaps since before."""
        ...

    def use(self, wallets: Sequence[KnownWallet], left_msat: Msat) -> None:
        """Know these wallets, the oldest first; invoices are made on the last.

        `left_msat` lies in those that are not counted, below a sat in each.
        """
        ...
