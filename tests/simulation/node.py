"""The Lightning node, as it truly is: whatever our adapter is told, this is what happened.

It is not part of our process: it survives every crash, and its clock is the true one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.simulation.clock import Clock
from tests.simulation.wallet import Theirs, Wallets

OWN_MSAT = 3_000_000  # the operator's: routing is paid out of it before anything is earned


@dataclass(eq=False)
class Ours:
    """An invoice that pays us."""

    key: str
    payment_hash: str
    preimage: str
    amount_msat: int
    expires_at: datetime
    received_msat: int | None = None
    given_up: bool = False  # LNbits says "failed" of what has expired, which means nothing


@dataclass(eq=False)
class Sent:
    """A payment of ours, with what will become of it."""

    to: Theirs
    fee_msat: int
    ends_at: datetime
    will_settle: bool
    lie: str = ""  # what look-ups say until it ends: "failed", "absent", or the truth
    ended: bool = False

    @property
    def settled(self) -> bool:
        """Say whether the payee has it."""
        return self.ended and self.will_settle


class Node:
    """Invoices, payments and one balance."""

    def __init__(self, clock: Clock, wallets: Wallets) -> None:
        self._clock, self.wallets = clock, wallets
        self.invoices: dict[str, Ours] = {}
        self.sent: dict[str, Sent] = {}
        self._under_way: dict[str, Sent] = {}
        self.calls: dict[str, int] = {}  # pay calls by payment_hash
        self.unsent: dict[str, int] = {}  # of them, those that we said sent nothing
        self.shown: list[str] = []  # the hashes of our invoices that a buyer has seen
        self.balance_msat = OWN_MSAT
        self.on_settled: Callable[[str, Sent], None] = lambda payment_hash, sent: None

    def receive(self, payment_hash: str, amount_msat: int) -> bool:
        """Take in a payment; False when the invoice was paid already, or is too long past."""
        invoice = self.invoices[payment_hash]
        if invoice.received_msat is not None or amount_msat < invoice.amount_msat:
            return False
        invoice.received_msat = amount_msat
        self.balance_msat += amount_msat
        return True

    def reserved_msat(self) -> int:
        """Return what payments under way may still take."""
        return sum(
            sent.to.amount_msat + sent.fee_msat
            for sent in self._under_way.values()
            if sent.will_settle
        )

    def send(self, to: Theirs, fee_msat: int, after: timedelta, settle: bool, lie: str) -> Sent:
        """Begin a payment that ends as it will."""
        sent = Sent(to, fee_msat, self._clock.true + after, settle, lie)
        self.sent[to.payment_hash] = self._under_way[to.payment_hash] = sent
        self.tick()
        return sent

    def tick(self, *, all_of_them: bool = False) -> None:
        """End the payments whose time has come."""
        for payment_hash, sent in list(self._under_way.items()):
            if sent.ends_at > self._clock.true and not all_of_them:
                continue
            sent.ended = True
            del self._under_way[payment_hash]
            if sent.will_settle:
                self.balance_msat -= sent.to.amount_msat + sent.fee_msat
                sent.to.received_msat += sent.to.amount_msat
                self.on_settled(payment_hash, sent)
