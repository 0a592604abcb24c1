"""Image jobs as their API tells of them: credits, tiers, models, and one picture as a job.

An id of ours is written as a UUID. Credits are a view of an account's balance in sats: as many as
can be spent whole, with the sats beside them, so that nothing is hidden.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request

from app.http.batch_status import as_told, made_by
from app.http.generation_status import file_url, why_failed
from app.refusal import Refusal, Why
from app.strict_json import moment
from app.trade.availability import There
from app.trade.catalogue import Listed, Surface
from app.trade.tiers import DEFAULT_MODEL, TIERED, Tier, Tiered, tier_of
from db.batches import BatchView
from db.items import ItemView
from db.profiles import Profile
from pricing.money import credits_down, sats_down
from statemachine.batch import BatchState, Funding
from statemachine.item import ItemState

STATES: Final[Mapping[ItemState, str]] = {
    ItemState.WAITING: "pending",
    ItemState.PENDING: "pending",
    ItemState.CLAIMED: "claimed",
    ItemState.PROCESSING: "processing",
    ItemState.COMPLETED: "completed",
    ItemState.FAILED: "failed",
    ItemState.DEAD_LETTER: "failed",
    ItemState.CANCELLED: "failed",
}
FINAL: Final = ("completed", "failed")
USER: Final = "user"  # the role of everybody who has an account
_UUID: Final = re.compile("[0-9a-f]{8}(-?)[0-9a-f]{4}\\1[0-9a-f]{4}\\1[0-9a-f]{4}\\1[0-9a-f]{12}")


def uuid_of(own_id: str) -> str:
    """Return an id of ours as a UUID."""
    return str(UUID(hex=own_id))


def unknown_job() -> Refusal:
    """Return what is said of a job that is not there."""
    return Refusal(
        Why.UNKNOWN,
        "There is no job with this id. Check it, or create one with POST /api/v1/jobs.",
    )


def id_of(uuid: str) -> str | None:
    """Return our id for a UUID, with its hyphens or without; None for a text that is none."""
    given = uuid.lower()
    return given.replace("-", "") if _UUID.fullmatch(given) else None


def path_uuid(request: Request) -> str:
    """Return our id for the UUID in the path, or refuse what can't be one as unknown."""
    own_id = id_of(str(request.path_params["id"]))
    if own_id is None:
        raise unknown_job()
    return own_id


def credits_shape(account_id: str, balance_msat: int, credit_sats: int) -> dict[str, Any]:
    """Return what an account can spend here."""
    return {
        "credits": credits_down(balance_msat, credit_sats),
        "user_id": uuid_of(account_id),
        "balance_sats": sats_down(balance_msat),
        "credit_sats": credit_sats,
    }


def profile_shape(
    account_id: str, name: str, profile: Profile | None, balance_msat: int, credit_sats: int
) -> dict[str, Any]:
    """Return an account as its holder sees it."""
    shape = credits_shape(account_id, balance_msat, credit_sats)
    shape |= {"id": shape.pop("user_id"), "display_name": name, "role": USER}
    if profile is not None:
        shape["created_at"] = moment(profile.created_at)
        shape["last_login_at"] = moment(profile.last_login_at)
    return shape


def most_side(tier: Tier, listed: Listed) -> int:
    """Return how large a picture of a tier may be, each way, where these make it."""
    fields = listed.offering.inputs[Surface.STUDIO]["properties"]
    return int(min(tier.most_side, fields["width"]["maximum"], fields["height"]["maximum"]))


def tier_shape(tier: Tier, tiered: Tiered, side: int) -> dict[str, Any]:
    """Return a tier of a model; `side`: how large its pictures may be."""
    return {
        "name": tier.name,
        "description": tier.description,
        "max_width": side,
        "max_height": side,
        "max_steps": tiered.steps,
        "default_width": side,
        "default_height": side,
        "default_steps": tiered.steps,
        "credits": tier.credits,
        "min_vram": tier.vram_gb,
    }


def tiers_shape(listed: Listed) -> dict[str, Any]:
    """Return the tiers as the first model has them."""
    tiered = TIERED[listed.offering.id]
    return {
        name: tier_shape(tier, tiered, most_side(tier, listed))
        for name, tier in tiered.tiers.items()
    }


def model_shape(listed: Listed, there: There) -> dict[str, Any]:
    """Return a model with who can make it now."""
    model = listed.offering.id
    return {
        "id": model,
        "name": listed.offering.name,
        "description": listed.description,
        "optimal_steps": TIERED[model].steps,
        "is_default": model == DEFAULT_MODEL,
        "made_by": listed.made_by,
        "stands_in": listed.stands_in,
        "tier_configs": tiers_shape(listed),
        **_there(there.count),
        "tiers": {tier: _there(count) for tier, count in there.by_tier.items()},
    }


def _there(count: int) -> dict[str, Any]:
    return {"available": count > 0, "worker_count": count}


def job_shape(row: BatchView, item: ItemView, base: str | None) -> dict[str, Any]:
    """Return one picture as a job: what was asked for, where it stands, and what came of it."""
    status, asked = STATES[item.state], item.asked
    shape: dict[str, Any] = {
        "id": uuid_of(row.id),
        "status": status,
        "tier": tier_of(row.quote),
        "credits": row.quote["credits"],
        "progress": item.progress,
        "created_at": moment(item.created_at),
    }
    # What is no longer kept is left out.
    names = ("prompt", "negative_prompt", "model", "width", "height", "steps", "seed")
    shape |= {name: asked[name] for name in names if asked.get(name) not in (None, "")}
    if as_told(row) is BatchState.AWAITING_PAYMENT and row.funding is Funding.INVOICE:
        shape["awaiting_payment"] = True
    if item.started_at is not None:
        shape["started_at"] = moment(item.started_at)
    if item.ended_at is not None:
        shape["completed_at"] = moment(item.ended_at)
    if status == "completed":
        shape |= {"result_url": file_url(base, item.artifact or ""), "made_by": made_by(item)}
    if status == "failed":
        shape["error_msg"] = why_failed(row, item)
    return shape
