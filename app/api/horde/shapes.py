"""What another network's workers read: a job, and themselves. Kudos are sats, rounded down, with
what they are exactly beside them.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from app.http.image_job_shapes import uuid_of
from app.trade.lending import NoMatch
from app.trade.stock_workers import Paid, Popped, Standing, on_grid
from db.workers import HEARD_WITHIN, WorkerRow
from pricing.money import sats_down
from statemachine.entries import Asset
from statemachine.worker import WorkerState

WORDS: Final = {Asset.MSAT: "msat", Asset.MICROUSDC: "microUsdc"}
STEPS: Final = 25  # where nobody has said how many
# What a model is made with, where its buyer can't say: sampler, and how closely to the prompt.
USUAL: Final = ("k_euler", 5)
MADE_WITH: Final[Mapping[str, tuple[str, int]]] = {
    "z-image-turbo": ("k_euler", 1),
    "flux-schnell": ("k_euler", 1),
}
NEGATIVE: Final = "###"  # stands between what is to be seen and what must not be


def job_shape(popped: Popped, base: str, now: datetime) -> dict[str, Any]:
    """Return a job as it is popped: one picture, and where its file is brought to."""
    wanted, job_id = popped.wanted, uuid_of(popped.lease_id)
    prompt, negative = (
        text.replace(NEGATIVE, "# # #") for text in (wanted.prompt, wanted.negative_prompt)
    )
    sampler, scale = MADE_WITH.get(wanted.model, USUAL)
    address = f"{base}/api/v2/uploads/{popped.lease_id}/{popped.mark}"
    return {
        "id": job_id,
        "ids": [job_id],
        "model": popped.model,
        "payload": {
            "prompt": f"{prompt} {NEGATIVE} {negative}" if negative else prompt,
            "seed": str(wanted.seed),
            "width": on_grid(wanted.width),
            "height": on_grid(wanted.height),
            "ddim_steps": wanted.steps or STEPS,
            "n_iter": 1,
            "sampler_name": sampler,
            "cfg_scale": scale,
            "karras": False,
            "tiling": False,
            "hires_fix": False,
            "clip_skip": 1,
            "post_processing": [],
            "use_nsfw_censor": False,
        },
        "skipped": {},
        "source_processing": "txt2img",
        "r2_upload": address,
        "r2_uploads": [address],
        "ttl": max(0, int((popped.until - now).total_seconds())),
        "pay": {WORDS[popped.asset]: popped.pay_amount},
    }


def nothing_shape(no_match: list[NoMatch]) -> dict[str, Any]:
    """Return the answer to a worker that is given nothing."""
    return {
        "id": None,
        "ids": [],
        "payload": {},
        "skipped": {},
        "noMatch": [
            {
                "reason": each.reason.value,
                "message": each.sentence,
                **({"model": each.model} if each.model is not None else {}),
            }
            for each in no_match
        ],
    }


def paid_shape(paid: Paid) -> dict[str, Any]:
    """Return what a worker has earned by a job."""
    reward = sats_down(paid.amount) if paid.asset is Asset.MSAT else 0
    return {"reward": reward, "earned": {WORDS[paid.asset]: paid.amount}}


def _earned(standing: Standing) -> dict[str, dict[str, int]]:
    return {WORDS[asset]: asdict(purse) for asset, purse in standing.purses.items()}


def _alias(row: WorkerRow) -> str:
    return f"{row.name}#{row.id[:8]}"


def user_shape(standing: Standing, now: datetime) -> dict[str, Any]:
    """Return whose a key is: here a key is one worker's. Where its pay goes, it does not tell."""
    row, exactly = standing.row, _earned(standing)
    return {
        "username": _alias(row),
        "kudos": sats_down(exactly["msat"]["free"]),
        "kudos_details": {"accumulated": sats_down(exactly["msat"]["earned"])},
        "evaluating_kudos": sats_down(exactly["msat"]["held"]),
        "worker_count": 1,
        "worker_ids": [uuid_of(row.id)],
        "worker_invited": 1,
        "account_age": max(0, int((now - row.created_at).total_seconds())),
        "contributions": {"fulfillments": row.delivered},
        "records": {"fulfillment": {"image": row.delivered}},
        "trusted": row.trusted_at is not None,
        "pseudonymous": True,
        "moderator": False,
        "earnings": exactly,
    }


def worker_shape(standing: Standing, now: datetime) -> dict[str, Any]:
    """Return a worker as it sees itself."""
    row, exactly = standing.row, _earned(standing)
    return {
        "type": "image",
        "name": row.name,
        "id": uuid_of(row.id),
        "owner": _alias(row),
        "online": now - row.seen_at < HEARD_WITHIN and row.state is WorkerState.ONLINE,
        "requests_fulfilled": row.delivered,
        "kudos_rewards": sats_down(exactly["msat"]["earned"]),
        "maintenance_mode": row.state is not WorkerState.ONLINE,
        "paused": row.state is WorkerState.BANNED,
        "trusted": row.trusted_at is not None,
        "bridge_agent": "unknown:0:unknown",
        "earnings": exactly,
    }
