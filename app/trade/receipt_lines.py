"""What every receipt says in the same way: its version, what was paid, and what went back."""

from datetime import datetime
from typing import Any

from app.strict_json import moment
from app.trade.refunds import refund_reason
from db.receipts import Payment, Refund

VERSION = 2  # the first one named the job by its id, which opens it


def payment_said(payment: Payment) -> dict[str, Any]:
    """Return what a receipt says of a payment."""
    return {
        "for": payment.purpose,
        "paymentHash": payment.payment_hash,
        "invoiceMsat": payment.amount_msat,
        "receivedMsat": payment.received_msat,
        "settledAt": moment(datetime.fromisoformat(payment.settled_at)),
    }


def refund_said(refund: Refund) -> dict[str, Any]:
    """Return what a receipt says of a refund."""
    said = {
        "reason": refund_reason(refund.reason),
        f"amount{refund.asset.title()}": refund.amount,
        "state": refund.state,
    }
    if refund.payment_hash is not None:
        said["paymentHash"] = refund.payment_hash
    if refund.paid_at is not None:
        said["paidAt"] = moment(datetime.fromisoformat(refund.paid_at))
    return said
