"""A claim on a refund: everything is checked before anything is paid, and it is paid once."""

from dataclasses import dataclass
from time import monotonic

from app.advance import Applied
from app.errors import Refusal
from app.house import House
from app.wire import BadInput
from db import payouts
from db.engine import Duplicate, Row
from payments import bolt11
from pricing.money import Msat, sats_to_msat
from statemachine.payout import PayoutState

PATIENCE_S = 8.0  # how long a claim waits for the rail's answer before it says "on its way"


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim has come to, so far."""

    state: PayoutState
    amount_msat: int
    payment_hash: str
    note: str | None


async def claim_refund(house: House, job_id: str, text: str) -> Claimed:
    """Pay what a job owes back to an invoice of exactly that amount.

    Raises BadInput for an invoice that can't be paid, and Refusal (409) when nothing is owed, or
    all of it is paid or on its way.
    """
    rows = await payouts.of_job(house.parts.db, job_id)
    try:
        invoice = bolt11.decode(text)
    except bolt11.BadInvoice as bad:
        raise BadInput(str(bad)) from bad
    again = next((row for row in rows if row["payment_hash"] == invoice.payment_hash), None)
    if again is not None and again["state"] == PayoutState.IN_FLIGHT:
        return await _outcome(house, job_id, again["id"], invoice.payment_hash)
    owed = _owed(rows, invoice)
    await _check(house, invoice, Msat(owed["amount_msat"]))
    now = house.parts.clock()
    fee_limit_msat = bolt11.fee_limit_msat(
        Msat(owed["amount_msat"]),
        sats_to_msat(house.parts.settings.fee_cap_sats),
        house.parts.rail.least_fee_limit_msat,
    )
    try:
        sent = await house.parts.db.run(
            "send_payout",
            lambda tx: house.parts.shell.send_payout(tx, owed["id"], invoice, fee_limit_msat, now),
        )
    except Duplicate:
        raise BadInput(_USED) from None
    if not isinstance(sent, Applied):
        raise _on_its_way()
    return await _outcome(house, job_id, owed["id"], invoice.payment_hash)


def _owed(rows: list[Row], invoice: bolt11.Invoice) -> Row:
    waiting = [row for row in rows if row["state"] == PayoutState.OWED]
    if not rows:
        raise Refusal(409, "No refund is owed for this job: nothing was overpaid, or it goes on.")
    if not waiting and any(row["state"] == PayoutState.IN_FLIGHT for row in rows):
        raise _on_its_way()
    if not waiting:
        raise Refusal(409, "This refund was paid already.")
    matching = [row for row in waiting if row["amount_msat"] == invoice.amount_msat]
    return (matching or waiting)[0]


def _on_its_way() -> Refusal:
    return Refusal(
        409,
        "This refund is on its way to another invoice, and is not sent twice.",
        "Poll the job: its refundState tells when it has arrived, or that it is owed again.",
    )


_USED = "This invoice was used for a refund before. Make a new one."


async def _check(house: House, invoice: bolt11.Invoice, amount_msat: Msat) -> None:
    parts = house.parts
    try:
        bolt11.check_payable(
            invoice, amount_msat=amount_msat, network=parts.rail.network, now=parts.clock()
        )
    except bolt11.BadInvoice as bad:
        raise BadInput(str(bad)) from bad
    known = await payouts.hash_is_known(parts.db, invoice.payment_hash)
    if known == "invoice":
        raise BadInput("This is one of our own invoices. Make one with your own wallet.")
    if known == "payout":
        raise BadInput(_USED)


async def _outcome(house: House, job_id: str, payout_id: str, payment_hash: str) -> Claimed:
    """Wait a moment for the rail's answer. The payment goes on whether anybody waits or not."""
    until = monotonic() + PATIENCE_S
    changed, stop = house.parts.signals.watch(job_id)
    try:
        while True:
            changed.clear()
            rows = await payouts.of_job(house.parts.db, job_id)
            row = next(row for row in rows if row["id"] == payout_id)
            left_s = until - monotonic()
            state = PayoutState(row["state"])
            over = left_s <= 0 or house.parts.signals.released
            if state is not PayoutState.IN_FLIGHT or over:
                return Claimed(state, row["amount_msat"], payment_hash, row["note"])
            await house.parts.signals.wait(changed, left_s)
    finally:
        stop()
