"""402: offer every challenge at once, and accept a proof of any of them.

What a proof bought is for whoever asked for it: here it is only read, and its payment looked up.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from app.http.body import json_response
from app.http.caller import OURS, presented, unknown
from app.http.dialect import AGENT_JOBS, Dialect
from app.http.links import base_url
from app.keys.credentials import Credentials
from app.refusal import Refusal, Why, unavailable
from app.strict_json import moment
from app.trade.usdc_sales import NotPaid
from app.watch.waiting import with_patience
from db import invoices, lapsed
from db.engine import Database
from db.invoices import InvoiceRow, MadeInvoice
from payments.challenge import BadProof, Offer, Problem, Proof
from payments.mpp import SCHEME, Mpp, content_digest, is_preferred
from payments.usdc.x402 import REQUIRED, RESPONSE, header_of
from pricing.money import MicroUsd, Msat, msat_to_sats
from statemachine.invoice import InvoiceState
from statemachine.public_id import public_id

UNCONFIRMED_S = 2  # when to show a proof again whose payment the rail does not confirm yet
NOBODY = "boltwork"  # the realm, where nobody says by which host we are reached
PRICED = BadProof("This is paid for by the call.", problem=Problem.PAYMENT_REQUIRED)
FOR_ANOTHER = BadProof(
    "It was made for another request, and with that one it is still good.",
    problem=Problem.INVALID_CHALLENGE,
)
FORGOTTEN = BadProof("Its payment is not known here.", problem=Problem.INVALID_CHALLENGE)
OVER = BadProof(
    "Its offer has expired, and nobody has paid for it.", problem=Problem.PAYMENT_EXPIRED
)

BY_USDC = "Or sign one of `accepts` (x402), and send it in `PAYMENT-SIGNATURE`."
PROOF = (
    "Do not pay again. Send `Authorization: L402 MACAROON:PREIMAGE`, the macaroon as the 402 gave"
    " it and the preimage as 64 hex digits. Without a proof the answer is a 402 with the price."
)


@dataclass(frozen=True, slots=True)
class Sold:
    """What is offered by the call, to whom it may concern."""

    resource: str
    description: str
    body: bytes | None = None  # that was sent, and will be sent again with the proof
    price_microusd: MicroUsd | None = None  # where what it costs is known in dollars
    polled: str = "/api/jobs/"  # where its payer looks, before the id
    dialect: Dialect = AGENT_JOBS
    facts: Mapping[str, Any] = field(default_factory=dict)  # what its 402 says besides

    @property
    def digest(self) -> str | None:
        """The digest of what was sent."""
        return None if self.body is None else content_digest(self.body)

    def is_proven_by(self, proof: Proof) -> bool:
        """Say whether a proof may be for this, by what it says itself."""
        return proof.is_for(self.resource) and proof.digest in (None, self.digest)


def nothing_in_usdc(sold: Sold, url: str, error: str) -> dict[str, Any] | None:
    """Return that nothing is sold for USDC: there is no rail for it."""
    return None


@dataclass(frozen=True, slots=True)
class Paywall:
    """Offers what is paid by the call, and looks up what a proof has bought."""

    db: Database
    credentials: Credentials
    look_up: Callable[[str], Awaitable[bool]]  # asks the rail: True when it says nobody has paid
    public_url: str | None
    is_stub: bool
    # What is asked for in USDC, at an address and with a sentence: None where nothing is.
    in_usdc: Callable[[Sold, str, str], dict[str, Any] | None] = nothing_in_usdc

    async def proof_of(self, request: Request) -> Proof | BadProof | None:
        """Return what a request proves; None when it shows no proof of a payment."""
        return await self.credentials.accept(request.headers)

    async def bought(self, proof: Proof) -> InvoiceRow | BadProof | None:
        """Return the settled invoice that a proof is for; None when we know no such invoice.

        Raises Refusal (503) while the rail does not confirm the payment: its sender holds the
        preimage, and must not be asked to pay again. A proof with a time of its own is no proof
        once that is over and the rail says that nobody has paid.
        """
        row = await invoices.by_hash(self.db, proof.payment_hash)
        if row is None and await lapsed.find(self.db, proof.payment_hash) is None:
            return None
        nobody_paid: list[bool] = []  # what the rail says, if it answers in time

        async def look_up() -> None:
            nobody_paid.append(await self.look_up(proof.payment_hash))

        if row is None or row.state is not InvoiceState.SETTLED:
            await with_patience(look_up())
            row = await invoices.by_hash(self.db, proof.payment_hash)
        if row is not None and row.state is InvoiceState.SETTLED:
            return row
        lapsed_here = row is None or row.state is not InvoiceState.OPEN
        if proof.is_over and lapsed_here and nobody_paid == [True]:
            return OVER
        raise unavailable(
            Why.UNCONFIRMED,
            "The payment is not confirmed yet. Do not pay again.",
            UNCONFIRMED_S,
        )

    async def payment_required(
        self,
        request: Request,
        invoice: MadeInvoice,
        sold: Sold,
        against: BadProof = PRICED,
        unpaid: NotPaid | None = None,  # an order in USDC that was shown, and has paid nothing
    ) -> Response:
        """Answer 402: what it costs, and every way to pay for it (RFC 9457 in the body).

        Where it was offered before, to whoever can show that, it is not said again where the job
        is: a wallet sees the challenge that it pays, and no more.
        """
        problem = against.problem or Problem.PAYMENT_REQUIRED
        is_new = problem is Problem.PAYMENT_REQUIRED
        told = "" if is_new else "This proof of payment isn't valid here. "
        sentence = told + against.reason if unpaid is None else unpaid.sentence
        sats = msat_to_sats(invoice.amount_msat)
        base = base_url(request, self.public_url)
        pay = "Pay" if is_new else "If you have paid, do not pay again. Else pay"
        body = {
            "type": problem.uri,
            "title": problem.in_words,
            "status": 402,
            "detail": sentence,
            **sold.dialect.envelope(sentence, sold.dialect.word(Why.PRICED), sold.facts),
            "next": f"{pay} the invoice of {sats} sats, then send the same request again with"
            " `Authorization: L402 MACAROON:PREIMAGE`, or with a Payment credential.",
            "amountSats": sats,
            "paymentRequest": invoice.bolt11,
            "expiresAt": moment(invoice.expires_at),
            "requestId": request.scope["state"]["request_id"],
        }
        if base is not None and against.meant is None:
            body["instance"] = f"{base}{sold.polled}{invoice.owner_id}"
        if self.is_stub:
            body["paymentHash"] = invoice.payment_hash
        asked = self.in_usdc(sold, f"{base or ''}{request.url.path}", sentence)
        if asked is not None:
            body = {**asked, **body, "next": f"{body['next']} {BY_USDC}"}
        if unpaid is not None:
            body |= {"retry_action": unpaid.retry_action, "payment_state": unpaid.payment_state}
        answer = json_response(body, 402)
        answer.headers["content-type"] = "application/problem+json"
        offer = self._offer(request, invoice, sold, base)
        for name, value in await self.credentials.offers(offer, _preferred(request)):
            answer.headers.append(name, value)  # one line a challenge, in this order
        if asked is not None:
            answer.headers.append(REQUIRED, header_of(asked))
        if unpaid is not None:
            answer.headers.append(RESPONSE, header_of(unpaid.told))
        return answer

    def _offer(self, request: Request, invoice: MadeInvoice, sold: Sold, base: str | None) -> Offer:
        shown = presented(request)
        return Offer(
            resource=sold.resource,
            payment_hash=invoice.payment_hash,
            bolt11=invoice.bolt11,
            amount_msat=Msat(invoice.amount_msat),
            expires_at=invoice.expires_at,
            description=sold.description,
            realm=(urlsplit(base).hostname if base else None) or NOBODY,
            reference=public_id(invoice.owner_id),
            digest=sold.digest,
            # What is not for us stays where it is: a proxy's own, say.
            in_own_header=shown is not None and shown.scheme not in OURS,
        )


def _preferred(request: Request) -> str | None:
    """Return the challenge that goes first for whoever says, or shows, that it speaks it."""
    shown = presented(request)
    speaks = shown is not None and shown.scheme == SCHEME
    wanted = ",".join(request.headers.getlist("accept-payment"))
    return Mpp.name if speaks or is_preferred(wanted) else None


def refuse_head(request: Request) -> None:
    """Refuse a HEAD: it asks what a GET would say, and an offer would be made for nobody."""
    if request.method == "HEAD":
        raise Refusal(Why.PRICED, "This has a price: a GET shows it.")


def refuse(proof: BadProof) -> None:
    """Refuse what is no proof, where its scheme has no word for that: whoever shows a proof has
    paid, and a new invoice might be paid as well.
    """
    sentence = f"This proof of payment isn't valid. {proof.reason}"
    if proof.problem is None:
        raise unknown(Why.PROOF_INVALID, sentence, PROOF)
    if proof.problem is Problem.METHOD_UNSUPPORTED:
        next_step = "Leave the credential out: the 402 says what is taken."
        raise Refusal(Why.METHOD_UNSUPPORTED, sentence, next_step, type=proof.problem.uri)
