"""What more than one address says of an account: its balances, its keys, what it has spent."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.strict_json import moment
from app.trade.histories import History
from db.api_keys import KeyRow
from db.user_spending import Bought
from pricing.money import MicroUsd, sats_down, sats_up, usd_number
from statemachine.batch import BatchState
from statemachine.entries import Asset


def balances_shape(balances: Mapping[Asset, int]) -> dict[str, Any]:
    """Return what an account has: a point is one sat."""
    sats = sats_down(balances[Asset.MSAT])
    usdc = usd_number(MicroUsd(balances[Asset.MICROUSDC]))
    return {"points": sats, "balanceSats": sats, "balanceUsdc": usdc}


def key_shape(row: KeyRow) -> dict[str, Any]:
    """Return a key as its holder is shown it."""
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


def history_shape(history: History) -> dict[str, Any]:
    """Return what was spent in a time: in all, by the day, and by what it was spent on."""
    days = [
        {
            "date": str(day),
            **_spent((r.asset, r.amount, r.jobs) for r in history.days if r.day == day),
        }
        for day in sorted({row.day for row in history.days})
    ]
    tools = [
        {
            "toolId": tool,
            **_spent((r.asset, r.amount, r.runs) for r in history.tools if r.tool == tool),
        }
        for tool in sorted({row.tool for row in history.tools})
    ]
    return {
        "from": moment(history.first),
        "to": moment(history.end),
        **_spent((row.asset, row.amount, row.jobs) for row in history.days),
        "days": [_named(day, "jobs") for day in days],
        "tools": sorted((_named(tool, "runs") for tool in tools), key=_dearest_first),
    }


def bought_shape(row: Bought) -> dict[str, Any]:
    """Return something that an account has bought, in a line."""
    in_sats = row.asset is Asset.MSAT
    shape: dict[str, Any] = {
        "jobId": row.id,
        "status": row.state.value,
        "createdAt": moment(row.created_at),
        "items": row.items,
        "delivered": row.delivered,
        "underWay": row.state in (BatchState.QUEUED, BatchState.PROCESSING),
    }
    if row.tool is not None:
        shape["toolId"] = row.tool
    if in_sats:
        shape["points"] = shape["sats"] = sats_up(row.amount)
    else:
        shape["usdc"] = usd_number(MicroUsd(row.amount))
    return shape


def _spent(rows: Iterable[tuple[Asset, int, int]]) -> dict[str, Any]:
    """Return amounts as one in each asset, and how many there are. Part of a sat counts whole."""
    amounts, count = dict.fromkeys(Asset, 0), 0
    for asset, amount, n in rows:
        amounts[asset] += amount
        count += n
    sats = sats_up(amounts[Asset.MSAT])
    usdc = usd_number(MicroUsd(amounts[Asset.MICROUSDC]))
    return {"points": sats, "sats": sats, "usdc": usdc, "count": count}


def _named(shape: dict[str, Any], name: str) -> dict[str, Any]:
    count = shape.pop("count")
    return {**shape, name: count}


def _dearest_first(shape: dict[str, Any]) -> tuple[int, float, str]:
    return -shape["sats"], -shape["usdc"], shape["toolId"]
