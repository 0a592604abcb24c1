"""A session's page: its balance, its invoices, what was spent, and how it ends.

Who only has the address sees the balance and can pay; who holds the session can spend and close.
"""

from contextlib import suppress
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.api.jobs.requests import SessionRequest
from app.api.jobs.sessions import OpenSession, TopUp
from app.house import House, house_of
from app.http.body import parse
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.trade import sessions as prepaid
from app.trade.once import Name
from app.trade.sessions import caller_of
from app.web import holding, home, job_view, words
from app.web.cookies import token_of
from app.web.ending import claim
from app.web.fiat import rate_now
from app.web.forms import name_in, read_form
from app.web.page import page, render, see
from app.web.stub_wallet import pay_from_stub
from app.web.troubles import Trouble, WrongField, at, trouble_of
from db import payouts, sessions, spending
from db.invoices import InvoiceRow
from db.payouts import PayoutRow
from db.sessions import SessionView
from pricing.money import Msat, sats_to_msat
from statemachine.invoice import InvoiceState
from statemachine.owner import Purpose
from statemachine.payout import PayoutState
from statemachine.public_id import public_id
from statemachine.session import SessionState

MOST_SPENT = 50
RANGE = "Enter a whole number of sats, from 100 to 10,000."


@page
async def begin(request: Request) -> Response:
    """POST /sessions: a new session, whose holder is this browser."""
    house = house_of(request)
    given = await read_form(request)
    try:
        async with house.throttle.turn(request, Rule.CREATE):
            amount_msat = _paid_in(given, OpenSession)
            name = name_in(request, given)
            opening = await house.sessions.open(amount_msat, None, name)
    except (BadInput, Refusal) as refused:
        return await home.shown(request, given, trouble_of(refused, "amount"))
    session_id = opening.session_id
    row = await sessions.get(house.db, session_id)
    answer = see(holding.path_of(session_id))
    # Also when the form was sent twice: its key is one that only this browser was given.
    if row is not None and row.credential_used_at is None:
        answer.headers.append("Set-Cookie", holding.cookie_for(house, session_id, row.nonce))
    return answer


@page
async def show(request: Request) -> Response:
    """GET /sessions/{id}."""
    return await _shown(request, await holding.found(request))


@page
async def pay(request: Request) -> Response:
    """POST /sessions/{id}/pay: the stub's own wallet pays what is open. Development only."""
    house = house_of(request)
    await read_form(request)
    row = await holding.found(request)
    open_now = [each.to_pay for each in await sessions.open_invoices(house.db, row.id)]
    await pay_from_stub(house, [each.payment_hash for each in open_now if each])
    return see(holding.path_of(row.id))


@page
async def unlock(request: Request) -> Response:
    """POST /sessions/{id}/unlock: this browser shows the macaroon, or the preimage of the deposit,
    and is a holder from now on."""
    house = house_of(request)
    given = await read_form(request)
    row = await holding.found(request)
    try:
        await holding.proven(request, row, given.get("macaroon", ""))
    except Refusal as refused:
        return await _shown(request, row, trouble_of(refused, "macaroon"))
    answer = see(holding.path_of(row.id))
    answer.headers.append("Set-Cookie", holding.cookie_for(house, row.id, row.nonce))
    return answer


@page
async def lock(request: Request) -> Response:
    """POST /sessions/{id}/lock: this browser is no holder any more."""
    house = house_of(request)
    row, _, _ = await holding.holder_form(request)
    answer = see(holding.path_of(row.id))
    answer.headers.append("Set-Cookie", holding.forget(house, row.id))
    return answer


@page
async def macaroon(request: Request) -> Response:
    """POST /sessions/{id}/macaroon: shown because its holder asked, on this answer only."""
    house = house_of(request)
    row, _, _ = await holding.holder_form(request)
    whole = await house.credentials.session_macaroon(row.id, row.nonce)
    return await _shown(request, row, macaroon=whole)


@page
async def ask(request: Request) -> Response:
    """POST /sessions/{id}/ask: a request that the balance pays for, and on to its page."""
    house = house_of(request)
    row, holder, given = await holding.holder_form(request)
    try:
        against = await house.sessions.standing(holder)
        if against is not None:
            raise Refusal(Why.CREDENTIAL_INVALID, against)
        asked = _asked_of(given)
        max_msat = sats_to_msat(asked.max_sats) if asked.max_sats else None
        wanted = prepaid.Request(asked.request, max_msat)
        job_id = await house.sessions.submit(holder, wanted, _named(request, holder, given))
    except (BadInput, Refusal) as refused:
        return await _shown(request, row, trouble_of(refused, "ask"), given)
    answer = see(f"/jobs/{job_id}")
    answer.headers.append("Set-Cookie", holding.asked_here(house, row.id, job_id))
    return answer


@page
async def estimate(request: Request) -> Response:
    """POST /sessions/{id}/estimate: the same page, with what the request would cost."""
    house = house_of(request)
    row, _, given = await holding.holder_form(request)
    try:
        async with house.throttle.turn(request, Rule.ESTIMATE):
            fee_msat, quote = await house.till.firm(_asked_of(given).request)
    except (BadInput, Refusal) as refused:
        return await _shown(request, row, trouble_of(refused, "ask"), given)
    return await _shown(request, row, given=given, estimated=(fee_msat, quote.total_msat))


def _asked_of(given: dict[str, str]) -> SessionRequest:
    values: dict[str, Any] = {"request": given.get("request", "")}
    limit = home.limit_of(given)
    if limit is not None:
        values["maxSats"] = limit
    with at("request"):
        return parse(orjson.dumps(values), SessionRequest)


