"""Whose account a key opens, how many credits are on it, and how more are bought.

A credit is a number of sats: what is shown is the account's one balance, and nothing is kept twice.
"""

from typing import Annotated, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.fields import Body, name_of
from app.http.image_job_shapes import credits_shape, profile_shape
from app.http.key_holders import counted_holder
from app.http.throttle import Rule
from app.strict_json import BadInput
from db.people_tables import IdentityKind
from pricing.money import Msat, credits_down, credits_to_msat, sats_to_msat
from statemachine.entries import Asset

MOST_MSAT: Final = sats_to_msat(10_000_000)  # that is bought at once


class BuyCredits(Body):
    """POST /api/v1/credits."""

    credits: Annotated[int, Field(ge=1, le=10_000_000)]


async def _balance_of(house: House, account_id: str) -> Msat:
    """Return what an account has in sats, with what it was paid just now."""
    await house.waiting.nudge_invoices(await house.accounts.deposits(account_id))
    return Msat((await house.accounts.balances(account_id))[Asset.MSAT])


async def me(request: Request) -> Response:
    """GET /api/v1/users/me: whose account this is, and how many credits are on it."""
    house = house_of(request)
    holder = await counted_holder(request, house.callers, house.throttle)
    names = await house.logins.names_of(holder.account_id)
    by_kind = {name.kind: name.name for name in names}
    name = next((by_kind[kind] for kind in IdentityKind if kind in by_kind), "")
    profile = await house.logins.profile_of(holder.account_id)
    balance_msat = await _balance_of(house, holder.account_id)
    sats = house.settings.credit_sats
    return json_response(profile_shape(holder.account_id, name, profile, balance_msat, sats))


async def credits_left(request: Request) -> Response:
    """GET /api/v1/users/me/credits: how many credits are on the account."""
    house = house_of(request)
    holder = await counted_holder(request, house.callers, house.throttle)
    balance_msat = await _balance_of(house, holder.account_id)
    return json_response(credits_shape(holder.account_id, balance_msat, house.settings.credit_sats))


async def buy(request: Request) -> Response:
    """POST /api/v1/credits: 201 with an invoice; paid, the credits are on the account."""
    house = house_of(request)
    holder = await counted_holder(request, house.callers, house.throttle)
    async with house.throttle.turn(request, Rule.CREATE):
        body = await read_body(request)
        asked = parse(body, BuyCredits)
        amount_msat = credits_to_msat(asked.credits, house.settings.credit_sats)
        if amount_msat > MOST_MSAT:
            most = credits_down(MOST_MSAT, house.settings.credit_sats)
            raise BadInput(f"The field 'credits' must be 1 to {most}.")
        name = name_of(request, f"account:{holder.account_id}", body)
        invoice = await house.accounts.deposit(holder.account_id, amount_msat, name)
    shape = {"credits": asked.credits, "invoice": house.shapes.invoice(invoice)}
    return json_response(shape, 201)
