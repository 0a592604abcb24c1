"""Whose account this is, what is on it, and what it was spent on."""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.account_shapes import balances_shape, bought_shape, history_shape, key_shape
from app.http.body import json_response
from app.http.caller import Holder
from app.strict_json import BadInput
from app.trade.histories import TimeUnit
from db.people_tables import IdentityKind
from statemachine.entries import Asset
from statemachine.payout import PayoutState

RECENT = 10
MOST_BACK = 1_000  # how many times of a unit one can look back


async def me(request: Request) -> Response:
    """GET /api/v1/user/me: whose account this is, and what is on it."""
    house = house_of(request)
    holder = await house.callers.needed_account(request)
    balances = await house.accounts.balances(holder.account_id)
    return json_response(await _user(house, holder, balances))


async def dashboard(request: Request) -> Response:
    """GET /api/v1/user/dashboard: all at a glance. Also takes its payments in."""
    house = house_of(request)
    holder = await house.callers.needed_account(request)
    who = holder.account_id
    await house.waiting.nudge_invoices(await house.accounts.deposits(who))
    recent = [bought_shape(row) for row in await house.histories.bought(who, RECENT)]
    month = history_shape(await house.histories.spent(who, TimeUnit.MONTH, 0))
    balances, deposits, payouts = await house.accounts.standing(who)
    shape: dict[str, Any] = {
        **await _user(house, holder, balances),
        "lastMonth": {name: month[name] for name in ("points", "sats", "usdc", "tools")},
        "recent": recent,
        "openDeposits": len(deposits),
        "openWithdrawals": sum(row.state is not PayoutState.PAID for row in payouts),
    }
    return json_response(shape)


async def history(request: Request) -> Response:
    """GET /api/v1/user/history: what was spent, by the day and by what it was spent on."""
    house = house_of(request)
    holder = await house.callers.needed_account(request)
    unit, offset = _one(request, "timeUnit", "month"), _one(request, "offset", "0")
    units = [each.value for each in TimeUnit]
    if unit not in units:
        raise BadInput(f"The parameter 'timeUnit' must be one of: {', '.join(units)}.")
    if not re.fullmatch("[0-9]{1,4}", offset) or int(offset) > MOST_BACK:
        raise BadInput(
            f"The parameter 'offset' must be a whole number, from 0 (the latest) to {MOST_BACK}."
        )
    spent = await house.histories.spent(holder.account_id, TimeUnit(unit), int(offset))
    return json_response({"timeUnit": unit, "offset": int(offset), **history_shape(spent)})


def _one(request: Request, name: str, default: str) -> str:
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise BadInput(f"The parameter {name!r} is given twice. Give it once.")
    return given[0] if given else default


async def _user(house: House, holder: Holder, balances: dict[Asset, int]) -> dict[str, Any]:
    names = await house.logins.names_of(holder.account_id)
    shape: dict[str, Any] = {"accountId": holder.account_id}
    for name in names:
        if name.kind is IdentityKind.PASSWORD:
            shape["username"] = name.name
    shape["wallets"] = [name.name for name in names if name.kind is IdentityKind.EVM]
    shape["lightningKeys"] = [name.name for name in names if name.kind is IdentityKind.LIGHTNING]
    shape |= balances_shape(balances)
    if holder.key is not None:
        shape["apiKey"] = key_shape(holder.key)
    return shape