@page
async def topup(request: Request) -> Response:
    """POST /sessions/{id}/topup: an invoice, which the page then shows."""
    house = house_of(request)
    row, holder, given = await holding.holder_form(request)
    try:
        async with house.throttle.turn(request, Rule.CREATE):
            amount_msat = _paid_in(given, TopUp)
            await house.sessions.top_up(row.id, amount_msat, _named(request, holder, given))
    except (BadInput, Refusal) as refused:
        return await _shown(request, row, trouble_of(refused, "amount"), given)
    return see(holding.path_of(row.id))


@page
async def close(request: Request) -> Response:
    """POST /sessions/{id}/close: no more requests; what is left is owed back at once.

    It can't be undone, so it is done when its holder has said so twice.
    """
    house = house_of(request)
    row, _, given = await holding.holder_form(request)
    to = given.get("to", "")
    try:
        with at("close-to"):
            refund_to = house.refunds.destination_of(to).text if to else None
    except WrongField as refused:
        return await _shown(request, row, trouble_of(refused, "close-to"), given)
    if given.get("sure") != "yes":
        return await _shown(request, row, given=given, closing=True)
    await house.sessions.close(row.id, refund_to)
    if refund_to:
        with suppress(Refusal):  # nothing was left, or it is on its way already
            await house.refunds.direct(row.id, refund_to)
    return see(holding.path_of(row.id))


@page
async def refund(request: Request) -> Response:
    """POST /sessions/{id}/refund: what is left goes to an address, or to an invoice."""
    house = house_of(request)
    row, _, given = await holding.holder_form(request)
    try:
        await house.throttle.count(request, Rule.DESTINATION)
        await claim(house, row.id, given)
    except (BadInput, Refusal) as refused:
        return await _shown(request, row, trouble_of(refused, "to"), given)
    return see(f"{holding.path_of(row.id)}#refunds")


def _paid_in(given: dict[str, str], shape: type[OpenSession] | type[TopUp]) -> Msat:
    """Return the amount that a form says, as the API takes it."""
    digits = given.get("amount", "").replace(",", "")
    with at("amount", RANGE):
        if not digits.isdecimal() or not digits.isascii() or len(digits) > 12:
            raise BadInput(RANGE)
        return sats_to_msat(parse(orjson.dumps({"amount_sats": int(digits)}), shape).amount_sats)


def _named(request: Request, holder: Any, given: dict[str, str]) -> Name | None:
    name = name_in(request, {k: v for k, v in given.items() if k != "csrf"})
    return Name(caller_of(holder), name.key, name.body_sha256) if name else None


async def _shown(
    request: Request,
    row: SessionView,
    wrong: Trouble | None = None,
    given: dict[str, str] | None = None,
    macaroon: str = "",
    estimated: tuple[int, int] | None = None,
    closing: bool = False,
) -> Response:
    house = house_of(request)
    db, session_id, is_holder = house.db, row.id, holding.holds(request, row)
    now, asked_for = await sessions.with_invoices(db, session_id)
    row = now or row
    state = row.state
    owed = await payouts.of_owner(db, session_id)
    spent = await spending.of_session(db, session_id, MOST_SPENT) if is_holder else []
    invoices = [
        (one.purpose, await job_view.invoice(one.bolt11, one.amount_msat, one.expires_at))
        for one in (invoice.to_pay for invoice in asked_for)
        if one is not None
    ]
    waits = any(payout.state is not PayoutState.PAID for payout in owed)
    headline, sentence = _head_of(row, asked_for, owed, is_holder)
    return render(
        request,
        "session.html",
        wrong=wrong,
        session=row,
        public_id=public_id(session_id),
        state=state.value,
        headline=headline,
        sentence=sentence,
        is_holder=is_holder,
        is_open=state in (SessionState.ACTIVE, SessionState.PAUSED),
        is_moving=bool(waits or invoices or row.reserved_msat),
        invoices=invoices,
        rate=await rate_now(house),
        spent=spent,
        most_spent=MOST_SPENT,
        typical=await _typical(house) if is_holder else None,
        estimated=estimated,
        closing=closing,
        refunds=await job_view.refunds(request, owed, may_fetch=is_holder),
        macaroon=macaroon,
        given=given or {},
        key=house.new_id(),
        csrf=token_of(request, holding.COOKIE),
    )


async def _typical(house: House) -> dict[str, Any] | None:
    """Return what a short request costs at most: what its holder sees before asking anything."""
    prices = await home.prices(house)
    if prices is None:
        return None
    name, _, fee_msat, work_msat = prices["lines"][0]
    return {"name": name, "total_msat": fee_msat + work_msat}


def _head_of(
    row: SessionView, invoices: list[InvoiceRow], owed: list[PayoutRow], is_holder: bool
) -> tuple[str, str]:
    """Return a session's headline and the sentence below it: a closed one may never have opened."""
    state = row.state
    headline, sentence = words.SESSION_HEADS[state], words.SESSION_WORDS[state]
    if state is SessionState.ACTIVE and is_holder:
        headline = "Your balance"
    if state is SessionState.EXPIRED:
        if row.reserved_msat:
            sentence = words.STILL_RUNS
        elif not all(
            i.state is InvoiceState.SETTLED for i in invoices if i.purpose == Purpose.DEPOSIT
        ):
            sentence = words.NEVER_OPENED
        elif owed:
            sentence = words.LEFT[all(payout.state is PayoutState.PAID for payout in owed)]
    return headline, sentence
