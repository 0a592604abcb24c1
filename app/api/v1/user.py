"""Whose account this is, and the keys by which programs use it."""

from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.caller import Holder
from app.http.fields import Body, Usdc, path_id
from app.keys.api_keys import Prefix
from app.plain_text import odd_in
from app.refusal import Refusal, Why
from app.strict_json import BadInput, moment
from app.trade.keys import MadeKey
from db.api_keys import KeyRow, Limits
from db.people_tables import IdentityKind
from pricing.money import (
    MicroUsd,
    microusdc_of,
    sats_down,
    sats_to_msat,
    sats_up,
    usd_number,
)
from statemachine.entries import Asset

KEEP = "Keep the key: it is shown this once."
MOST_NAMED = 64  # characters
MOST_SATS = 100_000_000


class MakeKey(Body):
    """POST /api/v1/user/apikeys."""

    name: Annotated[str, Field(min_length=1, max_length=MOST_NAMED)] = "API key"
    prefix: Annotated[str, Field(pattern="^(sk_live|uk)$")] = "sk_live"
    limit_sats: Annotated[int, Field(ge=0, le=MOST_SATS)] | None = Field(
        None, alias="spendingLimitSats"
    )
    limit_usdc: Usdc | None = Field(None, alias="spendingLimitUsdc")

    @property
    def limits(self) -> Limits:
        """What the key may spend in all."""
        sats, usdc = self.limit_sats, self.limit_usdc
        msat = None if sats is None else sats_to_msat(sats)
        return Limits(msat, None if usdc is None else microusdc_of(usdc))


async def me(request: Request) -> Response:
    """GET /api/v1/user/me: whose account this is, and what is on it."""
    house = house_of(request)
    holder = await house.callers.needed_account(request)
    names = await house.logins.names_of(holder.account_id)
    shape: dict[str, Any] = {"accountId": holder.account_id}
    for name in names:
        if name.kind is IdentityKind.PASSWORD:
            shape["username"] = name.name
    shape["wallets"] = [name.name for name in names if name.kind is IdentityKind.EVM]
    shape |= await balances_of(house, holder)
    if holder.key is not None:
        shape["apiKey"] = _shown(holder.key)
    return json_response(shape)


async def balances_of(house: House, holder: Holder) -> dict[str, Any]:
    """Return what an account has: a point is one sat."""
    balances = await house.accounts.balances(holder.account_id)
    sats = sats_down(balances[Asset.MSAT])
    usdc = usd_number(MicroUsd(balances[Asset.MICROUSDC]))
    return {"points": sats, "balanceSats": sats, "balanceUsdc": usdc}


async def api_keys(request: Request) -> Response:
    """GET /api/v1/user/apikeys: all that hold. POST: 201 with a new one, which is shown once."""
    house = house_of(request)
    holder = await house.callers.unlimited(request)
    if request.method != "POST":
        rows = await house.keys.of_account(holder.account_id)
        return json_response({"apiKeys": [_shown(row) for row in rows]})
    asked = parse(await read_body(request), MakeKey)
    odd = odd_in(asked.name)
    if odd:
        raise BadInput(f"The field 'name' holds the character {odd}, which is not text.")
    prefix = Prefix.SK if asked.prefix == "sk_live" else Prefix.UK
    made = await house.keys.make(holder.account_id, prefix, asked.name.strip(), asked.limits)
    return await _made(house, holder, made, 201)


async def rotate(request: Request) -> Response:
    """POST /api/v1/user/apikeys/{key_id}/rotate: 200 with the key that stands in its place now."""
    house = house_of(request)
    holder = await house.callers.unlimited(request)
    made = await house.keys.rotate(holder.account_id, path_id(request, _unknown, "key_id"))
    if made is None:
        raise _unknown()
    return await _made(house, holder, made, 200)


async def revoke(request: Request) -> Response:
    """DELETE /api/v1/user/apikeys/{key_id}: 200; that key isn't valid any more."""
    house = house_of(request)
    holder = await house.callers.unlimited(request)
    if not await house.keys.revoke(holder.account_id, path_id(request, _unknown, "key_id")):
        raise _unknown()
    return json_response({"ok": True})


def _unknown() -> Refusal:
    return Refusal(Why.UNKNOWN, "Your account has no API key with this id.")


async def _made(house: House, holder: Holder, made: MadeKey, status: int) -> Response:
    rows = await house.keys.of_account(holder.account_id)
    shown = next((_shown(row) for row in rows if row.id == made.id), {"id": made.id})
    return json_response({**shown, "apiKey": made.key, "message": KEEP}, status)


def _shown(row: KeyRow) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "key": row.shown,
        "createdAt": moment(row.created_at),
        "lastUsedAt": moment(row.last_used_at) if row.last_used_at else None,
        "spentSats": sats_up(row.spent_msat),
        "spentUsdc": usd_number(MicroUsd(row.spent_microusdc)),
    }
    if row.limit_msat is not None:
        shape["spendingLimitSats"] = sats_down(row.limit_msat)
    if row.limit_microusdc is not None:
        shape["spendingLimitUsdc"] = usd_number(MicroUsd(row.limit_microusdc))
    return shape
