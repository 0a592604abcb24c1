"""A batch bought by the call, whichever surface sells it: by a proof of payment, by a session, or
else a 402 with its price.

Whatever is wrong with what was asked for is told before anything is paid: a door reads all of it
first. A proof buys the batch that it was offered for once; shown again, it is answered with that.
"""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.api.polling import LEAST_RETRY_S
from app.house import House
from app.http import paywall, usdc_door
from app.http.body import json_response
from app.http.caller import Holder, login_cookie, unknown
from app.http.dialect import Dialect
from app.http.fields import name_of
from app.http.paywall import Sold
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.trade import usdc_sales
from app.trade.batches import Order
from app.trade.sessions import caller_of
from app.trade.usdc_sales import NotPaid, Thing
from db import invoices
from db.invoices import MadeInvoice
from payments.challenge import BadProof, Proof
from payments.session_macaroon import Verified
from payments.usdc.payment import Payment
from pricing.money import MicroUsd
from statemachine.invoice import InvoiceState
from statemachine.owner import Purpose
from statemachine.public_id import public_id

ENDPOINT = "batches"  # what a session's macaroon must allow


@dataclass(frozen=True, slots=True)
class Counter:
    """One surface's counter: what it calls what it sells, where that is seen, and its limits."""

    description: str
    polled: str
    dialect: Dialect
    rule: Rule  # counts what is asked for
    counts_sessions: bool  # also where a session pays
    has_accounts: bool = False  # who pays by a wallet's signature has an account, and its token


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for, read and priced in dollars."""

    order: Order
    asked: dict[str, Any]  # as it was sent: what a proof is for
    body: bytes
    facts: Mapping[str, Any] = field(default_factory=dict)  # what a 402 says besides its price

    @property
    def resource(self) -> str:
        """The name of what is bought: another body is another."""
        plain = orjson.dumps(self.asked, option=orjson.OPT_SORT_KEYS)
        return f"{ENDPOINT}:{hashlib.sha256(plain).hexdigest()[:32]}"

    @property
    def price_microusd(self) -> MicroUsd:
        """What it costs."""
        return MicroUsd(sum(line.price_microusd for line in self.order.lines))


@dataclass(frozen=True, slots=True)
class Bought:
    """A batch that is paid for, and what its answer says of the payment."""

    batch_id: str
    headers: dict[str, str] = field(default_factory=dict)
    in_usdc: usdc_sales.Bought | None = None  # by an order in USDC, settled or about to be
    token: str | None = None  # of the account of whoever paid, where that was just proven


async def buy(request: Request, house: House, counter: Counter, wish: Wish) -> Bought | Response:
    """Return the batch that a request has bought, or the 402 that says how to buy it."""
    holder = await house.callers.account(request)
    shown = None if holder else await house.callers.macaroon(request, ENDPOINT)
    if shown is not None:
        return Bought(await _from_session(request, house, counter, wish, shown))
    whose = f"account:{holder.account_id}:offer" if holder else None
    peer = f"peer:{house.throttle.address(request)}"
    name = name_of(request, whose or peer, wish.body, is_known=holder is not None)
    sold = Sold(
        wish.resource,
        counter.description,
        wish.body,
        wish.price_microusd,
        counter.polled,
        counter.dialect,
        wish.facts,
    )
    unpaid = await _ordered(request, house, counter, wish, sold, has_key=name is not None)
    if isinstance(unpaid, Bought):
        return unpaid
    proof = await house.paywall.proof_of(request)
    against = paywall.PRICED
    counted: AbstractAsyncContextManager[None] = house.throttle.turn(request, counter.rule)
    if holder is not None and proof is None and unpaid is None:
        try:
            return Bought(await _from_account(request, house, counter, wish, holder))
        except Refusal as refused:
            if refused.why is not Why.BALANCE_TOO_LOW:
                raise
            told = f"{refused.sentence} {refused.next_step} Or pay for this alone."
            against = BadProof(told, problem=paywall.PRICED.problem)
            counted = nullcontext()  # it was, just now
    if isinstance(proof, Proof):
        bought = await _proven(house, proof, sold)
        if isinstance(bought, Bought):
            return bought
        proof = bought
    if isinstance(proof, BadProof):
        paywall.refuse(proof)
        offered = await _offered(house, proof.meant, sold)
        if offered is not None:
            return await house.paywall.payment_required(request, offered, sold, proof)
    async with counted:
        await house.throttle.weigh(request, len(wish.body))
        invoice = await house.batches.place(wish.order, name)
    return await house.paywall.payment_required(request, invoice, sold, proof or against, unpaid)


async def answer(
    request: Request,
    house: House,
    bought: Bought,
    made: dict[str, Any],
    status: int,
    headers: dict[str, str],
) -> Response:
    """Answer with what was bought. What an order in USDC has not settled yet is 202 until then."""
    paid, headers = bought.in_usdc, headers | bought.headers
    if bought.token is not None:
        made["sessionToken"] = bought.token
        # A program keeps the token; a page of ours has it as its cookie.
        if request.headers.get("sec-fetch-site") == "same-origin":
            headers["Set-Cookie"] = login_cookie(bought.token, house.settings.public_url)
    if paid is None or house.usdc is None:
        return json_response(made, status, headers)
    if paid.is_settled:
        settled = json_response(made, status, headers)
        return await house.usdc.answered(request, paid, settled)
    soon = {"Retry-After": str(LEAST_RETRY_S)}
    pending = json_response(made | usdc_door.PENDING, 202, headers | soon)
    return await house.usdc.answered(request, paid, pending)


async def _ordered(
    request: Request, house: House, counter: Counter, wish: Wish, sold: Sold, *, has_key: bool
) -> Bought | NotPaid | None:
    """Return what a signed order in USDC has bought, or why it has bought nothing; None where none
    is shown. Only what makes a new batch is counted, and not with the 402 that came before it.

    What was paid is public: to be the payer's, a second answer needs the key of the first.
    """
    if house.usdc is None:
        return None

    weighed = 0  # bytes, that stay counted unless they are paid for

    async def prepare(payment: Payment) -> Thing:
        nonlocal weighed
        async with house.throttle.turn(request, Rule.CREATE):
            await house.throttle.weigh(request, len(wish.body))
            weighed = len(wish.body)
            return await house.batches.for_usdc(payment, wish.order, counter.has_accounts)

    paid = await house.usdc.bought(request, sold, prepare)
    if not isinstance(paid, usdc_sales.Bought):
        return paid
    if weighed:
        await house.throttle.unweigh(request, weighed)
    token = None
    if counter.has_accounts and (paid.is_proof or has_key):
        row = await house.batches.show(paid.owner.id)
        if row is not None and row.account_id is not None:
            token = await house.logins.by_payment(row.account_id)
    return Bought(paid.owner.id, in_usdc=paid, token=token)


async def _proven(house: House, proof: Proof, sold: Sold) -> Bought | BadProof:
    """Return the batch that this proof bought, if it is for this very request."""
    if not sold.is_proven_by(proof):
        return paywall.FOR_ANOTHER
    invoice = await house.paywall.bought(proof)
    if isinstance(invoice, BadProof):
        return invoice
    if invoice is None:
        return paywall.FORGOTTEN
    if invoice.purpose is not Purpose.BATCH or invoice.batch_id is None:
        return paywall.FOR_ANOTHER
    if proof.reference not in (None, public_id(invoice.batch_id)) or invoice.settled_at is None:
        return paywall.FOR_ANOTHER
    return Bought(invoice.batch_id, house.credentials.receipt(proof, invoice.settled_at))


async def _offered(house: House, meant: Proof | None, sold: Sold) -> MadeInvoice | None:
    """Return the invoice of the challenge that a bad proof holds, if it is for this request.

    Clients pay whatever a 402 offers, also in answer to a proof: so this one is offered again,
    which can't be paid twice.
    """
    if meant is None or not sold.is_proven_by(meant):
        return None
    invoice = await invoices.by_hash(house.db, meant.payment_hash)
    if invoice is None or invoice.batch_id is None:
        return None
    lives = invoice.state in (InvoiceState.OPEN, InvoiceState.SETTLED)
    return invoice.made if lives else None


async def _from_session(
    request: Request, house: House, counter: Counter, wish: Wish, shown: Verified
) -> str:
    """Have a session pay, whose macaroon was shown in place of a proof."""
    against = await house.sessions.standing(shown)
    if against is not None:
        raise unknown(Why.CREDENTIAL_INVALID, against)
    for tool in wish.order.named:
        if not shown.grant.allows_tool(tool):
            raise Refusal(Why.NOT_ALLOWED, f"This macaroon does not allow the tool {tool!r}.")
    if wish.order.refund_to:
        raise Refusal(
            Why.BAD_INPUT,
            "The field 'refundTo' has no use here: what isn't used stays in the session.",
        )
    name = name_of(request, caller_of(shown), wish.body, is_known=False)
    async with _counted(request, house, counter):
        return await house.batches.place_on(shown, wish.order, name)


async def _from_account(
    request: Request, house: House, counter: Counter, wish: Wish, holder: Holder
) -> str:
    """Have a person's account pay, who shows no proof of another payment."""
    if wish.order.refund_to:
        raise Refusal(
            Why.BAD_INPUT,
            "The field 'refundTo' has no use here: what isn't used stays in the account.",
        )
    payer = f"account:{holder.account_id}"
    name = name_of(request, payer, wish.body)
    async with house.throttle.turn(request, counter.rule):
        order = replace(wish.order, payer=payer)
        return await house.batches.place_for(holder.payer, order, name)


def _counted(request: Request, house: House, counter: Counter) -> AbstractAsyncContextManager[None]:
    return house.throttle.turn(request, counter.rule) if counter.counts_sessions else nullcontext()
