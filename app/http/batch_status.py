"""A batch as others see it: in the words of the bulk API, and in those of the generations API.

Both read any batch: one image is a batch of one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from app.http.job_status import Shapes, refund_state
from app.http.previews import is_seen, preview_path
from app.loops.making import HOUSE
from app.refusal import Refusal, Why
from app.strict_json import moment
from app.trade.catalogue import NETWORK, Kind, Listed
from app.trade.inputs import film_of
from db.batches import BatchView, Pace
from db.invoices import MadeInvoice
from db.items import ItemView
from pricing.money import sats_up, usd_number
from statemachine.batch import BatchState, Funding
from statemachine.entries import Asset
from statemachine.item import ItemState

BULK_STATES: Final[Mapping[BatchState, str]] = {
    BatchState.AWAITING_PAYMENT: "awaiting_payment",
    BatchState.QUEUED: "queued",
    BatchState.PROCESSING: "processing",
    BatchState.COMPLETED: "completed",
    BatchState.FAILED: "failed",
    BatchState.CANCELLED: "cancelled",
}
BULK_ITEMS: Final[Mapping[ItemState, str]] = {
    ItemState.WAITING: "pending",
    ItemState.PENDING: "pending",
    ItemState.CLAIMED: "processing",
    ItemState.PROCESSING: "processing",
    ItemState.COMPLETED: "completed",
    ItemState.FAILED: "failed",
    ItemState.DEAD_LETTER: "dead_letter",
    ItemState.CANCELLED: "failed",
}
GENERATION_STATES: Final[Mapping[BatchState, str]] = {
    BatchState.AWAITING_PAYMENT: "awaiting_payment",
    BatchState.QUEUED: "pending",
    BatchState.PROCESSING: "processing",
    BatchState.COMPLETED: "completed",
    BatchState.FAILED: "failed",
    BatchState.CANCELLED: "failed",
}
PAID_WITH: Final[Mapping[Funding, str]] = {
    Funding.INVOICE: "lightning",
    Funding.SESSION: "session",
    Funding.ACCOUNT: "account",
    Funding.X402: "x402",
    Funding.HOUSE: "house",
}
BY_PAYMENT: Final = (Funding.INVOICE, Funding.X402)  # which may never come
PLURALS: Final[Mapping[Kind, str]] = {
    Kind.IMAGE: "images",
    Kind.VIDEO: "videos",
    Kind.TOOL: "runs",
    Kind.AGENT: "runs",
}
CANCELLED: Final = "It was cancelled before it was made. Nothing is charged for it."
UNPAID: Final = "It was not paid for in time. Nothing was charged."
NOT_MADE: Final = "It could not be made. Nothing is charged for it."
DELETED: Final = "What was asked for, and any text that came of it, is no longer kept."


def unknown_batch() -> Refusal:
    """Return what is said of a batch that is not there."""
    return Refusal(
        Why.UNKNOWN, "There is no job with this id. Check it, or create one with POST /api/jobs."
    )


def as_told(row: BatchView) -> BatchState:
    """Return where a batch stands for its buyer: whoever has signed an order in USDC has nothing
    left to pay, while it is not settled yet.
    """
    has_signed = row.funding is Funding.X402 and row.state is BatchState.AWAITING_PAYMENT
    return BatchState.QUEUED if has_signed else row.state


def kind_of(row: BatchView) -> Kind:
    """Return what a batch is of."""
    return Kind(row.quote.get("kind", Kind.IMAGE.value))


def file_path(batch_id: str, kind: Kind, item_id: str) -> str:
    """Return where the file of a picture or a film is."""
    return f"/api/jobs/{batch_id}/{PLURALS[kind]}/{item_id}"


def _file_path(batch_id: str, kind: Kind, item: ItemView) -> str:
    """Return where the file of an item is: what a run has made is read by its own name."""
    if kind in (Kind.TOOL, Kind.AGENT):
        return f"/api/v1/artifacts/{item.artifact}"
    return file_path(batch_id, kind, item.id)


def _prompt(asked: Mapping[str, Any]) -> str:
    """Return what is to be made, in words; of a step that waits these may be yet to come."""
    prompt = asked.get("prompt", asked.get("inputs", {}).get("prompt", ""))
    return prompt if isinstance(prompt, str) else ""


def maker_shape(listed: Listed) -> dict[str, Any]:
    """Return who makes a model here, and whether that is another than the model of this name."""
    return {"madeBy": listed.made_by, "standsIn": listed.stands_in}


def made_by(item: ItemView) -> str | None:
    """Return who has made an item: an executor's name, or that it was no one of the house's."""
    if item.state is not ItemState.COMPLETED or item.worker is None:
        return None
    whose, _, rest = item.worker.partition(":")
    return rest.partition(":")[0] if whose == HOUSE else NETWORK


def paid_with(row: BatchView) -> str | None:
    """Return how a batch was paid for; None: it was not."""
    unpaid = row.state is BatchState.AWAITING_PAYMENT or (
        # Whatever was paid for it is owed back.
        row.state is BatchState.CANCELLED and row.funding in BY_PAYMENT and not row.payouts
    )
    return None if unpaid else PAID_WITH[row.funding]


def eta_s(row: BatchView, pace: Pace | None) -> int | None:
    """Return how long the rest of a batch takes, if it goes on as it has; None: who knows."""
    ended = row.delivered + row.failed
    if row.state is not BatchState.PROCESSING or pace is None or pace.began is None or not ended:
        return None
    took_s = max(0.0, (pace.last - pace.began).total_seconds())
    return ceil(took_s / ended * (row.items - ended - row.cancelled))


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a batch beside its own row."""

    items: Sequence[ItemView]
    invoice: MadeInvoice | None = None  # to be paid
    pace: Pace | None = None
    before: int | None = None  # items whose turn is before its first


