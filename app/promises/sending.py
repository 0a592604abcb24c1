"""The last check before a payout leaves: the invoice can be paid, is not ours, and was never used.

Whoever gave the invoice, it goes through here; in flight is committed before a rail is called.
"""

from dataclasses import dataclass

from app import advance
from app.advance import Applied, Dear, Outcome, Replayed, Shell
from app.ports import Clock, Destinations
from db import payouts, switches
from db.engine import Database, Duplicate
from db.payouts import PayoutRow, PayoutView
from payments import bolt11
from payments.lnurl import BadDestination
from payments.rail import Rail, Settled
from payments.usdc.address import read_address
from payments.usdc.refund import read_refund_to, refund_to_of
from pricing.money import Msat
from statemachine.entries import Asset
from statemachine.owner import named
from statemachine.public_id import public_id
from statemachine.routing import Means, Share, share

PAUSED = (
    "Refunds are paused by the operator for now. What is owed to you stays yours: try again later."
)
IN_USDC = "This refund is in USDC, and goes to the address that paid, automatically."
USED = "This invoice was used for a refund before. Make a new one."


@dataclass(frozen=True, slots=True)
class Unpayable:
    """This invoice will not be paid. The sentence says why, and what to do."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Sending:
    """Lets payouts go: to the invoices of payees, and of the destinations that they named."""

    db: Database
    shell: Shell
    rail: Rail
    clock: Clock
    fee_cap_msat: Msat  # the most that the routing of one may cost

    async def send(
        self, payout: PayoutRow, invoice: bolt11.Invoice, asked_of: str | None = None
    ) -> Outcome | Unpayable:
        """Begin an attempt to pay a payout to this invoice, or say why not.

        `asked_of` is the destination that made the invoice by itself: when somebody has named
        another one in the meantime, nothing is sent there any more.
        """
        if payout.asset is not Asset.MSAT:
            return Unpayable(IN_USDC)
        if not await self.pays_out():
            return Unpayable(PAUSED)
        bears = await self.share_of(payout)
        wrong = await self.wrong_with(invoice, bears.amount_msat, bears.least_msat)
        if wrong is not None:
            return wrong
        limit_msat = bears.limit_msat
        try:
            told = await self.shell.do(
                advance.payouts.send, payout.id, invoice, limit_msat, asked_of
            )
        except Duplicate:
            return Unpayable(USED)
        if isinstance(told, Dear):
            return Unpayable(_dear(invoice.amount_msat or 0, bears.amount_msat, told.sendable_msat))
        return told

    async def record(self, payout: PayoutRow, payment_hash: str) -> Applied | Replayed | Unpayable:
        """Write down that a payout was paid, as the rail says, by a payment that the books forgot.

        Replayed: that was written down before.
        """
        if payout.asset is not Asset.MSAT:
            return Unpayable("it is owed in USDC: the chain itself is asked whether it was paid")
        if await payouts.was_paid_by(self.db, payout.id, payment_hash):
            return Replayed()
        told = await self.rail.look_up_payment(payment_hash)
        if not isinstance(told, Settled):
            return Unpayable(f"the rail knows of no payment of ours {payment_hash} that is settled")
        if not 0 <= payout.amount_msat - told.amount_msat <= told.fee_msat:
            return Unpayable(f"that payment was one of {told.amount_msat} msat, and another one's")
        now, number = self.clock(), payout.attempts + 1
        paid = bolt11.Invoice(
            "", payment_hash, told.amount_msat, now, self.rail.network, "", "paid before a restore"
        )
        try:
            payer = self.rail.wallet
            written = await self.shell.do(
                advance.payouts.record, payout.id, paid, number, payer, told
            )
        except Duplicate:
            return Unpayable("that payment is in the books already, for another payout")
        if isinstance(written, Applied):
            return written
        if isinstance(written, Dear):
            return Unpayable("its routing cost more than this payout may")
        if await payouts.was_paid_by(self.db, payout.id, payment_hash):
            return Replayed()  # by somebody at the same moment
        return Unpayable("it is paid, or on its way, by another payment")

    async def pays_out(self) -> bool:
        """Say whether the operator lets payouts go."""
        return await switches.is_on(self.db, switches.Name.PAYING_OUT)

    async def share_of(self, payout: PayoutRow) -> Share:
        """Return who would bear the routing of a payout now, and so what an invoice may ask for."""
        limit_msat = self.limit_msat(payout.amount_msat)
        terms, now = self.shell.terms, self.clock()
        return await advance.payouts.share_of(self.db, terms, payout, limit_msat, now)

    def least_msat(self, payout: PayoutRow | PayoutView) -> int:
        """Return the least that an invoice for a payout may ask for, whoever bears its routing."""
        amount_msat, nothing = payout.amount_msat, Means(0, 0)
        limit_msat = self.limit_msat(amount_msat)
        return share(payout.reason, amount_msat, limit_msat, nothing).least_msat

    def limit_msat(self, amount_msat: int) -> int:
        """Return the most that the way of so much may cost."""
        least_msat = self.rail.least_fee_limit_msat
        return bolt11.fee_limit_msat(Msat(amount_msat), self.fee_cap_msat, least_msat)

    async def refuse(self, payout: PayoutRow, asked_of: str, reason: str) -> Outcome:
        """Count a failure of the destination that was asked, unless another was named since."""
        failures = payout.failures
        return await self.shell.do(advance.payouts.refuse, payout.id, failures, asked_of, reason)

    async def wrong_with(
        self, invoice: bolt11.Invoice, amount_msat: int, least_msat: int
    ) -> Unpayable | None:
        """Return why an invoice for so much, or a little less, can't be paid; None: it can."""
        try:
            bolt11.check_payable(
                invoice,
                amount_msat=Msat(amount_msat),
                least_msat=Msat(least_msat),
                network=self.rail.network,
                now=self.clock(),
            )
        except bolt11.BadInvoice as bad:
            return Unpayable(str(bad))
        known = await payouts.hash_is_known(self.db, invoice.payment_hash)
        if known == "invoice":
            return Unpayable("This is one of our own invoices. Make one with your own wallet.")
        return Unpayable(USED) if known == "payout" else None


def _dear(asked_msat: int, owed_msat: int, sendable_msat: int) -> str:
    asked, owed, most = map(bolt11.in_sats, (asked_msat, owed_msat, sendable_msat))
    if not sendable_msat:
        return (
            f"{owed} are less than it may cost to send them, and we have borne what we bear of"
            " that. Try again tomorrow."
        )
    return (
        f"This invoice asks for {asked}. Sending what was not spent may cost more than we bear, so"
        f" make one for {most}. Whatever of the {owed} that does not cost is owed to you as before."
    )


def where(destinations: Destinations, payout: PayoutRow, text: str) -> str | BadDestination:
    """Return what a text means as the destination of a payout, in its asset."""
    if payout.asset is Asset.MSAT:
        found = destinations.parse(text)
        return found if isinstance(found, BadDestination) else found.text
    text = text.strip()
    network, address = (read_refund_to(payout.refund_to or "") or ("", None))[0], text
    if read := read_refund_to(text):
        network, address = read
    payee = read_address(address)
    if payee is None or not network:
        return BadDestination(
            "This refund is in USDC. Give an address on its network, such as 0x…, as it is written."
        )
    return refund_to_of(network, payee)


def refund_title(payout_id: str) -> str:
    """Return what a wallet shows of a payout."""
    owner = named(payout_id).owner
    return f"Boltwork: refund of {owner.kind} {public_id(owner.id)[:8]}"
