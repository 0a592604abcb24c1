"""The last check before a payout leaves: the invoice can be paid, is not ours, and was never used.

Whoever gave the invoice, it goes through here; in flight is committed before a rail is called.
"""

from dataclasses import dataclass

from app import advance
from app.advance import Applied, Dear, Outcome, Replayed
from app.parts import Parts
from db import payouts, switches
from db.engine import Duplicate, Row
from db.tables import Payout
from payments import bolt11
from payments.rail import Settled
from pricing.money import Msat, sats_to_msat
from statemachine.owner import Reason, named
from statemachine.public_id import public_id
from statemachine.routing import Means, Share, share

PAUSED = (
    "Refunds are paused by the operator for now. What is owed to you stays yours: try again later."
)
USED = "This invoice was used for a refund before. Make a new one."


@dataclass(frozen=True, slots=True)
class Unpayable:
    """This invoice will not be paid. The sentence says why, and what to do."""

    sentence: str


async def send(
    parts: Parts, payout: Row, invoice: bolt11.Invoice, asked_of: str | None = None
) -> Outcome | Unpayable:
    """Begin an attempt to pay a payout to this invoice, or say why not.

    `asked_of` is the destination that made the invoice by itself: when somebody has named another
    one in the meantime, nothing is sent there any more.
    """
    if not await pays_out(parts):
        return Unpayable(PAUSED)
    bears = await share_of(parts, payout)
    wrong = await _wrong(parts, invoice, bears)
    if wrong is not None:
        return wrong
    limit_msat = bears.limit_msat
    try:
        told = await parts.shell.do(
            advance.payouts.send, payout["id"], invoice, limit_msat, asked_of
        )
    except Duplicate:
        return Unpayable(USED)
    if isinstance(told, Dear):
        return Unpayable(_dear(invoice.amount_msat or 0, bears.amount_msat, told.sendable_msat))
    return told


async def record(parts: Parts, payout: Row, payment_hash: str) -> Applied | Replayed | Unpayable:
    """Write down that a payout was paid, as the rail says, by a payment that the books forgot.

    Replayed: that was written down before.
    """
    if await payouts.was_paid_by(parts.db, payout["id"], payment_hash):
        return Replayed()
    told = await parts.rail.look_up_payment(payment_hash)
    if not isinstance(told, Settled):
        return Unpayable(f"the rail knows of no payment of ours {payment_hash} that is settled")
    if not 0 <= payout["amount_msat"] - told.amount_msat <= told.fee_msat:
        return Unpayable(f"that payment was one of {told.amount_msat} msat, and another one's")
    now, number = parts.clock(), payout["attempts"] + 1
    paid = bolt11.Invoice(
        "", payment_hash, told.amount_msat, now, parts.rail.network, "", "paid before a restore"
    )
    try:
        written = await parts.shell.do(advance.payouts.record, payout["id"], paid, number, told)
    except Duplicate:
        return Unpayable("that payment is in the books already, for another payout")
    if isinstance(written, Applied):
        return written
    if isinstance(written, Dear):
        return Unpayable("its routing cost more than this payout may")
    if await payouts.was_paid_by(parts.db, payout["id"], payment_hash):
        return Replayed()  # by somebody at the same moment
    return Unpayable("it is paid, or on its way, by another payment")


async def pays_out(parts: Parts) -> bool:
    """Say whether the operator lets payouts go."""
    return await switches.is_on(parts.db, switches.Name.PAYING_OUT)


async def share_of(parts: Parts, payout: Row) -> Share:
    """Return who would bear the routing of a payout now, and so what an invoice may ask for."""
    row = Payout.model_validate(payout)
    limit_msat = bolt11.fee_limit_msat(
        Msat(row.amount_msat),
        sats_to_msat(parts.settings.fee_cap_sats),
        parts.rail.least_fee_limit_msat,
    )
    ask, terms = parts.db.read_one, parts.shell.terms
    return await advance.payouts.share_of(ask, terms, row, limit_msat, parts.clock())


def least_msat(parts: Parts, payout: Row) -> int:
    """Return the least that an invoice for a payout may ask for, whoever bears its routing."""
    limit_msat = bolt11.fee_limit_msat(
        Msat(payout["amount_msat"]),
        sats_to_msat(parts.settings.fee_cap_sats),
        parts.rail.least_fee_limit_msat,
    )
    nothing = Means(0, 0)
    return share(Reason(payout["reason"]), payout["amount_msat"], limit_msat, nothing).least_msat


async def refuse(parts: Parts, payout: Row, asked_of: str, reason: str) -> Outcome:
    """Count a failure of the destination that was asked, unless another was named since."""
    failures = payout["failures"]
    return await parts.shell.do(advance.payouts.refuse, payout["id"], failures, asked_of, reason)


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


async def _wrong(parts: Parts, invoice: bolt11.Invoice, bears: Share) -> Unpayable | None:
    try:
        bolt11.check_payable(
            invoice,
            amount_msat=Msat(bears.amount_msat),
            least_msat=Msat(bears.least_msat),
            network=parts.rail.network,
            now=parts.clock(),
        )
    except bolt11.BadInvoice as bad:
        return Unpayable(str(bad))
    known = await payouts.hash_is_known(parts.db, invoice.payment_hash)
    if known == "invoice":
        return Unpayable("This is one of our own invoices. Make one with your own wallet.")
    return Unpayable(USED) if known == "payout" else None


def refund_title(payout_id: str) -> str:
    """Return what a wallet shows of a payout."""
    owner = named(payout_id).owner
    return f"Boltwork: refund of {owner.kind} {public_id(owner.id)[:8]}"
