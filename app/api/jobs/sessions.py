"""Sessions: pay once, run many (the agent jobs API). Whoever holds the macaroon spends."""

from contextlib import suppress
from typing import Annotated, Any

from pydantic import AliasChoices, Field
from starlette.requests import Request
from starlette.responses import Response

from app.api.notifying import Notify, shown, webhook_of
from app.house import House, house_of
from app.http import session_rights
from app.http.body import json_response, parse, read_body
from app.http.claims import ClaimRefund, answer_claim
from app.http.fields import Body, name_of, path_id, wait_of
from app.http.links import base_url
from app.http.session_rights import Rights
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.strict_json import BadInput, moment
from app.trade import sessions as prepaid
from app.trade.sessions import unknown_session
from db import payouts, sessions
from db.invoices import InvoiceRow
from db.sessions import SessionView
from payments.session_macaroon import Verified
from pricing.money import sats_down, sats_to_msat
from statemachine.notice import Topic
from statemachine.owner import OwnerKind, Purpose
from statemachine.session import SessionState

Sats = Annotated[int, Field(ge=100, le=10_000)]
# All other fields are in camelCase, so this one is read in it too.
AMOUNT = Field(validation_alias=AliasChoices("amount_sats", "amountSats"))


class OpenSession(Body):
    """POST /api/sessions."""

    amount_sats: Sats = AMOUNT
    refund_to: Annotated[str, Field(min_length=1)] | None = Field(None, alias="refundTo")
    notify: Notify | None = None


class TopUp(Body):
    """POST /api/sessions/{id}/topup."""

    amount_sats: Sats = AMOUNT


class CloseSession(Body):
    """POST /api/sessions/{id}/close: nothing, or where the rest should go."""

    refund_to: Annotated[str, Field(min_length=1)] | None = Field(None, alias="refundTo")


class Revoke(Body):
    """POST /api/sessions/{id}/revoke: one credential with its children, or all of them."""

    macaroon: Annotated[str, Field(min_length=1)] | None = None


async def create(request: Request) -> Response:
    """POST /api/sessions: 201 with the deposit's invoice."""
    house = house_of(request)
    async with house.throttle.turn(request, Rule.CREATE):
        body = await read_body(request)
        await house.throttle.weigh(request, len(body))
        asked = parse(body, OpenSession)
        refund_to = house.refunds.destination_of(asked.refund_to).text if asked.refund_to else None
        name = name_of(request, f"peer:{house.throttle.address(request)}", body, is_known=False)
        webhook = webhook_of(request, house, asked.notify, Topic.SESSION)
        deposit_msat = sats_to_msat(asked.amount_sats)
        opening = await house.sessions.open(deposit_msat, refund_to, name, webhook)
    where = f"/api/sessions/{opening.session_id}"
    made = {
        "sessionId": opening.session_id,
        "state": SessionState.AWAITING_PAYMENT.value,  # the same answer to the same name, for ever
        "invoice": house.shapes.invoice(opening.invoice),
        **await shown(house, asked.notify, OwnerKind.SESSION, opening.session_id),
    }
    if opening.claim is not None:
        made["claim"] = opening.claim
        where += f"?claim={opening.claim}"
        made["next"] = f"Pay the invoice, then GET {where} shows the macaroon."
    else:
        made["next"] = (
            f"Pay the invoice, then GET {where} with its preimage as X-Payment-Preimage shows the"
            " macaroon. The claim was answered once, to who opened the session."
        )
    return json_response(made, 201, {"Location": where})


async def show(request: Request) -> Response:
    """GET /api/sessions/{id}: where it stands. Also takes its payments in."""
    house = house_of(request)
    session_id = path_id(request, unknown_session)
    wait_s = wait_of(request)
    row = await _found(house, session_id)
    if wait_s and row.state is SessionState.AWAITING_PAYMENT:
        await house.waiting.while_unpaid(session_id, wait_s)
    else:
        await house.waiting.nudge_invoices(await sessions.open_invoices(house.db, session_id))
    pending, row = await _standing(house, session_id)
    # After them: what was paid meanwhile is not told without its macaroon.
    rights = await house.doorkeeper.of_caller(request, row)
    return json_response(await _status(request, house, pending, row, rights))


async def topup(request: Request) -> Response:
    """POST /api/sessions/{id}/topup: 200 with an invoice; paid, it resumes a paused session."""
    house = house_of(request)
    session_id = path_id(request, unknown_session)
    shown = await _holder(request, session_id, "topup")
    async with house.throttle.turn(request, Rule.CREATE):
        body = await read_body(request)
        asked = parse(body, TopUp)
        invoice = await house.sessions.top_up(
            session_id,
            sats_to_msat(asked.amount_sats),
            name_of(request, prepaid.caller_of(shown), body),
        )
    return json_response({"sessionId": session_id, "topup": house.shapes.invoice(invoice)})


