"""How a worker reads itself, its leases and its pay."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.promises.leases import wish
from app.strict_json import moment
from app.trade.lending import Standing
from db.claims import Claim
from db.leases import Named
from db.workers import Rate, WorkerRow
from pricing.money import worker_share
from statemachine.entries import Asset
from statemachine.owner import Reason
from statemachine.payout import PayoutState
from statemachine.worker import NEW_FOR, NEW_ITEMS

_WORDS = {Asset.MSAT: "msat", Asset.MICROUSDC: "microUsdc"}


def pay_shape(asset: Asset, amount: int) -> dict[str, Any]:
    """Return a pay, exactly: `msat`, or `microUsdc`."""
    return {_WORDS[asset]: amount}


def worker_shape(row: WorkerRow) -> dict[str, Any]:
    """Return what a worker is called, where its pay goes, and whether it is given items."""
    return {
        "workerId": row.id,
        "name": row.name,
        "state": row.state.value,
        "payTo": row.pay_to,
        "token": row.shown,
        "createdAt": moment(row.created_at),
        "delivered": row.delivered,
        "trusted": row.trusted_at is not None,
        "trustedAfter": {
            "items": NEW_ITEMS,
            "at": moment(row.created_at + NEW_FOR),
        },
    }


def standing_shape(standing: Standing) -> dict[str, Any]:
    """Return where a worker stands: what it holds, and what it has earned."""
    return {
        **worker_shape(standing.row),
        "leases": [lease_shape(lease) for lease in standing.held],
        "earnings": earnings_shape(standing),
        "payouts": [
            {
                "state": payout.state.value,
                **pay_shape(payout.asset, payout.amount),
                "to": payout.refund_to,
                "attempts": payout.attempts,
                "at": moment(payout.updated_at),
                **({"lastOutcome": payout.note} if payout.note else {}),
            }
            for payout in standing.payouts
        ],
    }


def earnings_shape(standing: Standing) -> dict[str, dict[str, int]]:
    """Return what a worker has earned in each asset, and where that is: held, free, on its way,
    paid. They add up."""
    row, shape = standing.row, dict[str, dict[str, int]]()
    held = {Asset.MSAT: row.held_msat, Asset.MICROUSDC: row.held_microusdc}
    earned = {each.asset: each.amount for each in standing.earned}
    for asset in Asset:
        sent = [payout for payout in standing.payouts if payout.asset is asset]
        # What routing did not need of a payout is owed once more: it was not paid.
        change = sum(payout.amount for payout in sent if payout.reason is Reason.CHANGE)
        paid = sum(payout.amount for payout in sent if payout.state is PayoutState.PAID)
        sending = sum(payout.amount for payout in sent if payout.state is not PayoutState.PAID)
        shape[_WORDS[asset]] = {
            "earned": earned.get(asset, 0),
            "held": held[asset],
            "free": standing.free[asset],
            "sending": sending,
            "paid": paid - change,
        }
    return shape


def claim_shape(claim: Claim) -> dict[str, Any]:
    """Return an item as the worker that holds it now is told it."""
    pay = worker_share(claim.share_amount, claim.pay_pct)
    return {
        "leaseId": claim.lease_id,
        "input": _input(claim.asked),
        "pay": pay_shape(claim.asset, pay),
        **_until(claim.until, claim.deadline),
    }


def lease_shape(lease: Named) -> dict[str, Any]:
    """Return an item that a worker holds."""
    pay = worker_share(lease.share_amount, lease.pay_pct)
    return {
        "leaseId": lease.id,
        "input": _input(lease.asked),
        "pay": pay_shape(lease.asset, pay),
        **_until(lease.until, lease.deadline),
    }


def _until(until: datetime, deadline: datetime) -> dict[str, str]:
    return {"until": moment(until), "deadline": moment(deadline)}


def _input(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to be made, and nothing else that the item's row tells."""
    wanted = wish(dict(asked))
    shape: dict[str, Any] = {
        "model": wanted.model,
        "prompt": wanted.prompt,
        "width": wanted.width,
        "height": wanted.height,
        "seed": wanted.seed,
    }
    if wanted.negative_prompt:
        shape["negativePrompt"] = wanted.negative_prompt
    if wanted.steps:
        shape["steps"] = wanted.steps
    if wanted.duration_ms:
        shape["durationMs"] = wanted.duration_ms
    return shape


def rate_shape(rate: Rate) -> dict[str, Any]:
    """Return what was paid in the last day for items of a model: the medians."""
    return {
        "model": rate.lane,
        "items": rate.items,
        "medianPay": pay_shape(rate.asset, rate.amount),
        "medianMs": rate.took_ms,
    }
