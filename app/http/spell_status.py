"""Spells and casts as others see them, in the words of the tools and spells API."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.http.batch_status import CANCELLED, DELETED, NOT_MADE, paid_with
from app.http.generation_status import STATES
from app.http.job_status import Shapes, refund_state
from app.http.previews import is_seen, preview_path
from app.strict_json import moment
from app.trade.spells import SpellQuote
from db.batches import BatchView
from db.casts import CastRow, StepView
from db.spells import SpellView
from pricing.money import msat_to_sats, sats_up, usd_shown
from statemachine.batch import BATCH
from statemachine.cast import CastState, state_of
from statemachine.entries import Asset
from statemachine.item import ItemState
from statemachine.public_id import shown

CASTS: Final[Mapping[CastState, str]] = {
    CastState.AWAITING_PAYMENT: "awaiting_payment",
    CastState.RUNNING: "running",
    CastState.COMPLETED: "completed",
    CastState.FAILED: "failed",
}
HOUSE: Final = "boltwork"  # who wrote what came with the server


def card(spell: SpellView) -> dict[str, Any]:
    """Return a spell as the marketplace lists it."""
    return {
        "spellId": spell.id,
        "slug": spell.slug,
        "name": spell.document["name"],
        "description": spell.document["description"],
        "uses": spell.uses,
        "author": HOUSE if spell.author_id is None else shown(spell.author_id),
        "tags": spell.document["tags"],
        "createdAt": moment(spell.created_at),
    }


def details(spell: SpellView, broken: str | None) -> dict[str, Any]:
    """Return a spell with its document; `broken`: why it can't be cast."""
    shape = card(spell) | {
        "version": spell.number,
        "publishedAt": moment(spell.published_at),
        "authorSharePct": spell.document["author_share_pct"],
        "parameters": spell.document["parameters"],
        "steps": [
            {"stepId": step["id"], "toolId": step["tool"], "inputs": step["inputs"]}
            for step in spell.document["steps"]
        ],
        "castable": broken is None and spell.hidden_why is None,
    }
    if broken is not None:
        shape["broken"] = broken
    if spell.hidden_why is not None:
        shape["hidden"] = spell.hidden_why
    return shape


def quote_shape(quote: SpellQuote) -> dict[str, Any]:
    """Return what a cast costs: a point is a sat."""
    return {
        "totalCostPts": msat_to_sats(quote.total_msat),
        "totalRuntimeMs": quote.runtime_ms,
        "stepBreakdown": [
            {
                "stepId": step.id,
                "toolId": step.tool,
                "estimatedCostPts": step.points,
                "estimatedRuntimeMs": step.runtime_ms,
                "runtimeMeasured": step.measured,
            }
            for step in quote.steps
        ],
        "authorSharePct": quote.author_pct,
        "authorSharePts": quote.author_points,
        "totalCostUsd": usd_shown(quote.total_microusd),
    }


def cast_shape(
    row: CastRow,
    steps: Sequence[StepView],
    batches: Sequence[BatchView],
    shapes: Shapes,
    base: str | None,
) -> dict[str, Any]:
    """Return a cast, with each of its steps and what is owed back for it."""
    state = state_of([step.made for step in steps])
    cost = sum(step.charged_microusd for step in steps if step.state is ItemState.COMPLETED)
    # The steps were read after the batches: they may have ended since, and then say when.
    ends = [batch.completed_at for batch in row.batches] + [step.ended_at for step in steps]
    ended = [end for end in ends if end is not None]
    is_over = state in (CastState.COMPLETED, CastState.FAILED)
    owed = [payout for batch in batches for payout in batch.payouts or ()]
    shape: dict[str, Any] = {
        "_id": row.id,
        "castId": row.id,
        "spellId": row.spell_id,
        "slug": row.slug,
        "version": row.number,
        "status": CASTS[state],
        "stepGenerationIds": [step.item_id for step in steps],
        "costUsd": usd_shown(cost),
        "startedAt": moment(row.paid_at or row.created_at),
        "completedAt": moment(max(ended)) if ended and is_over else None,
        "steps": [_step(row, step, base) for step in steps],
        "parameters": row.parameters,
        "batchIds": [batch.id for batch in row.batches],
        "refundState": refund_state(owed),
        "resumable": state is CastState.FAILED and row.forgotten_at is None,
    }
    if row.forgotten_at is not None:
        shape["deleted"] = DELETED
    if owed:
        shape["refunds"] = [shapes.refund(payout, base) for payout in owed]
    paid = [batch for batch in batches if batch.asset is Asset.MSAT]
    if paid:
        shape["chargedSats"] = sum(sats_up(batch.charged_amount) for batch in paid)
    if batches:
        shape["paidWith"] = paid_with(batches[-1])
    return shape


def _step(row: CastRow, step: StepView, base: str | None) -> dict[str, Any]:
    tool = row.document["steps"][step.step - 1]["tool"]
    shape: dict[str, Any] = {
        "stepId": step.step,
        "toolId": tool,
        "generationId": step.item_id,
        "status": STATES[step.state],
        "progress": step.progress,
        "costUsd": usd_shown(step.charged_microusd) if step.state is ItemState.COMPLETED else None,
    }
    if STATES[step.state] == "failed":
        lost = CANCELLED if step.state is ItemState.CANCELLED else NOT_MADE
        shape["error"] = step.reason or lost
    if is_seen(step):
        shape["preview"] = f"{base or ''}{preview_path(step.batch_id, step.item_id)}"
    if step.ended_at is not None:
        shape["completedAt"] = moment(step.ended_at)
    return shape


def is_over(row: CastRow) -> bool:
    """Say whether nothing of a cast is under way."""
    return all(BATCH.final(batch.state) for batch in row.batches)