async def close(request: Request) -> Response:
    """POST /api/sessions/{id}/close: no more requests; what is left is owed back at once."""
    house = house_of(request)
    session_id = path_id(request, unknown_session)
    shown = await _holder(request, session_id, "close")
    body = await read_body(request)
    asked = parse(body, CloseSession) if body.strip() else CloseSession()
    # Refused before anything is closed.
    refund_to = house.refunds.destination_of(asked.refund_to).text if asked.refund_to else None
    await house.sessions.close(session_id, refund_to)
    if refund_to:
        with suppress(Refusal):  # nothing was left, or it is on its way already
            await house.refunds.direct(session_id, refund_to)
    rights = session_rights.of_credential(shown)
    return json_response(await _status(request, house, *await _standing(house, session_id), rights))


async def refund(request: Request) -> Response:
    """POST /api/sessions/{id}/refund: pay what is owed back to an invoice, or to a destination."""
    house = house_of(request)
    session_id = path_id(request, unknown_session)
    await _holder(request, session_id, "refund")
    await house.throttle.count(request, Rule.DESTINATION)
    asked = parse(await read_body(request), ClaimRefund)
    return await answer_claim(house.refunds, session_id, asked)


async def revoke(request: Request) -> Response:
    """POST /api/sessions/{id}/revoke: take a credential no more, or all of them but a new one."""
    house = house_of(request)
    session_id = path_id(request, unknown_session)
    shown = await _holder(request, session_id, "revoke")
    body = await read_body(request)
    asked = parse(body, Revoke) if body.strip() else Revoke()
    if asked.macaroon is None:
        return await _revoke_all(house, shown)
    child = await house.credentials.verify(asked.macaroon)
    ours = isinstance(child, Verified) and child.session_id == session_id
    if not isinstance(child, Verified) or not ours or child.nonce != shown.nonce:
        raise BadInput("The field 'macaroon' must hold one of this session.")
    if shown.grant.links[-1] not in child.grant.links:
        raise Refusal(Why.NOT_ALLOWED, "A macaroon can revoke only itself and its children.")
    if len(child.grant.links) == 1:
        return await _revoke_all(house, shown)  # it is itself that it revokes
    link = child.grant.links[-1]
    await house.sessions.revoke(session_id, link)
    return json_response({"revoked": link})


async def _revoke_all(house: House, shown: Verified) -> Response:
    if len(shown.grant.links) > 1:
        raise Refusal(Why.NOT_ALLOWED, "Only the session's whole macaroon can revoke them all.")
    nonce = await house.sessions.renew(shown.session_id)
    whole = await house.credentials.session_macaroon(shown.session_id, nonce)
    return json_response({"revoked": "all", "macaroon": whole})


async def _holder(request: Request, session_id: str, endpoint: str) -> Verified:
    house = house_of(request)
    return await house.callers.holder(request, session_id, endpoint, house.sessions.standing)


async def _found(house: House, session_id: str) -> SessionView:
    row = await sessions.get(house.db, session_id)
    if row is None:
        raise unknown_session()
    return row


async def _standing(house: House, session_id: str) -> tuple[list[InvoiceRow], SessionView]:
    row, pending = await sessions.with_invoices(house.db, session_id)
    if row is None:
        raise unknown_session()
    return pending, row


async def _status(
    request: Request, house: House, pending: list[InvoiceRow], row: SessionView, rights: Rights
) -> dict[str, Any]:
    session_id, state = row.id, row.state
    shape: dict[str, Any] = {
        "sessionId": session_id,
        "state": state.value,
        "balanceSats": sats_down(row.balance_msat),
        "reservedSats": sats_down(row.reserved_msat),
        "minimumBalanceSats": sats_down(row.minimum_msat),
        "expiresAt": moment(row.expires_at),
    }
    if row.ended is not None:
        shape["expiredBecause"] = row.ended
    if (
        rights.macaroon and state is not SessionState.AWAITING_PAYMENT
    ):  # once over, it claims the rest
        shape["macaroon"] = await house.credentials.session_macaroon(session_id, row.nonce)
    for invoice in pending:
        if (to_pay := invoice.to_pay) is not None:
            what = "invoice" if to_pay.purpose is Purpose.DEPOSIT else "pendingTopup"
            shape[what] = house.shapes.invoice(to_pay)
    owed = await payouts.of_owner(house.db, session_id) if rights.refunds else []
    if owed:
        base = base_url(request, house.settings.public_url) if rights.codes else None
        shape["refunds"] = [house.shapes.refund(payout, base) for payout in owed]
    return shape
