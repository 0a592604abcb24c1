"""A run of a tool as the tools API tells of it. One run is a batch of one; a step of a cast is an
item of another.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Final

from app.http.batch_status import CANCELLED, DELETED, NOT_MADE, UNPAID, made_by
from app.http.previews import is_seen, preview_path
from app.strict_json import moment
from app.trade.runtimes import Typical
from db.batches import BatchView
from db.items import ItemView
from pricing.money import part_of, usd_number
from statemachine.batch import BatchState, Funding
from statemachine.item import ItemState

STATES: Final[Mapping[ItemState, str]] = {
    ItemState.WAITING: "pending",
    ItemState.PENDING: "pending",
    ItemState.CLAIMED: "processing",
    ItemState.PROCESSING: "processing",
    ItemState.COMPLETED: "completed",
    ItemState.FAILED: "failed",
    ItemState.DEAD_LETTER: "failed",
    ItemState.CANCELLED: "failed",
}
FINAL: Final = ("completed", "failed")
LEAST_CHECK_MS: Final = 500
FAILED: Final = "GENERATION_FAILED"


def file_url(base: str | None, artifact_id: str) -> str:
    """Return where a file is. Its id is chance: whoever was given it may read it."""
    return f"{base or ''}/api/v1/artifacts/{artifact_id}"


def outputs_of(items: Sequence[ItemView], base: str | None) -> list[dict[str, Any]]:
    """Return what came of items, each as an output of its type, in their order.

    A text that is no longer kept is left out; where a file was, its address says so.
    """
    return [
        output_of(item, base)
        for item in items
        if item.output is not None or item.artifact is not None
    ]


def output_of(item: ItemView, base: str | None) -> dict[str, Any]:
    """Return what came of a delivered item: a picture, a film, a text or values."""
    if item.output is not None:
        if "text" in item.output:
            return {"type": "text", "data": {"text": [item.output["text"]]}}
        return {"type": "values", "data": {"values": item.output["values"]}}
    is_film = (item.media_type or "").startswith("video/")
    kind, many = ("video", "videos") if is_film else ("image", "images")
    file = {
        "url": file_url(base, item.artifact or ""),
        "artifact": f"artifact:{item.artifact}",
        "mediaType": item.media_type,
        "width": item.width,
        "height": item.height,
        "sha256": item.sha256,
    }
    if item.expires_at is not None:
        file["expiresAt"] = moment(item.expires_at)
    return {"type": kind, "data": {many: [file]}}


def cost_of(item: ItemView) -> float:
    """Return what a delivered item costs in US dollars."""
    charged = item.charged_amount
    if charged is None or charged == item.share_amount:
        return usd_number(item.weight)
    return usd_number(part_of(item.weight, charged, item.share_amount))


def estimate(typical: Typical) -> dict[str, int]:
    """Return how long a run takes, and when to look for it."""
    return {
        "estimatedDurationSeconds": max(1, ceil(typical.ms / 1_000)),
        "checkAfterMs": max(LEAST_CHECK_MS, typical.ms),
    }


def generation(
    generation_id: str, row: BatchView, item: ItemView, typical: Typical, base: str | None
) -> dict[str, Any]:
    """Return a run: its status, and what came of it or why nothing did."""
    status = STATES[item.state]
    shape: dict[str, Any] = {
        "generationId": generation_id,
        "toolId": item.model,
        "status": status,
        "progress": item.progress,
        "createdAt": moment(item.created_at),
    }
    if row.state is BatchState.AWAITING_PAYMENT and row.funding is Funding.INVOICE:
        shape["awaitingPayment"] = True
    if is_seen(item):
        shape["preview"] = f"{base or ''}{preview_path(row.id, item.id)}"
    if row.forgotten_at is not None:
        shape["deleted"] = DELETED
    if status not in FINAL:
        return shape | estimate(typical)
    if item.ended_at is not None:
        shape["completedAt"] = moment(item.ended_at)
    if status == "completed":
        maker = made_by(item)
        return shape | {
            "outputs": outputs_of([item], base),
            "costUsd": cost_of(item),
            **({"madeBy": maker} if maker else {}),
        }
    return shape | {
        "outputs": [],
        "costUsd": None,
        "error": {"code": FAILED, "message": why_failed(row, item)},
    }


def why_failed(row: BatchView, item: ItemView) -> str:
    """Return why nothing came of a run."""
    if item.state is ItemState.CANCELLED:
        return CANCELLED if row.called_off or row.funding is not Funding.INVOICE else UNPAID
    return item.reason or NOT_MADE
