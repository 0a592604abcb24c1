"""The keys by which programs use an account."""

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.account_shapes import key_shape
from app.http.body import json_response, parse, read_body
from app.http.caller import Holder
from app.http.fields import Body, Usdc, path_id
from app.keys.api_keys import Prefix
from app.plain_text import odd_in
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.trade.keys import MadeKey
from db.api_keys import Limits
from pricing.money import (
    microusdc_of,
    sats_to_msat,
)

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


async def api_keys(request: Request) -> Response:
    """GET /api/v1/user/apikeys: all that hold. POST: 201 with a new one, which is shown once."""
    house = house_of(request)
    holder = await house.callers.unlimited(request)
    if request.method != "POST":
        rows = await house.keys.of_account(holder.account_id)
        return json_response({"apiKeys": [key_shape(row) for row in rows]})
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
    shown = next((key_shape(row) for row in rows if row.id == made.id), {"id": made.id})
    return json_response({**shown, "apiKey": made.key, "message": KEEP}, status)
