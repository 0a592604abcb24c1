"""The tiers of the image jobs API: how large a picture of each may be, and how many credits it
costs.

Each tier of a model has a lane of its own: who can't make the large ones is asked for none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pricing.money import Msat, credits_to_msat


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier of one model."""

    name: str
    description: str
    most_side: int  # in pixels, each way
    credits: int
    vram_gb: int  # that a graphics card needs for it at least

    def price_msat(self, credit_sats: int) -> Msat:
        """Return what a picture costs, where a credit is so many sats."""
        return credits_to_msat(self.credits, credit_sats)


@dataclass(frozen=True, slots=True)
class Tiered:
    """A model that is sold by the tier. It makes every picture in as many steps as are best."""

    steps: int
    tiers: Mapping[str, Tier]


BASIC, PRO, PREMIUM = "basic", "pro", "premium"
TIER_NAMES: Final = (BASIC, PRO, PREMIUM)
DEFAULT_TIER: Final = BASIC
DEFAULT_MODEL: Final = "z-image-turbo"


def _tiers(basic: int, pro: int, premium: int) -> dict[str, Tier]:
    rows = (
        (BASIC, "Standard size.", basic, 1, 8),
        (PRO, "Larger, for print and for detail.", pro, 3, 12),
        (PREMIUM, "The largest.", premium, 5, 16),
    )
    return {row[0]: Tier(*row) for row in rows}


TIERED: Final[Mapping[str, Tiered]] = {
    DEFAULT_MODEL: Tiered(8, _tiers(1_024, 1_440, 1_536)),
    "flux-schnell": Tiered(4, _tiers(1_024, 1_280, 1_536)),
}


def lane_of(model: str, tier: str) -> str:
    """Return where items of this model wait that were bought by the tier."""
    return f"{model}/{tier}"


def lanes_of(model: str) -> tuple[str, ...]:
    """Return all lanes in which a model is waited for: what has no tier waits under its name."""
    tiers = TIERED[model].tiers if model in TIERED else ()
    return (model, *(lane_of(model, tier) for tier in tiers))


def tier_of(quote: Mapping[str, Any]) -> str | None:
    """Return the tier that a batch was bought by, as its quote tells; None: by none."""
    tier = quote.get("tier")
    return tier if tier in TIER_NAMES else None
