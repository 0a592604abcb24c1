"""402: offer every challenge at once, and accept a proof of any of them.

What a proof bought is for whoever asked for it: here it is only read, and its payment looked up.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from app.http.body import json_response
from app.http.dialect import AGENT_JOBS
from app.http.links import base_url
from app.keys.credentials import Credentials
from app.refusal import Refusal, Why, unavailable
from app.strict_json import moment
from app.watch.waiting import with_patience
from db import invoices, lapsed
from db.engine import Database
from db.invoices import InvoiceRow, MadeInvoice
from payments.challenge import BadProof, Offer, Proof
from pricing.money import Msat, msat_to_sats
from statemachine.invoice import InvoiceState

UNCONFIRMED_S = 2  # when to show a proof again whose payment the rail does not confirm yet


@dataclass(frozen=True, slots=True)
class Paywall:
    """Offers what is paid by the call, and looks up what a proof has bought."""

    db: Database
    credentials: Credentials
    look_up: Callable[[str], Awaitable[object]]  # asks the rail about an invoice by its hash
    public_url: str | None
    is_stub: bool

    async def proof_of(self, request: Request) -> Proof | BadProof | None:
        """Return what a request proves; None when it shows no proof of a payment."""
        return await self.credentials.accept(request.headers)

    async def bought(self, proof: Proof) -> InvoiceRow | None:
        """Return the settled invoice that a proof is for; None when we know no such invoice.

        Raises Refusal (503) while the rail does not confirm the payment: its sender holds the
        preimage, and must not be asked to pay again.
        """
        row = await invoices.by_hash(self.db, proof.payment_hash)
        if row is None and await lapsed.find(self.db, proof.payment_hash) is None:
            return None
        if row is None or row.state is not InvoiceState.SETTLED:
            await with_patience(self.look_up(proof.payment_hash))
            row = await invoices.by_hash(self.db, proof.payment_hash)
        if row is None or row.state is not InvoiceState.SETTLED:
            raise unavailable(
                Why.UNCONFIRMED,
                "The payment is not confirmed yet. Do not pay again.",
                UNCONFIRMED_S,
            )
        return row

    async def payment_required(
        self, request: Request, invoice: MadeInvoice, resource: str, description: str, sentence: str
    ) -> Response:
        """Answer 402: what it costs, and every way to pay for it (RFC 9457 in the body)."""
        offer = Offer(
            resource=resource,
            payment_hash=invoice.payment_hash,
            bolt11=invoice.bolt11,
            amount_msat=Msat(invoice.amount_msat),
            expires_at=invoice.expires_at,
            description=description,
        )
        sats = msat_to_sats(invoice.amount_msat)
        body = {
            "type": "about:blank",
            "title": "Payment Required",
            "status": 402,
            "detail": sentence,
            "error": sentence,
            "code": AGENT_JOBS.word(Why.PRICED),
            "next": f"Pay the invoice of {sats} sats, then send the same request again with"
            " `Authorization: L402 MACAROON:PREIMAGE`.",
            "amountSats": sats,
            "paymentRequest": invoice.bolt11,
            "expiresAt": moment(invoice.expires_at),
            "requestId": request.scope["state"]["request_id"],
        }
        base = base_url(request, self.public_url)
        if base is not None:
            body["instance"] = f"{base}/api/jobs/{invoice.owner_id}"
        if self.is_stub:
            body["paymentHash"] = invoice.payment_hash
        answer = json_response(body, 402)
        answer.headers["content-type"] = "application/problem+json"
        for name, value in await self.credentials.offers(offer):
            answer.headers.append(name, value)  # one line a challenge, in this order
        return answer


def refuse_head(request: Request) -> None:
    """Refuse a HEAD: it asks what a GET would say, and an offer would be made for nobody."""
    if request.method == "HEAD":
        raise Refusal(Why.PRICED, "This has a price: a GET shows it.")
