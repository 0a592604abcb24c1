"""How a worker reads itself, its leases and its pay."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.promises.leases import wish
from app.strict_json import moment
from app.trade.lenders import SHOWN, Standing
from db.claims import Claim
from db.leases import Named
from db.worker_payouts import Purse, Sent
from db.workers import Rate, WorkerRow, facts_of
from payments.usdc.refund import read_refund_to
from statemachine.entries import Asset
from statemachine.reputation import reputation_of
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
        **_destinations(row),
        "token": row.shown,
        "createdAt": moment(row.created_at),
        "delivered": row.delivered,
        "trusted": row.trusted_at is not None,
        "trustedAfter": {
            "items": NEW_ITEMS,
            "at": moment(row.created_at + NEW_FOR),
        },
    }


def _destinations(row: WorkerRow) -> dict[str, Any]:
    """Return where a worker's pay goes, and where it goes next."""
    shape: dict[str, Any] = {"payTo": row.pay_to}
    if row.usdc_to is not None:
        shape["payToUsdc"] = _address(row.usdc_to)
    if row.payout_key is not None:
        shape |= {"payoutKey": row.payout_key, "signedChanges": row.signed}
    if row.next_at is not None:
        coming: dict[str, Any] = {"at": moment(row.next_at)}
        if row.next_pay_to is not None:
            coming["payTo"] = row.next_pay_to
        if row.next_usdc_to is not None:
            coming["payToUsdc"] = _address(row.next_usdc_to)
        shape["next"] = coming
    return shape


def _address(usdc_to: str) -> str:
    told = read_refund_to(usdc_to)
    assert told is not None, "it was written by us"
    return told[1]


def standing_shape(standing: Standing) -> dict[str, Any]:
    """Return where a worker stands: what it holds, and what it has earned."""
    return {
        **worker_shape(standing.row),
        "leases": [lease_shape(lease) for lease in standing.held],
        "earnings": {_WORDS[purse.asset]: purse_shape(purse) for purse in standing.purses},
        "reputation": reputation_shape(standing),
        **payouts_shape(standing.payouts),
    }


def payouts_shape(page: list[Sent]) -> dict[str, Any]:
    """Return a page of what was sent to a worker; `nextBefore` asks for the next, if there is."""
    shape: dict[str, Any] = {"payouts": [_payout(payout) for payout in page]}
    if len(page) == SHOWN:
        shape["nextBefore"] = str(page[-1].mark)
    return shape


def _payout(payout: Sent) -> dict[str, Any]:
    return {
        "state": payout.state.value,
        **pay_shape(payout.asset, payout.amount),
        "to": payout.refund_to,
        "attempts": payout.attempts,
        "at": moment(payout.updated_at),
        **({"txid": payout.txid} if payout.txid else {}),
        **({"lastOutcome": payout.note} if payout.note else {}),
    }


def purse_shape(purse: Purse) -> dict[str, int]:
    """Return what a worker has earned in an asset: held, free, on its way and paid; they add up."""
    return {
        "earned": purse.earned,
        "held": purse.held,
        "free": purse.free,
        "sending": purse.sending,
        "paid": purse.paid,
        "forfeited": purse.forfeited,
    }


def reputation_shape(standing: Standing) -> dict[str, Any]:
    """Return what a worker has shown, and how much it is given at once for that."""
    row = standing.row
    told = reputation_of(facts_of(row))
    settled_msat = row.earned_msat - row.held_msat - row.forfeited_msat
    shares = {"acceptedPct": told.accepted_pct, "onTimePct": told.on_time_pct}
    return {
        "settledMsat": settled_msat,
        "accepted": row.delivered,
        "failed": row.failed,
        "lost": row.lost,
        "late": row.late,
        **{name: share for name, share in shares.items() if share is not None},
        "canaries": {"passed": told.canaries_passed, "failed": told.canaries_failed},
        "atOnce": told.at_once,
    }


def claim_shape(claim: Claim) -> dict[str, Any]:
    """Return an item as the worker that holds it now is told it."""
    return {
        "leaseId": claim.lease_id,
        "input": _input(claim.asked),
        "pay": pay_shape(claim.asset, claim.pay_amount),
        **_until(claim.until, claim.deadline),
    }


def lease_shape(lease: Named) -> dict[str, Any]:
    """Return an item that a worker holds."""
    return {
        "leaseId": lease.id,
        "input": _input(lease.asked),
        "pay": pay_shape(lease.asset, lease.pay_amount),
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