@dataclass(frozen=True, slots=True)
class Window:
    """Which of the items are shown."""

    offset: int
    limit: int

    def next_of(self, items: int) -> int | None:
        """Return where the next ones begin; None where there are none."""
        after = self.offset + self.limit
        return after if after < items else None


@dataclass(frozen=True, slots=True)
class BatchShapes:
    """Shows batches."""

    shapes: Shapes

    def bulk(self, row: BatchView, seen: Seen, window: Window, base: str | None) -> dict[str, Any]:
        """Return a batch in the bulk API's words; ours stand beside them."""
        kind = kind_of(row)
        shape: dict[str, Any] = {
            "job": self.job(row, seen.pace),
            PLURALS[kind]: [bulk_item(row.id, kind, item) for item in seen.items],
            "offset": window.offset,
            "limit": window.limit,
            "nextOffset": window.next_of(row.items),
        }
        return shape | self.ours(row, seen, base)

    def job(self, row: BatchView, pace: Pace | None) -> dict[str, Any]:
        """Return the counts and the costs of a batch in the bulk API's words."""
        kind, price = kind_of(row), row.quote.get("total_microusd")
        many = PLURALS[kind]
        charged = pace.charged_microusd if row.is_final and pace is not None else None
        return {
            "id": row.id,
            "status": BULK_STATES[as_told(row)],
            "job_type": kind.value,
            f"total_{many}": row.items,
            f"completed_{many}": row.delivered + row.failed + row.cancelled,
            f"succeeded_{many}": row.delivered,
            f"failed_{many}": row.failed + row.cancelled,
            "estimated_cost": None if price is None else usd_number(price),
            "actual_cost": None if charged is None else usd_number(charged),
            "created_at": moment(row.created_at),
            "completed_at": moment(row.completed_at) if row.completed_at else None,
        }

    def ours(self, row: BatchView, seen: Seen, base: str | None) -> dict[str, Any]:
        """Return what neither document has: payment, refund, and how long it takes."""
        shape: dict[str, Any] = {
            "paidWith": paid_with(row),
            "refundState": refund_state(row.payouts or []),
        }
        if row.asset is Asset.MSAT:
            shape["priceSats"] = sats_up(row.price_amount)
            shape["chargedSats"] = sats_up(row.charged_amount)
        if row.forgotten_at is not None:
            shape["deleted"] = DELETED
        if row.payouts:
            shape["refunds"] = [self.shapes.refund(payout, base) for payout in row.payouts]
        if seen.invoice is not None:
            shape["invoice"] = self.shapes.invoice(seen.invoice)
        if seen.before is not None:
            shape["queuePosition"] = seen.before + 1
        eta = eta_s(row, seen.pace)
        if eta is not None:
            shape["etaSeconds"] = eta
        return shape

    def generation(
        self, row: BatchView, seen: Seen, window: Window, base: str | None
    ) -> dict[str, Any]:
        """Return a batch in the generations API's words; ours stand beside them."""
        kind = kind_of(row)
        percents = [item.progress for item in seen.items] or [0]
        shape: dict[str, Any] = {
            "id": row.id,
            "status": GENERATION_STATES[as_told(row)],
            "progress": sum(percents) // len(percents),
            "output": [
                {"url": f"{base or ''}{_file_path(row.id, kind, item)}", "type": item.media_type}
                for item in seen.items
                if item.state is ItemState.COMPLETED and item.artifact is not None
            ],
            "created_at": moment(row.created_at),
        }
        if GENERATION_STATES[row.state] == "failed":
            shape["error"] = why_failed(row, seen.items)
        looks = [item.id for item in seen.items if is_seen(item)]
        if looks:
            shape["preview"] = f"{base or ''}{preview_path(row.id, looks[0])}"
        makers = {made_by(item): None for item in seen.items if made_by(item)}
        if makers:
            shape["madeBy"] = next(iter(makers))
        return shape | self.ours(row, seen, base)


