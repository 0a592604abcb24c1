"""Claims on what is owed back, by a job's or a session's holder: to an invoice or a destination."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from starlette.responses import Response

from app.http.body import json_response
from app.http.fields import Body
from app.refusal import Refusal, Why
from app.trade.refunds import Claimed, Directed, Refunds
from payments.bolt11 import whole_sats
from pricing.money import msat_to_sats
from statemachine.payout import PayoutState

ONE = {"were": "was", "are": "is"}


class ClaimRefund(Body):
    """POST …/refund: an invoice, or a destination."""

    invoice: Annotated[str, Field(min_length=1)] = ""
    refund_to: Annotated[str, Field(min_length=1)] = Field("", alias="refundTo")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.invoice and self.refund_to:
            raise ValueError("The fields 'invoice' and 'refundTo' exclude each other. Give one.")
        if not self.invoice and not self.refund_to:
            raise ValueError("The field 'invoice' is missing. Add it, or 'refundTo'.")
        return self


async def answer_claim(refunds: Refunds, owner_id: str, asked: ClaimRefund) -> Response:
    """Pay what a job or a session owes, and wait a moment for it."""
    if asked.refund_to:
        return _directed(await refunds.direct(owner_id, asked.refund_to))
    return _claimed(await refunds.claim(owner_id, asked.invoice))


def _directed(sent: Directed) -> Response:
    sats = msat_to_sats(sent.amount_msat)
    body = {"ok": sent.paid, "refundAmountSats": sats}
    if sent.paid:
        return json_response({**body, "message": f"{_are(sats, 'were')} sent."})
    message = (
        f"Not sent yet: {sent.note}"
        if sent.note
        else f"{whole_sats(sats)} will be sent there. The outcome will show as refundState."
    )
    return json_response({**body, "message": message}, 202, {"Retry-After": "5"})


def _claimed(paid: Claimed) -> Response:
    sats = msat_to_sats(paid.amount_msat)
    body = {"refundAmountSats": sats, "paymentHash": paid.payment_hash}
    if paid.state is PayoutState.PAID:
        return json_response({"ok": True, **body, "message": f"{_are(sats, 'were')} sent."})
    if paid.state is PayoutState.IN_FLIGHT:
        message = (
            f"{_are(sats, 'are')} on the way. The outcome will show as refundState; nothing is"
            " sent a second time."
        )
        return json_response({"ok": False, **body, "message": message}, 202, {"Retry-After": "5"})
    raise Refusal(
        Why.REFUND_FAILED,
        paid.note or "The payment failed.",
        "The sats are still yours: send another invoice for the same amount.",
    )


def _are(amount_sats: int, verb: str) -> str:
    """Return "2 sats were", or "1 sat was"."""
    return f"{whole_sats(amount_sats)} {verb if amount_sats != 1 else ONE[verb]}"
