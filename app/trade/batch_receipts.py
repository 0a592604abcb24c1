"""The receipt of a batch: each item with its price and the sha256 of its file, paid, charged, back.

Every amount is an integer with its unit in its name: Msat, or Microusdc for millionths of a USDC.
"""

import hashlib
from datetime import datetime
from typing import Any

from app.strict_json import moment
from app.trade.receipt_lines import VERSION, payment_said, refund_said
from db.batch_receipts import BatchFacts, CastFacts, Piece
from pricing.money import author_share
from statemachine.batch import Funding
from statemachine.entries import Asset
from statemachine.item import ItemState
from statemachine.owner import OwnerKind
from statemachine.public_id import public_id


def batch_payload(facts: BatchFacts, now: datetime) -> dict[str, Any]:
    """Return what a receipt says of a batch in a final state."""
    unit = facts.asset.title()
    paid = _paid(facts)
    back = paid - facts.charged_amount
    said: dict[str, Any] = {
        "receiptVersion": VERSION,
        "kind": OwnerKind.BATCH,
        "issuedAt": moment(now),
        "publicId": public_id(facts.id),
        "state": facts.state,
        "createdAt": moment(facts.created_at),
        "completedAt": moment(facts.completed_at or now),
        "asset": facts.asset,
        f"paid{unit}": paid,
        f"charged{unit}": facts.charged_amount,
        f"refunded{unit}": back,
        "items": [_item(piece, unit) for piece in facts.items],
        "payments": [payment_said(payment) for payment in facts.payments],
        "refunds": [refund_said(refund) for refund in facts.refunds],
    }
    for cast in facts.cast_of:
        said["cast"] = _cast(facts, cast, unit)
    if facts.funding is not Funding.INVOICE:
        said["paidFrom"] = facts.funding
    if facts.paid_by is not None:
        said["authorization"] = facts.paid_by
    if facts.quote:
        said["quote"] = _quote(facts)
    return said


def _paid(facts: BatchFacts) -> int:
    """Return what came in for it, or was set aside for it on a balance."""
    if facts.funding is Funding.INVOICE:
        return sum(payment.received_msat for payment in facts.payments)
    return facts.price_amount


def _cast(facts: BatchFacts, cast: CastFacts, unit: str) -> dict[str, Any]:
    """Return of what spell it is a cast, and how much of what was charged is its author's."""
    return {
        "publicId": public_id(cast.id),
        "spell": cast.slug,
        "version": cast.number,
        "authorSharePct": cast.author_pct,
        f"author{unit}": sum(author_share(_charged(each), cast.author_pct) for each in facts.items),
    }


def _item(piece: Piece, unit: str) -> dict[str, Any]:
    said: dict[str, Any] = {
        "place": piece.place,
        "state": piece.state,
        "model": piece.model,
        "promptSha256": piece.prompt_sha256 or hashlib.sha256(piece.prompt.encode()).hexdigest(),
        f"price{unit}": piece.share_amount,
        f"charged{unit}": _charged(piece),
    }
    if piece.step is not None:
        said["step"] = piece.step
    if piece.sha256 is not None:
        said["artifactSha256"] = piece.sha256
    if piece.reason is not None:
        said["reason"] = piece.reason
    return said


def _charged(piece: Piece) -> int:
    if piece.state is not ItemState.COMPLETED:
        return 0
    return piece.share_amount if piece.charged_amount is None else piece.charged_amount


def _quote(facts: BatchFacts) -> dict[str, Any]:
    """Return the price that the buyer was told; in bitcoin with how it was converted."""
    quote = facts.quote
    said: dict[str, Any] = {
        "totalMicrousd": quote["total_microusd"],
        f"total{facts.asset.title()}": facts.price_amount,
    }
    if facts.asset is Asset.MSAT:
        said["btcPrice"] = {
            "microusdPerBtc": quote["microusd_per_btc"],
            "at": moment(datetime.fromisoformat(quote["price_at"])),
            "sources": list(quote["price_sources"]),
            "note": quote["price_note"],
        }
    return said