def why_failed(row: BatchView, items: Sequence[ItemView]) -> str:
    """Return why nothing came of a generation."""
    if row.state is BatchState.CANCELLED:
        return CANCELLED if row.called_off else UNPAID
    return next((item.reason for item in items if item.reason), NOT_MADE)


def bulk_item(batch_id: str, kind: Kind, item: ItemView) -> dict[str, Any]:
    """Return an item in the bulk API's words."""
    asked = item.asked
    shape: dict[str, Any] = {
        "id": item.id,
        "index_in_job": item.place - 1,
        "status": BULK_ITEMS[item.state],
        "prompt": _prompt(asked),
        "model": item.model,
    }
    if kind is Kind.VIDEO:
        resolution, ratio = film_of(asked.get("width", 0), asked.get("height", 0))
        shape["duration"] = asked.get("duration_ms", 0) // 1_000
        shape["resolution"], shape["aspect_ratio"] = resolution, ratio
    else:
        shape["width"] = item.width or asked.get("width")
        shape["height"] = item.height or asked.get("height")
    ended = item.ended_at
    shape |= {
        "file_size": item.size,
        "completed_at": moment(ended) if ended and item.state is ItemState.COMPLETED else None,
        "progress": item.progress,
        "price": usd_number(item.weight),
    }
    if item.state is ItemState.COMPLETED and item.expires_at is not None:
        shape |= {
            "url": _file_path(batch_id, kind, item),
            "media_type": item.media_type,
            "sha256": item.sha256,
            "expires_at": moment(item.expires_at),
            "madeBy": made_by(item),
        }
    elif is_seen(item):
        shape["preview"] = preview_path(batch_id, item.id)
    elif BULK_ITEMS[item.state] in ("failed", "dead_letter"):
        lost = CANCELLED if item.state is ItemState.CANCELLED else NOT_MADE
        shape["error"] = item.reason or lost
    return shape
